// The operations of the model that are no matrix products. Each has one scalar form, summed in
// double, which is its meaning, and fast forms in 16 float32 lanes (lanes.h) that agree with each
// other bit for bit. All are serial; callers split rows, heads or channels over threads, which
// changes no result.
#pragma once
#include <cstddef>

#include "base/cpu.h"

namespace tern::kernels {

/// Rows have n elements; any n works. Error bounds of the fast forms against the scalar ones are
/// relative to the largest magnitude in the result, for n up to 8192.
struct Ops {
  /// y[i] = w[i] x[i] / sqrt(mean(x^2) + eps)  [arXiv:1910.07467]; y may be x. Error 1e-6.
  void (*rms_norm)(const float* x, const float* w, float* y, std::size_t n, float eps);

  /// v = y * silu(z); then each group of n / groups values of v is RMS-normalised and multiplied
  /// by w. out may be y. Error 2e-6.
  void (*gated_rms_norm)(const float* y, const float* z, const float* w, float* out, std::size_t n,
                         std::size_t groups, float eps);

  /// x[i] = max(x[i], 0)^2. Exact.
  void (*relu2)(float* x, std::size_t n);

  /// y[i] += x[i]. Returns whether every result is finite. Exact.
  bool (*add)(float* y, const float* x, std::size_t n);

  /// Whether every element is.
  bool (*finite)(const float* x, std::size_t n);

  /// y[i] += a x[i]. Error 1e-7 (one rounding or two).
  void (*add_scaled)(float* y, float a, const float* x, std::size_t n);

  /// x[i] = e^x[i]. At most 2 units in the last place from the exact value; subnormal results,
  /// infinities and NaN as in std::exp.
  void (*exp)(float* x, std::size_t n);
};

const Ops& ops(Isa isa);
inline const Ops& ops() {
  return ops(active_isa());
}

}  // namespace tern::kernels
