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

constexpr Ops kOps = {rms_norm, gated_rms_norm, relu2, add, finite, add_scaled, exp};

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

#elif defined(__aarch64__)

namespace neon {
namespace {
#define TERN_TARGET TERN_TARGET_NEON
#include "kernels/exp.inc.h"
#include "kernels/ops_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace neon

#endif

const Ops& ops(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::kOps;
    case Isa::avx512:
    case Isa::amx:
      return avx512::kOps;
#elif defined(__aarch64__)
    case Isa::neon:
      return neon::kOps;
#endif
    default:
      return scalar::kOps;
  }
}

}  // namespace tern::kernels
