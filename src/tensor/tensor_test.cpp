#include "tensor/tensor.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdint>
#include <new>
#include <set>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace tern {
namespace {

TEST(DTypes, HaveDistinctNamesAndWholeLayouts) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    EXPECT_TRUE(names.insert(name(type)).second) << name(type);
    EXPECT_GT(block_layout(type).elements, 0u);
    EXPECT_GT(block_layout(type).bytes, 0u);
    EXPECT_EQ(is_block_type(type), type >= DType::q4_0) << name(type);
  }
}

TEST(DTypes, TakeTheBitsPerWeightOfTheirFormat) {
  const auto bits_per_weight = [](DType type) {
    const auto [elements, bytes] = block_layout(type);
    return 8.0 * bytes / elements;
  };
  const std::pair<DType, double> expected[] = {
      {DType::f64, 64},      {DType::f32, 32},      {DType::f16, 16},    {DType::bf16, 16},
      {DType::i64, 64},      {DType::i32, 32},      {DType::i16, 16},    {DType::i8, 8},
      {DType::boolean, 8},   {DType::f8_e4m3, 8},   {DType::q4_0, 4.5},  {DType::q4_1, 5},
      {DType::q5_0, 5.5},    {DType::q5_1, 6},      {DType::q8_0, 8.5},  {DType::q2_k, 2.625},
      {DType::q3_k, 3.4375}, {DType::q4_k, 4.5},    {DType::q5_k, 5.5},  {DType::q6_k, 6.5625},
      {DType::iq4_nl, 4.5},  {DType::iq4_xs, 4.25}, {DType::mxfp4, 4.25}};
  for (const auto& [type, bits] : expected) EXPECT_EQ(bits_per_weight(type), bits) << name(type);
}

TEST(DTypes, RowsAreWholeBlocks) {
  EXPECT_EQ(checked_row_bytes(DType::f32, 3), 12u);
  EXPECT_EQ(checked_row_bytes(DType::q4_k, 512), 288u);
  EXPECT_EQ(checked_row_bytes(DType::q4_k, 0), 0u);
  EXPECT_EQ(checked_row_bytes(DType::q4_k, 255), std::nullopt);
  EXPECT_EQ(checked_row_bytes(DType::f64, std::uint64_t{1} << 61), std::nullopt);
  EXPECT_EQ(checked_row_bytes(DType::q4_0, (std::uint64_t{1} << 63)), (std::uint64_t{1} << 58) * 18)
      << "no intermediate product wraps";
}

TEST(DTypes, TensorsAreCheckedAlongEveryAxis) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 63;
  const auto bytes = [](DType type, std::vector<std::uint64_t> shape) {
    return checked_tensor_bytes(type, shape);
  };
  EXPECT_EQ(bytes(DType::f32, {}), 4u) << "a scalar";
  EXPECT_EQ(bytes(DType::q8_0, {}), std::nullopt);
  EXPECT_EQ(bytes(DType::bf16, {128, 1856, 2688}), 128u * 1856 * 2688 * 2);
  EXPECT_EQ(bytes(DType::q6_k, {3, 256}), 630u);
  EXPECT_EQ(bytes(DType::q6_k, {256, 3}), std::nullopt) << "rows, not the whole, are blocks";
  EXPECT_EQ(bytes(DType::f32, {0, 5}), 0u);
  EXPECT_EQ(bytes(DType::q8_0, {5, 0}), 0u);
  EXPECT_EQ(bytes(DType::f32, {kHuge, 0}), std::nullopt);
  EXPECT_EQ(bytes(DType::f32, {0, kHuge}), std::nullopt);
  EXPECT_EQ(bytes(DType::u8, {kHuge, 2, 0}), std::nullopt);
  EXPECT_EQ(bytes(DType::u8, {kHuge, 1}), kHuge);
}

RC_GTEST_PROP(DTypesProperty, SizesAreExactOrAbsent, ()) {
  __extension__ using Wide = unsigned __int128;
  const auto type = static_cast<DType>(*rc::gen::inRange<std::size_t>(0, kDTypeCount));
  const auto [elements, bytes] = block_layout(type);
  const auto blocks = *rc::gen::inRange<std::uint64_t>(0, std::uint64_t{1} << 34);
  const auto rows = *rc::gen::inRange<std::uint64_t>(1, std::uint64_t{1} << 34);
  const std::vector<std::uint64_t> shape = {rows, blocks * elements};
  const Wide exact = Wide{rows} * blocks * bytes;
  const auto found = checked_tensor_bytes(type, shape);
  RC_ASSERT(found.has_value() == (exact >> 64 == 0));
  if (found) RC_ASSERT(Wide{*found} == exact);
}

TEST(Tensors, PrintTheirShapeAsPyTorchDoes) {
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ(to_string(Shape{128, 1856, 2688}), "[128, 1856, 2688]");
  EXPECT_EQ((Tensor{"t", DType::f32, {2, 3}, {}}.elements()), 6u);
  EXPECT_EQ((Tensor{"t", DType::f32, {}, {}}.elements()), 1u);
}

TEST(Buffers, AreZeroedAlignedAndMoveOnly) {
  for (const std::size_t size : {0u, 1u, 15u, 16u, 17u, 1000u}) {
    Buffer<float> buffer(size);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % Buffer<float>::kAlignment, 0u);
    for (const float value : buffer.span()) EXPECT_EQ(value, 0.0f);
  }
  Buffer<int> a(3);
  a[1] = 7;
  Buffer<int> b = std::move(a);
  EXPECT_EQ(b[1], 7);
  EXPECT_EQ(a.size(), 0u);
  a = std::move(b);
  EXPECT_EQ(a.span()[1], 7);
  static_assert(!std::is_copy_constructible_v<Buffer<int>>);
}

TEST(Buffers, WhoseSizeWrapsAreNotMade) {
  const std::size_t wraps = std::size_t{1} << 62;
  EXPECT_THROW(Buffer<double>{wraps}, std::bad_alloc);
}

}  // namespace
}  // namespace tern
