// Softmax attention over a paged cache of keys and values.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"

namespace tern::kernels {

/// Number format of cached keys and values.
enum class KvType : std::uint8_t { f32, f16, bf16 };

inline constexpr std::size_t value_bytes(KvType type) {
  return type == KvType::f32 ? 4 : 2;
}

/// Tokens of a page. A page of one KV head holds keys [kKvPageTokens, head_dim], then values.
inline constexpr std::size_t kKvPageTokens = 64;

/// The cache of one KV head.
struct KvHead {
  std::span<const std::byte* const> pages;  ///< in order of position
  std::size_t key_offset = 0;               ///< bytes from the start of a page to this head's keys
  std::size_t value_offset = 0;             ///< ... and to its values
  std::size_t head_dim = 0;
  KvType type = KvType::f32;
};

/// Query rows that look at one KV head: `tokens` consecutive positions times `heads` query heads.
/// Row (t, h) of q and out starts at t * stride + h * head_dim.
struct Queries {
  const float* q = nullptr;
  float* out = nullptr;
  std::size_t tokens = 0;
  std::size_t heads = 0;
  std::size_t stride = 0;
  std::size_t first_position = 0;  ///< of token 0; it sees positions 0 ... first_position
};

/// Floats of scratch that `attend` needs for so many rows.
std::size_t attend_scratch(std::size_t rows, std::size_t head_dim);

/// out = sum_s softmax_s(q . k_s / sqrt(head_dim)) v_s over s <= position of the row.
///
/// Pages are taken in order, each with one running maximum and sum per row (arXiv:2205.14135), so a
/// row's result depends on its position and the cache alone, not on the rows beside it. Serial.
/// @param scratch  attend_scratch(tokens * heads, head_dim) floats, aligned as Buffer is
/// Relative error of the fast forms against the scalar one (double): 1e-5 of the largest |v|.
void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch, Isa isa);

}  // namespace tern::kernels
