// TurboQuant as published: arXiv:2504.19874 (Zandieh, Daliri, Hadian, Mirrokni), its two
// algorithms for vectors that are quantized alone, without calibration.
//
//   MSE   x ~ |x| R^T c(idx), idx the nearest levels of the coordinates of R x / |x|
//   PROD  MSE with one bit less, and of the residual e its norm and the signs of S e, S Gaussian:
//         x ~ |x| R^T (c(idx) + |e| sqrt(pi/2)/d S^T sign(S e)), unbiased for inner products
//
// S is applied in the rotated basis; as a Gaussian matrix times a rotation is a Gaussian matrix,
// this is the published algorithm with another draw of S. Kept for study and measurement: caches
// use KvCodec. NaN counts as 0, and what is beyond +-65504 as +-65504, as there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "quant/codec_kernels.h"
#include "quant/rotation.h"

namespace tern::quant {

inline constexpr unsigned kMaxTurboBits = 5;

/// Codes of a batch of vectors.
struct MseCodes {
  std::vector<std::uint8_t> index;  ///< [count, dim]
  std::vector<float> norm;          ///< [count]
};

/// Algorithm 1. Immutable and thread-safe.
class TurboMse {
 public:
  /// @param bits  for each coordinate, 1..5
  /// @error unsupported  other bits, or a dimension that is no multiple of 32
  static Result<TurboMse> create(Rotation rotation, unsigned bits);

  std::size_t dim() const { return rotation_.dim(); }
  const Rotation& rotation() const { return rotation_; }
  const Codebook& codebook() const { return *codebook_; }

  /// x [count, dim]
  MseCodes encode(std::span<const float> x) const;
  /// x [count, dim]
  void decode(const MseCodes& codes, std::span<float> x) const;

 private:
  TurboMse(Rotation rotation, const Codebook& codebook)
      : rotation_(std::move(rotation)), codebook_(&codebook), table_(codebook) {}

  Rotation rotation_;
  const Codebook* codebook_;
  CodebookTable table_;
};

/// S [dim, dim] of independent normal numbers, by columns. Copies share the numbers.
class GaussianProjection {
 public:
  /// @cost dim^2 normal numbers and floats
  static GaussianProjection make(std::size_t dim, std::uint64_t seed);

  std::size_t dim() const { return dim_; }
  std::span<const float> columns() const { return *columns_; }
  /// y <- S x for `count` vectors, [count, dim]; x and y must not overlap.
  void project(const float* x, std::size_t count, float* y) const;

 private:
  GaussianProjection(std::size_t dim, std::vector<float> columns)
      : dim_(dim), columns_(std::make_shared<const std::vector<float>>(std::move(columns))) {}

  std::size_t dim_;
  std::shared_ptr<const std::vector<float>> columns_;
};

struct ProdCodes {
  std::vector<std::uint8_t> index;  ///< [count, dim], of bits - 1 bits; empty for 1 bit
  std::vector<std::uint8_t> sign;   ///< [count, dim], 1 where S e >= 0
  std::vector<float> norm;          ///< [count]
  std::vector<float> residual;      ///< [count] |e|
};

/// What inner products need of a batch of queries.
struct ProdQueries {
  std::vector<float> rotated;    ///< [count, dim] R y
  std::vector<float> projected;  ///< [count, dim] S R y
};

/// Algorithm 2. Immutable and thread-safe.
class TurboProd {
 public:
  /// @param bits  for each coordinate, the sign included: 1..5
  /// @error unsupported  other bits, or a dimension that is no multiple of 32
  static Result<TurboProd> create(Rotation rotation, GaussianProjection projection, unsigned bits);

  std::size_t dim() const { return rotation_.dim(); }

  /// x [count, dim]
  ProdCodes encode(std::span<const float> x) const;
  void decode(const ProdCodes& codes, std::span<float> x) const;

  /// y [count, dim]
  ProdQueries queries(std::span<const float> y) const;
  /// The estimate of <y, x> for query `query` and vector `vector`, without decoding. Summed in
  /// double.
  double inner_product(const ProdQueries& queries, std::size_t query, const ProdCodes& codes,
                       std::size_t vector) const;

 private:
  TurboProd(Rotation rotation, GaussianProjection projection, const Codebook* codebook);

  /// sqrt(pi/2) / dim
  double unbias() const;

  Rotation rotation_;
  GaussianProjection projection_;
  std::vector<CodebookTable> table_;  ///< none for 1 bit
};

}  // namespace tern::quant
