#include "tensor/dtype.h"

#include <array>

#include "base/check.h"
#include "base/checked.h"

namespace tern {
namespace {

struct Row {
  DType type;
  std::string_view name;
  BlockLayout layout;
};

constexpr std::array<Row, kDTypeCount> kTypes = {{
    {DType::f64, "f64", {1, 8}},         {DType::f32, "f32", {1, 4}},
    {DType::f16, "f16", {1, 2}},         {DType::bf16, "bf16", {1, 2}},
    {DType::i64, "i64", {1, 8}},         {DType::i32, "i32", {1, 4}},
    {DType::i16, "i16", {1, 2}},         {DType::i8, "i8", {1, 1}},
    {DType::u64, "u64", {1, 8}},         {DType::u32, "u32", {1, 4}},
    {DType::u16, "u16", {1, 2}},         {DType::u8, "u8", {1, 1}},
    {DType::boolean, "bool", {1, 1}},    {DType::f8_e4m3, "f8_e4m3", {1, 1}},
    {DType::f8_e5m2, "f8_e5m2", {1, 1}}, {DType::f8_e8m0, "f8_e8m0", {1, 1}},
    {DType::q4_0, "q4_0", {32, 18}},     {DType::q4_1, "q4_1", {32, 20}},
    {DType::q5_0, "q5_0", {32, 22}},     {DType::q5_1, "q5_1", {32, 24}},
    {DType::q8_0, "q8_0", {32, 34}},     {DType::q2_k, "q2_k", {256, 84}},
    {DType::q3_k, "q3_k", {256, 110}},   {DType::q4_k, "q4_k", {256, 144}},
    {DType::q5_k, "q5_k", {256, 176}},   {DType::q6_k, "q6_k", {256, 210}},
    {DType::iq4_nl, "iq4_nl", {32, 18}}, {DType::iq4_xs, "iq4_xs", {256, 136}},
    {DType::mxfp4, "mxfp4", {32, 17}},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kTypes.size(); ++i)
    if (kTypes[i].type != static_cast<DType>(i)) return false;
  return true;
}
static_assert(in_order(), "the table follows the enumeration");

}  // namespace

BlockLayout block_layout(DType type) {
  return kTypes[static_cast<std::size_t>(type)].layout;
}

std::string_view name(DType type) {
  return kTypes[static_cast<std::size_t>(type)].name;
}

std::optional<std::uint64_t> checked_row_bytes(DType type, std::uint64_t elements) {
  const auto [block, bytes] = block_layout(type);
  if (elements % block != 0) return std::nullopt;
  return checked_mul(elements / block, bytes);
}

std::optional<std::uint64_t> checked_tensor_bytes(DType type,
                                                  std::span<const std::uint64_t> shape) {
  const std::uint64_t row = shape.empty() ? 1 : shape.back();
  const auto row_bytes = checked_row_bytes(type, row);
  if (!row_bytes) return std::nullopt;
  bool empty = row == 0;
  // An empty row counts as one block, and an empty axis as one, so that the rest is still checked.
  std::uint64_t total = empty ? block_layout(type).bytes : *row_bytes;
  for (std::size_t axis = 0; axis + 1 < shape.size(); ++axis) {
    if (shape[axis] == 0) {
      empty = true;
    } else if (const auto product = checked_mul(total, shape[axis])) {
      total = *product;
    } else {
      return std::nullopt;
    }
  }
  return empty ? 0 : total;
}

}  // namespace tern
