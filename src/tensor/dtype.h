// Storage types of tensors: plain numbers, and the block formats of GGUF.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tern {

/// How the elements of one stored tensor are encoded. MLX's quantized matrices are made of several
/// plain tensors (u32 weight, scales, biases) and have no type of their own here.
enum class DType : std::uint8_t {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  // GGUF blocks along the innermost axis
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  mxfp4,
};
inline constexpr std::size_t kDTypeCount = static_cast<std::size_t>(DType::mxfp4) + 1;

/// `bytes` hold `elements` consecutive elements of a row; plain types have one element a block.
struct BlockLayout {
  std::uint32_t elements;
  std::uint32_t bytes;
};

BlockLayout block_layout(DType type);
inline bool is_block_type(DType type) {
  return block_layout(type).elements > 1;
}

/// Lower-case name as users know it: "bf16", "q4_k", "iq4_xs".
std::string_view name(DType type);

/// Bytes of `elements` consecutive elements; nothing when they are no whole number of blocks or
/// the size wraps.
std::optional<std::uint64_t> checked_row_bytes(DType type, std::uint64_t elements);

/// Bytes of a whole tensor (extents outermost first; none is a scalar); nothing when its rows are
/// no whole number of blocks or the size wraps. A zero extent makes the size 0 but hides no wrap.
std::optional<std::uint64_t> checked_tensor_bytes(DType type, std::span<const std::uint64_t> shape);

}  // namespace tern
