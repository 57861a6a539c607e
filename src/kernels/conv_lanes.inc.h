// The fast forms of conv.h; included inside the namespace of each instruction set, see lanes.h.
#include "kernels/exp.inc.h"

/// K taps, known to the compiler, so that their weights stay in registers over the tokens; or 0 for
/// any number.
template <std::size_t K>
TERN_TARGET __attribute__((always_inline)) inline void convolve(const Conv& conv, std::size_t c,
                                                                float* out) {
  const First some = first(conv.channels - c);
  const std::size_t taps = K == 0 ? conv.kernel : K;
  const Lanes bias = load(conv.bias + c, some);
  [[maybe_unused]] Lanes w[K == 0 ? 1 : K];
  if constexpr (K > 0)
    for (std::size_t j = 0; j < K; ++j) w[j] = load(conv.w + j * conv.w_stride + c, some);
  for (std::size_t t = 0; t < conv.tokens; ++t) {
    Lanes v = bias;
    for (std::size_t j = 0; j < taps; ++j) {
      const Lanes row = load(conv.rows[t + j] + conv.skip + c, some);
      if constexpr (K > 0)
        v = fma(w[j], row, v);
      else
        v = fma(load(conv.w + j * conv.w_stride + c, some), row, v);
    }
    store(out + t * conv.token_stride, silu(v));
  }
}

TERN_TARGET void conv_silu(const Conv& conv) {
  for (std::size_t c = 0; c < conv.channels; c += 16) {
    float* const out = conv.out + c / 16 * conv.block_stride;
    if (conv.kernel == 4)
      convolve<4>(conv, c, out);
    else
      convolve<0>(conv, c, out);
  }
}
