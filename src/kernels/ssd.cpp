#include "kernels/ssd.h"

#include <algorithm>
#include <cmath>

#include "kernels/lanes.h"

namespace tern::kernels {
namespace {

constexpr std::size_t kTokens = kSsdTokens;

/// Where the parts of SsdBlock::kept begin.
struct Kept {
  float* states;  ///< [heads, head_vectors, state_size, 16]
  float* b;       ///< [state_size, 16 tokens]
  float* dx;      ///< [heads, head_vectors, 16 tokens, 16]
  float* cum;     ///< [heads, 16 tokens]

  Kept(const SsdShape& shape, float* p)
      : states(p),
        b(states + shape.heads * shape.head_vectors() * 16 * shape.state_size),
        dx(b + shape.state_size * kTokens),
        cum(dx + shape.x_values()) {}
};

/// Adds the new tokens to B, delta x and cum.
void remember(const SsdBlock& block, const Kept& kept) {
  const SsdShape& s = block.shape;
  const std::size_t b_row = s.state_vectors() * 16, head = s.head_vectors() * 16 * kTokens;
  for (std::size_t n = 0; n < s.state_size; ++n)
    for (std::size_t t = block.first; t < block.last; ++t)
      kept.b[n * kTokens + t] = block.b[t * b_row + n];
  for (std::size_t h = 0; h < s.heads; ++h)
    for (std::size_t t = block.first; t < block.last; ++t) {
      const float delta = block.delta[t * s.heads + h];
      float* const cum = kept.cum + h * kTokens + t;
      *cum = (t == 0 ? 0.0f : cum[-1]) + delta * block.a[h];
      for (std::size_t v = 0; v < s.head_vectors(); ++v) {
        const std::size_t at = h * head + (v * kTokens + t) * 16;
        for (std::size_t i = 0; i < 16; ++i) kept.dx[at + i] = delta * block.x[at + i];
      }
    }
}

}  // namespace

namespace scalar {  // The meaning of each operation: slow, obvious, and the oracle of its test.
namespace {

void time_steps(const float* dt, const float* bias, float low, float high, float* delta,
                std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(dt[i]) + bias[i];
    const double softplus = std::fmax(v, 0.0) + std::log1p(std::exp(-std::fabs(v)));
    delta[i] = static_cast<float>(std::isnan(v) ? v : std::clamp<double>(softplus, low, high));
  }
}

/// y[t] of one head; dots[s] = C_t . B_s.
void output(const SsdBlock& block, const Kept& kept, std::size_t h, std::size_t t,
            const double* dots) {
  const SsdShape& shape = block.shape;
  const float* const c = block.c + t * shape.state_vectors() * 16;
  const float* const cum = kept.cum + h * kTokens;
  float* const y = block.y + (t - block.first) * block.y_stride + h * shape.head_dim;
  for (std::size_t p = 0; p < shape.head_dim; ++p) {
    const std::size_t vector = h * shape.head_vectors() + p / 16;
    const float* const state = kept.states + vector * shape.state_size * 16 + p % 16;
    const float* const dx = kept.dx + vector * kTokens * 16 + p % 16;
    double before = 0;
    for (std::size_t n = 0; n < shape.state_size; ++n)
      before += static_cast<double>(c[n]) * state[n * 16];
    double sum = std::exp(static_cast<double>(cum[t])) * before;
    for (std::size_t s = 0; s <= t; ++s)
      sum += std::exp(static_cast<double>(cum[t]) - cum[s]) * dots[s] * dx[s * 16];
    const double x = block.x[(vector * kTokens + t) * 16 + p % 16];
    y[p] = static_cast<float>(sum + block.d[h] * x);
  }
}

/// The state after a full block.
void advance(const SsdShape& shape, const Kept& kept, std::size_t h) {
  const float* const cum = kept.cum + h * kTokens;
  const double last = cum[kTokens - 1];
  for (std::size_t v = 0; v < shape.head_vectors(); ++v)
    for (std::size_t n = 0; n < shape.state_size; ++n)
      for (std::size_t i = 0; i < 16; ++i) {
        const std::size_t vector = h * shape.head_vectors() + v;
        float& state = kept.states[(vector * shape.state_size + n) * 16 + i];
        double sum = std::exp(last) * state;
        for (std::size_t s = 0; s < kTokens; ++s)
          sum += std::exp(last - cum[s]) * kept.dx[(vector * kTokens + s) * 16 + i] *
                 kept.b[n * kTokens + s];
        state = static_cast<float>(sum);
      }
}

void block(const SsdBlock& block) {
  const SsdShape& shape = block.shape;
  const Kept kept(shape, block.kept);
  remember(block, kept);
  for (std::size_t t = block.first; t < block.last; ++t) {
    double dots[kTokens] = {};
    for (std::size_t s = 0; s <= t; ++s)
      for (std::size_t n = 0; n < shape.state_size; ++n)
        dots[s] += static_cast<double>(block.c[t * shape.state_vectors() * 16 + n]) *
                   kept.b[n * kTokens + s];
    for (std::size_t h = 0; h < shape.heads; ++h) output(block, kept, h, t, dots);
  }
  if (block.last == kTokens)
    for (std::size_t h = 0; h < shape.heads; ++h) advance(shape, kept, h);
}

constexpr Ssd kSsd = {time_steps, block};

}  // namespace
}  // namespace scalar

#if defined(__x86_64__)

namespace avx2 {
namespace {
constexpr std::size_t kRows = 4;  // accumulators of a tile; two registers each
#define TERN_TARGET TERN_TARGET_AVX2
#include "kernels/exp.inc.h"
#include "kernels/ssd_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx2

namespace avx512 {
namespace {
constexpr std::size_t kRows = 16;
#define TERN_TARGET TERN_TARGET_AVX512
#include "kernels/exp.inc.h"
#include "kernels/ssd_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx512

#elif defined(__aarch64__)

namespace neon {
namespace {
constexpr std::size_t kRows = 4;  // accumulators of a tile; four registers each
#define TERN_TARGET TERN_TARGET_NEON
#include "kernels/exp.inc.h"
#include "kernels/ssd_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace neon

#endif

const Ssd& ssd(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::kSsd;
    case Isa::avx512:
    case Isa::amx:
      return avx512::kSsd;
#elif defined(__aarch64__)
    case Isa::neon:
      return neon::kSsd;
#endif
    default:
      return scalar::kSsd;
  }
}

}  // namespace tern::kernels
