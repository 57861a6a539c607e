// The inner loops of the codecs, for each instruction set; all give the same bits.
//
// Sums run in 16 float32 lanes (element i in lane i mod 16, product and sum rounded apart), which
// are added as a tree: i and i + 8, then i and i + 4, i + 2, i + 1.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "quant/codebook.h"

namespace tern::quant {

/// What the codecs take x for: NaN for 0, and what f16 cannot hold for the nearest that it can.
inline float storable(float x) {
  constexpr float kMaxF16 = 65504;
  if (x != x) return 0;
  return x > kMaxF16 ? kMaxF16 : x < -kMaxF16 ? -kMaxF16 : x;
}

/// A codebook of up to kMaxCodebookBits bits at fixed places; bounds that do not exist are
/// infinite.
struct CodebookTable {
  explicit CodebookTable(const Codebook& codebook);

  unsigned bits;
  alignas(64) float levels[1u << kMaxCodebookBits];
  alignas(64) float bounds[1u << kMaxCodebookBits];
};

/// What a scale follows from: sums over the elements r[i] and the levels c[i] chosen for them.
struct Fit {
  float cross = 0;   ///< sum of r c
  float square = 0;  ///< sum of c c
};

struct CodecKernels {
  /// x <- H (s x) / sqrt(block) for every `block` elements, or with `forward` false
  /// x <- s (H x / sqrt(block)). block: a power of two that divides dim.
  void (*hadamard)(float* x, std::size_t dim, std::size_t block, const float* signs, bool forward);

  /// y[t, r] = sum over c of M[r, c] x[t, c], c rising; `columns` is M [dim, dim] by columns.
  void (*multiply)(const float* columns, std::size_t dim, const float* x, std::size_t count,
                   float* y);

  /// Sum of x[i]^2; n is a multiple of 16.
  float (*square_sum)(const float* x, std::size_t n);

  /// codes[i] = index of r[i] * inverse; n is a multiple of 16.
  Fit (*assign)(const float* r, std::size_t n, float inverse, const CodebookTable& codebook,
                std::uint8_t* codes);
};

const CodecKernels& codec_kernels(Isa isa);

}  // namespace tern::quant
