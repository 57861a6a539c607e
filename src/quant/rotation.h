// Orthogonal matrices that spread a vector's energy over its coordinates before they are quantized,
// so that one codebook fits them all.
//
// Sources: TurboQuant, arXiv:2504.19874 (haar, and its randomized Hadamard form); PlanarQuant and
// IsoQuant (planar, iso); RotorQuant, the Clifford rotors of Cl(3,0) (rotor).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace tern::quant {

enum class RotationKind : std::uint8_t {
  identity,
  hadamard,  ///< x <- H (s x) / sqrt(n): random signs, then a Sylvester-Hadamard matrix for each
             ///< block of n, the largest power of two that divides dim
  haar,      ///< dense, uniform over the orthogonal group
  planar,    ///< pairs (x[2i], x[2i+1]) turned by random angles (Givens)
  iso,       ///< groups of four as quaternions, multiplied from the left by random unit quaternions
  rotor,     ///< groups of three: R v R~ with random rotors of Cl(3,0); of dim mod 3 = 2 that
             ///< remain, a pair is turned as in planar; one that remains is left alone
};
std::string_view name(RotationKind kind);
std::optional<RotationKind> rotation_kind(std::string_view name);

/// An orthogonal matrix R [dim, dim], fixed by kind, dim and seed on every platform. Copies share
/// their numbers. Arithmetic is float32 in one fixed order: all instruction sets give the same
/// bits.
class Rotation {
 public:
  /// dim: any for identity, hadamard, haar and rotor, even for planar, a multiple of 4 for iso.
  /// @cost haar O(dim^3) once and dim^2 floats twice.
  static Rotation make(RotationKind kind, std::size_t dim, std::uint64_t seed);

  std::size_t dim() const { return dim_; }
  RotationKind kind() const { return kind_; }

  /// What was drawn: hadamard signs [dim]; haar R [dim, dim] by rows; planar cosine and sine
  /// [dim / 2, 2]; iso quaternions w, x, y, z [dim / 4, 4]; rotor scalar, e12, e13, e23
  /// [dim / 3, 4], and a cosine and sine if two coordinates remain.
  std::span<const float> parameters() const { return *parameters_; }

  /// The block of hadamard: the largest power of two that divides dim.
  std::size_t block() const { return dim_ & (~dim_ + 1); }

  /// x <- R x and x <- R^T x, in place; x [dim]. haar takes 4 dim bytes from the heap.
  void forward(std::span<float> x) const;
  void inverse(std::span<float> x) const;

  /// r <- R x and x <- R^T r for `count` vectors, [count, dim]; the same bits as one at a time. x
  /// and r must not overlap.
  void forward_batch(const float* x, std::size_t count, float* r) const;
  void inverse_batch(const float* r, std::size_t count, float* x) const;

 private:
  Rotation(RotationKind kind, std::size_t dim) : kind_(kind), dim_(dim) {}

  RotationKind kind_;
  std::size_t dim_;
  std::shared_ptr<const std::vector<float>> parameters_;
  std::shared_ptr<const std::vector<float>> columns_;  ///< haar: R by columns
};

}  // namespace tern::quant
