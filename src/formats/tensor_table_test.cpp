#include "formats/tensor_table.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "formats/refusal.h"

namespace tern::formats {
namespace {

using enum ErrorCode;

Result<TensorTable> prove(std::vector<TensorClaim> claims, std::size_t data_bytes,
                          const TableRules& rules = {}) {
  static const std::vector<std::byte> data(1 << 16);
  return TensorTable::prove(std::move(claims), Bytes(data).first(data_bytes), rules, "file");
}

TensorClaim bytes(std::string name, std::uint64_t begin, std::uint64_t end) {
  return {std::move(name), DType::u8, {end - begin}, begin, end};
}

TEST(TensorTable, HoldsWhatFitsAndFindsItByName) {
  const auto table = prove({bytes("b", 4, 8), bytes("a", 0, 4)}, 8);
  ASSERT_TRUE(table) << table.error().message();
  EXPECT_EQ(table->tensors()[0].name, "a");
  EXPECT_EQ(table->find("b"), &table->tensors()[1]);
  EXPECT_EQ(table->find(""), nullptr);
  EXPECT_EQ(table->find("ab"), nullptr);
}

TEST(TensorTable, IsSoundWhenItIsCopiedMovedAndTheOriginalIsGone) {
  TensorTable copy;
  {
    auto table = prove({bytes("a", 0, 4)}, 8);
    copy = *table;
  }
  const TensorTable moved = std::move(copy);
  ASSERT_NE(moved.find("a"), nullptr);
  EXPECT_EQ(moved.find("a")->data.size(), 4u);
}

TEST(TensorTable, NamesTheTensorAndBothNumbers) {
  const auto says = [](std::vector<TensorClaim> claims, std::string_view words,
                       TableRules rules = {}) {
    return refuses([&] { return prove(claims, 16, rules); }, corrupt, words);
  };
  EXPECT_TRUE(says({{"t", DType::f32, {2, 3}, 0, 8}},
                   "tensor \"t\": f32 [2, 3] takes 24 bytes, its offsets 0..8 hold 8"));
  EXPECT_TRUE(says({bytes("a", 0, 8), bytes("b", 4, 12)},
                   "tensor \"b\": bytes 4..12 overlap tensor \"a\" at 0..8"));
  EXPECT_TRUE(
      says({bytes("a", 8, 17)}, "tensor \"a\": bytes 8..17 run past the data section of 16"));
  EXPECT_TRUE(says({bytes("a", 4, 8)}, "begins at 4, no multiple of 8", {.alignment = 8}));
  EXPECT_TRUE(says({{"t", DType::q4_k, {2, 128}, 0, 144}},
                   "rows of 128 elements are no whole number of q4_k blocks of 256"));
  EXPECT_TRUE(says({{"t", DType::u8, {0}, 8, 4}}, "ends at 4, before it begins at 8"));
  EXPECT_TRUE(says({bytes("a", 0, 4), bytes("b", 5, 16)}, "the data before it ends at 4",
                   {.cover_data_exactly = true}));
  EXPECT_TRUE(says({bytes("a", 0, 4)}, "end at byte 4 of the data section, which has 16",
                   {.cover_data_exactly = true}));
}

TEST(TensorTable, AZeroExtentHidesNoOverflow) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 63;
  for (const Shape& shape : {Shape{0, kHuge, 2}, Shape{kHuge, 0, 2}, Shape{kHuge, 2, 0},
                             Shape{0, kHuge}, Shape{kHuge, 0}})
    EXPECT_TRUE(refuses([&] { return prove({{"t", DType::f64, shape, 0, 0}}, 0); }, corrupt,
                        "wraps 64 bits"))
        << to_string(shape);
}

TEST(TensorTable, TakesMillionsOfLiesInLinearithmicTime) {
  std::vector<TensorClaim> claims;
  for (std::uint64_t i = 0; i < TensorTable::kMaxTensors; ++i)
    claims.push_back(bytes("same", 0, 0));
  EXPECT_TRUE(refuses([&] { return prove(claims, 0); }, corrupt, "two tensors are named"));
}

TEST(TensorTable, MergesShardsButNotTheSameNameTwice) {
  auto table = prove({bytes("b", 0, 4), bytes("d", 4, 8)}, 8);
  ASSERT_TRUE(table->merge(*prove({bytes("c", 0, 4), bytes("a", 4, 8)}, 8), "two"));
  EXPECT_EQ(table->size(), 4u);
  EXPECT_EQ(table->tensors()[2].name, "c") << "in the order of the files";
  for (const std::string name : {"a", "b", "c", "d"}) EXPECT_EQ(table->find(name)->name, name);
  EXPECT_TRUE(refuses(
      [&] { return table->merge(*prove({bytes("e", 0, 4), bytes("a", 4, 8)}, 8), "three"); },
      corrupt, "three: tensor \"a\" is also in another file"));
  EXPECT_EQ(table->size(), 4u) << "nothing is added by a merge that fails";
}

/// A partition of the data section into tensors, in any order.
std::vector<TensorClaim> partition(const std::vector<std::uint8_t>& sizes) {
  std::vector<TensorClaim> claims;
  std::uint64_t at = 0;
  for (const std::uint8_t size : sizes) {
    claims.push_back(bytes("t" + std::to_string(claims.size()), at, at + size));
    at += size;
  }
  return claims;
}

RC_GTEST_PROP(TensorTableProperty, AnyPartitionIsAcceptedInAnyOrder, ()) {
  const auto sizes =
      *rc::gen::container<std::vector<std::uint8_t>>(rc::gen::arbitrary<std::uint8_t>());
  auto claims = partition(sizes);
  const std::uint64_t end = claims.empty() ? 0 : claims.back().end;
  const auto seed = *rc::gen::arbitrary<std::size_t>();
  for (std::size_t i = claims.size(); i > 1; --i) std::swap(claims[i - 1], claims[seed % i]);
  RC_ASSERT(prove(claims, end, {.cover_data_exactly = true}).has_value());
}

RC_GTEST_PROP(TensorTableProperty, NoTwoAcceptedTensorsShareAByte, ()) {
  const auto pairs = *rc::gen::container<std::vector<std::pair<std::uint8_t, std::uint8_t>>>(
      rc::gen::pair(rc::gen::inRange<std::uint8_t>(0, 64), rc::gen::inRange<std::uint8_t>(0, 16)));
  std::vector<TensorClaim> claims;
  for (const auto& [begin, size] : pairs)
    claims.push_back(bytes("t" + std::to_string(claims.size()), begin, begin + size));
  std::vector<int> owners(128);
  bool disjoint = true;
  for (const auto& claim : claims)
    for (std::uint64_t i = claim.begin; i < claim.end; ++i) disjoint &= ++owners[i] == 1;
  const auto table = prove(claims, 80);
  if (!disjoint) RC_ASSERT(!table.has_value());
  // What is refused although no byte is shared is an empty tensor inside another one.
  const bool some_empty =
      std::ranges::any_of(claims, [](const auto& c) { return c.begin == c.end; });
  if (disjoint && !some_empty) RC_ASSERT(table.has_value());
}

}  // namespace
}  // namespace tern::formats
