// TurboQuant weights: a matrix whose inputs are rotated before they meet it, coded with the levels
// that suit a normal distribution.
//
//   W x = (W R^T) (R x),   R x = H (s x) / 8 for every 64 inputs, s 64 random signs
// The rows of W R^T are coded in groups of 64: w = scale level(q), one f16 scale for each group,
// levels those of gaussian_codebook(bits) rounded to multiples of 1/512, so that integers do,
// searched for the least squared error, and 2 to 5 bits for each q: 2.25 to 5.25 bits a weight. In
// a file: `X.weight` u32, codes packed as MLX packs them, and `X.scales` f16 [outputs, inputs /
// 64]; config.json names {"mode": "turboquant", "bits", "group_size": 64, "rotation": "rht64",
// "rotation_seed", "version": 1}.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tern::quant {

inline constexpr std::size_t kTurboGroup = 64;

/// Levels are multiples of this.
inline constexpr float kTurboStep = 1.0f / 512;

/// The levels of 2 to 5 bits in steps, ascending, repeated to 32: gaussian_codebook(bits), rounded.
/// A block of 32 times 16-bit activations is exact in 32 bits.
template <std::size_t bits>
inline constexpr std::array<std::int16_t, 32> kTurboSteps = [] {
  constexpr std::int16_t kPositive[4][16] = {
      {232, 773},
      {125, 387, 688, 1102},
      {66, 199, 336, 482, 643, 828, 1059, 1399},
      {34, 101, 170, 239, 310, 383, 458, 537, 620, 710, 807, 915, 1039, 1187, 1378, 1669}};
  constexpr std::size_t kHalf = std::size_t{1} << (bits - 1);
  std::array<std::int16_t, 32> steps{};
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t q = i % (2 * kHalf);
    steps[i] = static_cast<std::int16_t>(q < kHalf ? -kPositive[bits - 2][kHalf - 1 - q]
                                                   : kPositive[bits - 2][q - kHalf]);
  }
  return steps;
}();

/// The levels of 2 to 5 bits, repeated to 32. They live as long as the process.
const float* turbo_levels(std::size_t bits);

/// The 64 signs of a seed: those of Rotation::make(hadamard, 64, seed), kept for the life of the
/// process. Thread-safe.
const float* rht64_signs(std::uint64_t seed);

/// x <- R x and x <- R^T x, in place; n is a multiple of 64.
void rotate_inputs(const float* signs, float* x, std::size_t n);
void unrotate_inputs(const float* signs, float* x, std::size_t n);

/// Codes a row of weights.
/// @param w       [n], finite, n a multiple of 64; |w| up to 8000, so that scales are f16 numbers
/// @param codes   n bits / 8 bytes
/// @param scales  n / 64 f16 numbers, little-endian
/// @return the squared error of the row
double encode_turbo_row(std::span<const float> w, std::size_t bits, const float* signs,
                        std::span<std::byte> codes, std::span<std::byte> scales);

}  // namespace tern::quant
