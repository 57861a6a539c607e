// The Mamba-2 mixer (arXiv:2405.21060).
//
//   z, xBC, dt = split(in_proj x)
//   u = silu(conv1d(xBC));  X, B, C = split(u)          heads share B and C by groups
//   delta = softplus(dt + dt_bias)
//   S = exp(delta A) S + delta X B^T;  Y = S C + D X    one state for each head, see kernels/ssd.h
//   y = out_proj(norm(Y * silu(z)))                     gate first, then RMS by groups
//
// Between the projections nothing crosses the groups of a sequence, so each of them runs through
// all steps and all tokens on one thread, a block of tokens at a time, and what the steps hand on
// stays in its cache.
#include <algorithm>

#include "kernels/conv.h"
#include "kernels/ops.h"
#include "kernels/ssd.h"
#include "model/config_limits.h"
#include "model/mixers.h"

namespace tern::model {
namespace {

using kernels::kSsdTokens;

kernels::SsdShape group_shape(const MambaConfig& c) {
  return {c.num_heads / c.n_groups, c.head_dim, c.state_size};
}

/// What a group hands from step to step, for one block.
struct Block {
  std::span<float> x, b, c, delta, scratch;  // see kernels::SsdBlock

  static std::size_t floats(const kernels::SsdShape& s) {
    return Scratch::padded(s.x_values() + 4 * s.b_values() + s.heads * kSsdTokens);
  }
  Block(const kernels::SsdShape& s, std::span<float> memory) {
    const auto take = [&](std::size_t n) {
      const auto part = memory.first(n);
      memory = memory.subspan(n);
      return part;
    };
    x = take(s.x_values());
    b = take(s.b_values());
    c = take(s.b_values());
    scratch = take(2 * s.b_values());
    delta = take(s.heads * kSsdTokens);
  }
};

/// One group of a layer and the tokens of one sequence.
struct Group {
  const MambaConfig& c;
  const MambaWeights& w;
  float norm_eps;
  std::size_t index;        // of the group
  std::size_t tokens;       // of the sequence's chunk
  std::size_t position;     // of its first token
  const float* zxBCdt;      // [tokens, in_proj_dim]
  std::span<float> before;  // [conv_kernel - 1, conv_dim]
  std::span<float> kept;    // of the group, see kernels::SsdBlock
  float* y;                 // [tokens, d_inner]
  Block block;
  kernels::SsdShape shape = group_shape(c);

  std::size_t channels() const { return shape.heads * c.head_dim; }
  const float* row(std::size_t token) const { return zxBCdt + token * c.in_proj_dim(); }

