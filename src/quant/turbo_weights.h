// TurboQuant weights: a matrix whose inputs are rotated before they meet it, coded with the levels
// that suit a normal distribution.
//
//   W x = (W R^T) (R x),   R x = H (s x) / 8 for every 64 inputs, s 64 random signs
// The rows of W R^T are coded in groups of 64: w = scale level(q), one f16 scale for each group,
// searched for the least squared error, and 2 to 5 bits for each q: 2.25 to 5.25 bits a weight. In
// a file: `X.weight` u32, codes packed as MLX packs them, and `X.scales` f16 [outputs, inputs /
// 64]; config.json names {"mode": "turboquant", "bits", "group_size": 64, "rotation": "rht64",
// "rotation_seed", "version": 1}.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace tern::quant {

inline constexpr std::size_t kTurboGroup = 64;

/// The levels of gaussian_codebook(bits), 2 to 5 bits, repeated to 32. They live as long as the
/// process.
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
