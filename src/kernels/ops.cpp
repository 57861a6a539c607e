#include "kernels/ops.h"

#include <algorithm>
#include <cmath>

#include "kernels/lanes.h"

namespace tern::kernels {

namespace scalar {  // The meaning of each operation: slow, obvious, and the oracle of its test.
namespace {

double silu(double x) {
  return x / (1.0 + std::exp(-x));
}

void rms_norm(const float* x, const float* w, float* y, std::size_t n, float eps) {
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<float>(w[i] * (x[i] * scale));
}

void gated_rms_norm(const float* y, const float* z, const float* w, float* out, std::size_t n,
                    std::size_t groups, float eps) {
  const std::size_t group = n / groups;
  for (std::size_t g = 0; g < n; g += group) {
    for (std::size_t i = g; i < g + group; ++i) out[i] = static_cast<float>(y[i] * silu(z[i]));
    rms_norm(out + g, w + g, out + g, group, eps);
  }
}

void relu2(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float v = x[i] > 0.0f || std::isnan(x[i]) ? x[i] : 0.0f;
    x[i] = v * v;
  }
}

void conv_silu(const float* const* taps, std::size_t kernel, const float* w, const float* bias,
               float* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    double v = bias[i];
    for (std::size_t j = 0; j < kernel; ++j) v += static_cast<double>(w[j * n + i]) * taps[j][i];
    out[i] = static_cast<float>(silu(v));
  }
}

void ssm_scan(const SsmHead& h) {
  for (std::size_t t = 0; t < h.tokens; ++t) {
    const double delta = h.delta[t * h.dt_stride], decay = h.decay[t * h.dt_stride];
    for (std::size_t p = 0; p < h.head_dim; ++p) {
      const double x = h.x[t * h.u_stride + p];
      float* const row = h.state + p * h.state_size;
      double y = 0;
      for (std::size_t n = 0; n < h.state_size; ++n) {
        const double s = decay * row[n] + delta * x * h.b[t * h.u_stride + n];
        row[n] = static_cast<float>(s);
        y += s * h.c[t * h.u_stride + n];
      }
      h.y[t * h.y_stride + p] = static_cast<float>(y + h.d * x);
    }
  }
}

bool add(float* y, const float* x, std::size_t n) {
  bool finite = true;
  for (std::size_t i = 0; i < n; ++i) {
    y[i] += x[i];
    finite = finite && std::isfinite(y[i]);
  }
  return finite;
}

bool finite(const float* x, std::size_t n) {
  return std::all_of(x, x + n, [](float v) { return std::isfinite(v); });
}

void add_scaled(float* y, float a, const float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    y[i] = static_cast<float>(y[i] + static_cast<double>(a) * x[i]);
}

void exp(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    x[i] = static_cast<float>(std::exp(static_cast<double>(x[i])));
}

constexpr Ops kOps = {rms_norm, gated_rms_norm, relu2,      conv_silu, ssm_scan,
                      add,      finite,         add_scaled, exp};

}  // namespace
}  // namespace scalar

#if defined(__x86_64__)

namespace avx2 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX2
#include "kernels/exp.inc.h"
#include "kernels/ops_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx2

namespace avx512 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX512
#include "kernels/exp.inc.h"
#include "kernels/ops_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx512

#endif

const Ops& ops(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::kOps;
    case Isa::avx512:
    case Isa::amx:
      return avx512::kOps;
#endif
    default:
      return scalar::kOps;
  }
}

void time_steps(std::span<const float> dt, std::span<const float> bias, std::span<const float> a,
                float low, float high, std::span<float> delta, std::span<float> decay) {
  for (std::size_t h = 0; h < dt.size(); ++h) {
    const double v = static_cast<double>(dt[h]) + bias[h];
    const double softplus = std::fmax(v, 0.0) + std::log1p(std::exp(-std::fabs(v)));
    const double step = std::isnan(v) ? v : std::clamp<double>(softplus, low, high);
    delta[h] = static_cast<float>(step);
    decay[h] = static_cast<float>(std::exp(step * a[h]));
  }
}

}  // namespace tern::kernels
