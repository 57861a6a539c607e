#include "base/checked.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <vector>

namespace tern {
namespace {

__extension__ using Wide = unsigned __int128;
constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;

/// The exact value when it fits, as the checked functions promise.
std::optional<std::uint64_t> fitting(Wide exact) {
  if (exact > kMax) return std::nullopt;
  return static_cast<std::uint64_t>(exact);
}

/// Numbers of all magnitudes: uniform ones nearly always wrap when multiplied.
rc::Gen<std::uint64_t> any_magnitude() {
  return rc::gen::map(rc::gen::pair(rc::gen::arbitrary<std::uint64_t>(), rc::gen::inRange(0, 64)),
                      [](const auto& pair) { return pair.first >> pair.second; });
}

RC_GTEST_PROP(Checked, SumsAndProductsAreExactOrAbsent, ()) {
  const auto a = *any_magnitude();
  const auto b = *any_magnitude();
  RC_ASSERT(checked_add(a, b) == fitting(Wide{a} + b));
  RC_ASSERT(checked_mul(a, b) == fitting(Wide{a} * b));
}

RC_GTEST_PROP(Checked, AlignmentRoundsUpToTheNextMultiple, ()) {
  const auto value = *any_magnitude();
  const auto alignment = *rc::gen::suchThat(any_magnitude(), [](auto n) { return n > 0; });
  RC_ASSERT(checked_align(value, alignment) ==
            fitting((Wide{value} + alignment - 1) / alignment * alignment));
}

TEST(Checked, HoldsAtTheEdges) {
  EXPECT_EQ(checked_add(kMax, 0), kMax);
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_mul(kMax, 1), kMax);
  EXPECT_EQ(checked_mul(kHalf, 2), std::nullopt);
  EXPECT_EQ(checked_mul(kMax, 0), 0u);
  EXPECT_EQ(checked_align(kMax, 32), std::nullopt);
  EXPECT_EQ(checked_align(kMax - 31, 32), kMax - 31);
  EXPECT_EQ(checked_align(0, 32), 0u);
}

TEST(Checked, AZeroExtentHidesNoOverflowWhereverItStands) {
  using Extents = std::vector<std::uint64_t>;
  EXPECT_EQ(checked_product(Extents{}), 1u);
  EXPECT_EQ(checked_product(Extents{2, 3, 4}), 24u);
  EXPECT_EQ(checked_product(Extents{2, 0, 4}), 0u);
  EXPECT_EQ(checked_product(Extents{kHalf, 2}), std::nullopt);
  for (const Extents& extents : {Extents{0, kHalf, 2}, Extents{kHalf, 0, 2}, Extents{kHalf, 2, 0}})
    EXPECT_EQ(checked_product(extents), std::nullopt);
}

}  // namespace
}  // namespace tern
