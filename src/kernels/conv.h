// The convolution of the Mamba-2 mixer over several tokens.
#pragma once
#include <cstddef>

#include "base/cpu.h"

namespace tern::kernels {

struct Conv {
  const float* const* rows = nullptr;  ///< [kernel - 1 + tokens] inputs, oldest first, [channels]
  std::size_t tokens = 0, channels = 0, kernel = 0;
  const float* w = nullptr;  ///< [kernel, channels], w_stride floats apart; the last tap is now
  std::size_t w_stride = 0;
  const float* bias = nullptr;   ///< [channels]
  std::size_t skip = 0;          ///< channels before the first, in each row
  float* out = nullptr;          ///< [tokens, channels / 16, 16]; zeros past the last channel
  std::size_t token_stride = 0;  ///< floats from token to token of out
  std::size_t block_stride = 0;  ///< floats from sixteen channels to the next sixteen
};

/// out[t, c] = silu(bias[c] + sum_j w[j, c] rows[t + j][skip + c]): causal and depthwise. Error
/// 1e-6 of the largest magnitude in the result; the fast forms are the same bits on every
/// instruction set.
using ConvSilu = void(const Conv& conv);
ConvSilu* conv_silu(Isa isa);

}  // namespace tern::kernels