  void run();
  void convolve(std::size_t t, std::size_t first, std::size_t n);
  void time_steps(std::size_t t, std::size_t first, std::size_t n);
  void scan(std::size_t t, std::size_t first, std::size_t n);
  void gate(std::size_t t, std::size_t n);
  void keep_last();
};

void Group::run() {
  for (std::size_t t = 0; t < tokens;) {
    const std::size_t first = (position + t) % kSsdTokens;
    const std::size_t n = std::min(kSsdTokens - first, tokens - t);
    convolve(t, first, n);
    time_steps(t, first, n);
    scan(t, first, n);
    gate(t, n);
    t += n;
  }
  keep_last();
}

/// X, B and C of n tokens from t on, which are those from `first` on in the block.
void Group::convolve(std::size_t t, std::size_t first, std::size_t n) {
  const float* rows[kMaxConvKernel - 1 + kSsdTokens];
  const std::size_t past = c.conv_kernel - 1;
  for (std::size_t j = 0; j < past + n; ++j)
    rows[j] =
        t + j < past ? before.data() + (t + j) * c.conv_dim() : row(t + j - past) + c.d_inner();
  const auto channels_at = [&](std::size_t channel, std::size_t count, float* out,
                               std::size_t token_stride, std::size_t block_stride) {
    kernels::conv_silu(active_isa())({.rows = rows,
                                      .tokens = n,
                                      .channels = count,
                                      .kernel = c.conv_kernel,
                                      .w = w.conv.data() + channel,
                                      .w_stride = c.conv_dim(),
                                      .bias = w.conv_bias.data() + channel,
                                      .skip = channel,
                                      .out = out + first * token_stride,
                                      .token_stride = token_stride,
                                      .block_stride = block_stride});
  };
  const std::size_t head = shape.head_vectors() * 16 * kSsdTokens;
  for (std::size_t h = 0; h < shape.heads; ++h)
    channels_at(index * channels() + h * c.head_dim, c.head_dim, block.x.data() + h * head, 16,
                16 * kSsdTokens);
  const std::size_t width = shape.state_vectors() * 16, b = c.d_inner() + index * c.state_size;
  channels_at(b, c.state_size, block.b.data(), width, 16);
  channels_at(b + c.n_groups * c.state_size, c.state_size, block.c.data(), width, 16);
}

void Group::time_steps(std::size_t t, std::size_t first, std::size_t n) {
  const std::size_t head = index * shape.heads;
  for (std::size_t i = 0; i < n; ++i)
    kernels::ssd().time_steps(row(t + i) + c.d_inner() + c.conv_dim() + head,
                              w.dt_bias.data() + head, c.dt_min, c.dt_max,
                              block.delta.data() + (first + i) * shape.heads, shape.heads);
}

void Group::scan(std::size_t t, std::size_t first, std::size_t n) {
  kernels::ssd().block({.shape = shape,
                        .first = first,
                        .last = first + n,
                        .x = block.x.data(),
                        .b = block.b.data(),
                        .c = block.c.data(),
                        .delta = block.delta.data(),
                        .a = w.A.data() + index * shape.heads,
                        .d = w.D.data() + index * shape.heads,
                        .scratch = block.scratch.data(),
                        .kept = kept.data(),
                        .y = y + t * c.d_inner() + index * channels(),
                        .y_stride = c.d_inner()});
}

void Group::gate(std::size_t t, std::size_t n) {
  const std::size_t channel = index * channels();
  for (std::size_t i = t; i < t + n; ++i) {
    float* const out = y + i * c.d_inner() + channel;
    kernels::ops().gated_rms_norm(out, row(i) + channel, w.norm.data() + channel, out, channels(),
                                  1, norm_eps);
  }
}

/// Keeps the last conv_kernel - 1 rows of xBC, of this group's channels.
void Group::keep_last() {
  const std::size_t past = c.conv_kernel - 1;
  const auto keep = [&](std::size_t channel, std::size_t count) {
    for (std::size_t j = 0; j < past; ++j) {
      const float* const from = tokens + j < past ? before.data() + (tokens + j) * c.conv_dim()
                                                  : row(tokens + j - past) + c.d_inner();
      std::copy_n(from + channel, count, before.data() + j * c.conv_dim() + channel);
    }
  };
  const std::size_t b = c.d_inner() + index * c.state_size;
  keep(index * channels(), channels());
  keep(b, c.state_size);
  keep(b + c.n_groups * c.state_size, c.state_size);
}

}  // namespace

std::size_t mamba_state_values(const MambaConfig& c) {
  return c.n_groups * group_shape(c).kept_values();
}

std::size_t mamba_scratch(const MambaConfig& c, std::size_t tokens, std::size_t threads) {
  return Scratch::padded(tokens * c.in_proj_dim()) + Scratch::padded(tokens * c.d_inner()) +
         threads * Block::floats(group_shape(c));
}

void mamba(const MambaConfig& c, float norm_eps, const MambaWeights& w, std::size_t layer,
           const Input& x, std::span<float> y, Step& step) {
  const Scratch::Frame frame(step.scratch);
  const auto zxBCdt = step.scratch.take(step.tokens * c.in_proj_dim());
  const auto Y = step.scratch.take(step.tokens * c.d_inner());
  const kernels::SsdShape shape = group_shape(c);
  const std::size_t kept = shape.kept_values();

  linear(w.in_proj, x, zxBCdt, step);
  const std::size_t count = step.chunks.size() * c.n_groups;
  const std::size_t work =
      step.tokens * shape.heads * c.head_dim * c.state_size / (4 * step.chunks.size());
  parallel(step, count, work, Block::floats(shape), [&](std::size_t i, std::span<float> memory) {
    const Chunk& chunk = step.chunks[i / c.n_groups];
    const std::size_t g = i % c.n_groups;
    Group{.c = c,
          .w = w,
          .norm_eps = norm_eps,
          .index = g,
          .tokens = chunk.tokens,
          .position = chunk.position,
          .zxBCdt = zxBCdt.data() + chunk.first * c.in_proj_dim(),
          .before = chunk.sequence->conv_state(layer),
          .kept = chunk.sequence->ssm_state(layer).subspan(g * kept, kept),
          .y = Y.data() + chunk.first * c.d_inner(),
          .block = Block(shape, memory)}
        .run();
  });
  linear(w.out_proj, Y, y, step);
}

}  // namespace tern::model
