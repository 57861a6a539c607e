// The Mamba-2 mixer (arXiv:2405.21060).
//
//   z, xBC, dt = split(in_proj x)
//   u = silu(conv1d(xBC));  X, B, C = split(u)          heads share B and C by groups
//   delta = softplus(dt + dt_bias)
//   S = exp(delta A) S + delta X B^T;  Y = S C + D X    one state for each head
//   y = out_proj(norm(Y * silu(z)))                     gate first, then RMS by groups
#include <algorithm>

#include "kernels/ops.h"
#include "model/config_limits.h"
#include "model/mixers.h"

namespace tern::model {
namespace {

/// u[t] from the rows of xBC, and before them the ones that the sequence kept.
void convolve(const MambaConfig& c, const MambaWeights& w, std::span<const float> kept,
              const float* xBC, std::size_t stride, std::span<float> u, Chunk& chunk) {
  const std::size_t before = c.conv_kernel - 1, channels = c.conv_dim();
  for_tokens(chunk, 8 * channels, [&](std::size_t t) {
    const float* taps[kMaxConvKernel];
    for (std::size_t j = 0; j < c.conv_kernel; ++j)
      taps[j] = t + j < before ? kept.data() + (t + j) * channels : xBC + (t + j - before) * stride;
    kernels::ops().conv_silu(taps, c.conv_kernel, w.conv.data(), w.conv_bias.data(),
                             u.data() + t * channels, channels);
  });
}

/// Keeps the last conv_kernel - 1 rows of (kept, xBC).
void keep_last(std::span<float> kept, const float* xBC, std::size_t stride, std::size_t tokens,
               std::size_t channels) {
  const std::size_t rows = kept.size() / channels, fresh = std::min(rows, tokens);
  std::copy(kept.begin() + static_cast<std::ptrdiff_t>(fresh * channels), kept.end(), kept.begin());
  for (std::size_t i = 0; i < fresh; ++i)
    std::copy_n(xBC + (tokens - fresh + i) * stride, channels,
                kept.data() + (rows - fresh + i) * channels);
}

}  // namespace

std::size_t mamba_scratch(const MambaConfig& c, std::size_t tokens) {
  return Scratch::padded(tokens * c.in_proj_dim()) + Scratch::padded(tokens * c.conv_dim()) +
         2 * Scratch::padded(tokens * c.num_heads) + Scratch::padded(tokens * c.d_inner());
}

void mamba(const MambaConfig& c, float norm_eps, const MambaWeights& w, std::size_t layer,
           std::span<const float> x, std::span<float> y, Chunk& chunk) {
  const Scratch::Frame frame(chunk.scratch);
  const std::size_t tokens = chunk.tokens, heads = c.num_heads, width = c.in_proj_dim();
  const auto zxBCdt = chunk.scratch.take(tokens * width);
  const auto u = chunk.scratch.take(tokens * c.conv_dim());
  const auto delta = chunk.scratch.take(tokens * heads), decay = chunk.scratch.take(tokens * heads);
  const auto Y = chunk.scratch.take(tokens * c.d_inner());

  linear(w.in_proj, x, zxBCdt, chunk);
  const float* const z = zxBCdt.data();
  const float* const xBC = z + c.d_inner();
  const float* const dt = xBC + c.conv_dim();

  const auto kept = chunk.sequence.conv_state(layer);
  convolve(c, w, kept, xBC, width, u, chunk);
  if (c.conv_kernel > 1) keep_last(kept, xBC, width, tokens, c.conv_dim());

  for_tokens(chunk, 100 * heads, [&](std::size_t t) {
    kernels::time_steps({dt + t * width, heads}, w.dt_bias.span(), w.A.span(), c.dt_min, c.dt_max,
                        delta.subspan(t * heads, heads), decay.subspan(t * heads, heads));
  });

  const auto S = chunk.sequence.ssm_state(layer);
  const float* const X = u.data();
  const float* const B = X + c.d_inner();
  const float* const C = B + c.n_groups * c.state_size;
  const std::size_t work = tokens * c.head_dim * c.state_size / 4;
  parallel(chunk, heads, work, [&](std::size_t h) {
    const std::size_t group = h / (heads / c.n_groups);
    kernels::ops().ssm_scan({.state = S.data() + h * c.head_dim * c.state_size,
                             .x = X + h * c.head_dim,
                             .b = B + group * c.state_size,
                             .c = C + group * c.state_size,
                             .u_stride = c.conv_dim(),
                             .delta = delta.data() + h,
                             .decay = decay.data() + h,
                             .dt_stride = heads,
                             .y = Y.data() + h * c.head_dim,
                             .y_stride = c.d_inner(),
                             .d = w.D[h],
                             .tokens = tokens,
                             .head_dim = c.head_dim,
                             .state_size = c.state_size});
  });

  for_tokens(chunk, 8 * c.d_inner(), [&](std::size_t t) {
    float* const row = Y.data() + t * c.d_inner();
    kernels::ops().gated_rms_norm(row, z + t * width, w.norm.data(), row, c.d_inner(), c.n_groups,
                                  norm_eps);
  });
  linear(w.out_proj, Y, y, chunk);
}

}  // namespace tern::model
