// The Mamba-2 recurrence (arXiv:2405.21060) in blocks of sixteen tokens, for one group of heads.
//
//   S = exp(delta A) S + delta x B^T;  y = S C + D x            a state [head_dim, state_size] a
//   head
//
// Inside a block, with cum_t the sum of delta A up to token t and S the state before the block,
//   y_t = exp(cum_t) S C_t + sum_{s <= t} exp(cum_t - cum_s) (C_t . B_s) delta_s x_s + D x_t
// and the state moves on once, when the block is full:
//   S   = exp(cum_15) S + sum_s exp(cum_15 - cum_s) delta_s x_s B_s^T
//
// Blocks lie at fixed positions of the sequence and each sum has one order. What it takes of the
// tokens of a block that is not full yet is kept beside the state. So a prompt that is read whole,
// one that is read in pieces, and tokens that are generated one by one give the same bits.
#pragma once
#include <cstddef>

#include "base/cpu.h"

namespace tern::kernels {

inline constexpr std::size_t kSsdTokens = 16;  ///< in a block: those that one vector holds

/// Sizes of one group: heads that share B and C.
struct SsdShape {
  std::size_t heads = 0, head_dim = 0, state_size = 0;

  /// head_dim and state_size in vectors of sixteen.
  std::size_t head_vectors() const { return (head_dim + 15) / 16; }
  std::size_t state_vectors() const { return (state_size + 15) / 16; }
  /// Floats of x in SsdBlock, and of B and C.
  std::size_t x_values() const { return heads * head_vectors() * 16 * kSsdTokens; }
  std::size_t b_values() const { return state_vectors() * 16 * kSsdTokens; }
  /// Floats that a group keeps: states, and of the tokens of the block B, delta x and cum.
  std::size_t kept_values() const {
    return heads * head_vectors() * 16 * state_size + state_size * kSsdTokens + x_values() +
           heads * kSsdTokens;
  }
};

/// New tokens [first, last) of a block, for one group. Rows of x, b, c and delta are those of the
/// block; only new ones are read, and elements past head_dim or state_size must be finite.
struct SsdBlock {
  SsdShape shape;
  std::size_t first = 0, last = 0;
  const float* x = nullptr;      ///< [heads, head_vectors, 16 tokens, 16]
  const float* b = nullptr;      ///< [16 tokens, state_vectors * 16]
  const float* c = nullptr;      ///< as b
  const float* delta = nullptr;  ///< [16 tokens, heads]
  const float* a = nullptr;      ///< [heads], negative
  const float* d = nullptr;      ///< [heads]
  float* scratch = nullptr;      ///< [2 * b_values()]
  float* kept = nullptr;         ///< [kept_values()], zeros at the start of a sequence
  float* y = nullptr;            ///< [last - first, heads * head_dim], y_stride floats apart
  std::size_t y_stride = 0;
};

struct Ssd {
  /// delta[i] = clamp(softplus(dt[i] + bias[i]), low, high); NaN stays. Relative error 5e-7.
  void (*time_steps)(const float* dt, const float* bias, float low, float high, float* delta,
                     std::size_t n);

  /// The equations above. Error 1e-5 of the largest magnitude in the result.
  void (*block)(const SsdBlock& block);
};

/// The scalar form sums in double; the fast forms are the same bits on every instruction set.
const Ssd& ssd(Isa isa);
inline const Ssd& ssd() {
  return ssd(active_isa());
}

}  // namespace tern::kernels
