// The operations of the model that are no matrix products. Each has one scalar form, summed in
// double, which is its meaning, and fast forms in 16 float32 lanes (lanes.h) that agree with each
// other bit for bit. All are serial; callers split rows, heads or channels over threads, which
// changes no result.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"

namespace tern::kernels {

/// One head of a Mamba-2 scan (arXiv:2405.21060, the linear recurrence).
struct SsmHead {
  float* state = nullptr;        ///< [head_dim, state_size], updated
  const float* x = nullptr;      ///< [tokens, head_dim], u_stride apart
  const float* b = nullptr;      ///< [tokens, state_size], u_stride apart
  const float* c = nullptr;      ///< [tokens, state_size], u_stride apart
  std::size_t u_stride = 0;      ///< floats from token to token of x, b and c
  const float* delta = nullptr;  ///< [tokens], dt_stride apart
  const float* decay = nullptr;  ///< [tokens], dt_stride apart
  std::size_t dt_stride = 0;
  float* y = nullptr;  ///< [tokens, head_dim], y_stride apart
  std::size_t y_stride = 0;
  float d = 0.0f;
  std::size_t tokens = 0, head_dim = 0, state_size = 0;
};

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

  /// out[c] = silu(bias[c] + sum_j w[j * n + c] taps[j][c]): a causal depthwise convolution at one
  /// position. taps[j] is the row of inputs kernel - 1 - j positions ago. Error 1e-6.
  void (*conv_silu)(const float* const* taps, std::size_t kernel, const float* w, const float* bias,
                    float* out, std::size_t n);

  /// For each token: S = decay S + (delta x) b^T; y = S c + d x. The state is float32. Tokens are
  /// taken one after the other, so any cut of a sequence gives the same bits. Error 1e-5.
  ///
  /// The chunked matrix form of the same equations needs as many multiplications in float32
  /// (state_size 128, head_dim 64, chunks of 64) and rounds differently for every cut.
  void (*ssm_scan)(const SsmHead& head);

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

/// delta[h] = clamp(softplus(dt[h] + bias[h]), low, high); decay[h] = exp(delta[h] a[h]), in
/// double.
void time_steps(std::span<const float> dt, std::span<const float> bias, std::span<const float> a,
                float low, float high, std::span<float> delta, std::span<float> decay);

}  // namespace tern::kernels
