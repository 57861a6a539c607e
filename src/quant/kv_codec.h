// How a key or a value is stored in few bits: TurboQuant and RotorQuant in their practical forms,
// and the plain formats that they are measured against.
//
// A vector x becomes codes, one for each element of the rotated vector r = R x, and scales:
//   r[i] ~ scale[g(i)] level[code[i]] + bias[g(i)],   x ~ R^T r
// Codes are handed out one to a byte; whoever stores them packs them into KvRun::bits bits.
//
// Sources: TurboQuant, arXiv:2504.19874 (turbo); PlanarQuant and IsoQuant (planar, iso); ggml's
// reference quantizers (q8_0, q4_0); MLX's affine quantizer (affine).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "quant/codec_kernels.h"
#include "quant/rotation.h"

namespace tern::quant {

enum class KvScheme : std::uint8_t {
  f32,
  f16,
  bf16,
  q8_0,     ///< 32 values share a scale: max |x| / 127
  q4_0,     ///< 32 values share a scale: the value of greatest magnitude / -8
  affine8,  ///< MLX: 64 values share a scale and a bias
  affine4,
  turbo2,    ///< randomized Hadamard, codebook of 2 bits, one scale for the vector
  turbo2_5,  ///< the first half of the rotated elements with 3 bits, the second with 2
  turbo3,
  turbo3_5,  ///< 4 bits and 3
  turbo4,
  planar3,  ///< Givens pairs instead of Hadamard
  planar4,
  iso3,  ///< quaternions instead of Hadamard
  iso4,
};
inline constexpr std::size_t kKvSchemes = 16;
std::string_view name(KvScheme scheme);
std::optional<KvScheme> kv_scheme(std::string_view name);

/// Elements [first, first + count) of the rotated vector have codes of `bits` bits into `levels`.
struct KvRun {
  std::size_t first = 0;
  std::size_t count = 0;
  unsigned bits = 0;
  std::span<const float> levels;  ///< 2^bits, ascending; lives as long as the process
  float step = 1;                 ///< every level is a whole number of steps, of 8 bits or less
};

/// How the scale of a codebook scheme follows from the codes. On Gaussian vectors of 128 the least
/// squares have less error than the norm (4 bits: 0.00915 and 0.00917 of |x|^2) and attention over
/// them less divergence at every width of its softmax; the search has 0.0078.
enum class KvScale : std::uint8_t {
  norm,           ///< the decoded vector has the norm of x
  least_squares,  ///< least squared error for these codes
  searched,       ///< least squared error over 13 scales and their codes; six times the work
};

/// What f16 can hold is what a cache can hold: NaN is stored as 0, and what is beyond +-65504,
/// infinities included, as +-65504. A scale that would be greater is 65504. A vector whose scale is
/// below the least of f16 decodes to zeros. All codecs are immutable and thread-safe.
class KvCodec {
 public:
  static constexpr std::size_t kMaxDim = 4096;

  /// @param dim   elements of a vector: a multiple of 32, of 64 for affine and the halves (2.5,
  ///              3.5), at most kMaxDim; any up to kMaxDim for f32, f16 and bf16
  /// @param seed  of the rotation
  /// @error unsupported  another dim
  static Result<KvCodec> create(KvScheme scheme, std::size_t dim, std::uint64_t seed = 0,
                                KvScale scale = KvScale::searched);

  KvScheme scheme() const { return scheme_; }
  std::size_t dim() const { return rotation_.dim(); }
  /// f32, f16, bf16: a vector has no codes, and encode and decode must not be called.
  bool plain() const { return runs_.empty(); }
  /// Identity unless turbo, planar or iso.
  const Rotation& rotation() const { return rotation_; }
  /// The same codes for vectors that come rotated: a codec whose rotation is the identity.
  KvCodec for_rotated() const;
  /// In order, without gaps. Empty if plain.
  std::span<const KvRun> runs() const { return runs_; }
  /// Elements that share a scale: dim (turbo, planar, iso), 32 (q8_0, q4_0), 64 (affine).
  std::size_t scale_group() const { return scale_group_; }
  std::size_t scales() const { return plain() ? 0 : dim() / scale_group_; }
  bool has_bias() const { return scheme_ == KvScheme::affine8 || scheme_ == KvScheme::affine4; }
  /// Packed: all codes, and 2 bytes for each scale and bias.
  std::size_t vector_bytes() const;

  /// @param x       [dim], in the caller's basis
  /// @param codes   [dim], one byte each, below 2^bits of its run
  /// @param scales  [scales()], binary16
  /// @param biases  [scales()] if has_bias(), else empty
  void encode(std::span<const float> x, std::span<std::uint8_t> codes,
              std::span<std::uint16_t> scales, std::span<std::uint16_t> biases) const;

  /// The inverse, without R^T. Codes must be below 2^bits.
  void decode_rotated(std::span<const std::uint8_t> codes, std::span<const std::uint16_t> scales,
                      std::span<const std::uint16_t> biases, std::span<float> r) const;

  /// decode_rotated, and then back to the caller's basis.
  void decode(std::span<const std::uint8_t> codes, std::span<const std::uint16_t> scales,
              std::span<const std::uint16_t> biases, std::span<float> x) const;

 private:
  KvCodec(KvScheme scheme, Rotation rotation, KvScale scale)
      : scheme_(scheme), scale_(scale), rotation_(std::move(rotation)) {}

  /// Codes of the rotated vector r, and their scale.
  std::uint16_t encode_codebook(std::span<const float> r, std::span<std::uint8_t> codes) const;
  Fit search(std::span<const float> r, float norm, Fit best, std::span<std::uint8_t> codes) const;
  Fit assign(std::span<const float> r, float inverse, std::uint8_t* codes) const;

  KvScheme scheme_;
  KvScale scale_;
  Rotation rotation_;
  std::vector<KvRun> runs_;
  std::vector<CodebookTable> tables_;  ///< of each run of a codebook scheme
  std::size_t scale_group_ = 1;
};

}  // namespace tern::quant
