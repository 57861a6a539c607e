#include "kernels/ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/guarded.h"

namespace tern::kernels {
namespace {

const std::size_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 512, 2688};
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double silu(double x) {
  return x / (1 + std::exp(-x));
}

/// Every element within `bound` of the largest magnitude.
void expect_close(std::span<const float> found, std::span<const double> expected, double bound) {
  ASSERT_EQ(found.size(), expected.size());
  double largest = 0;
  for (const double v : expected) largest = std::max(largest, std::fabs(v));
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], bound * largest)
        << "element " << i << " of " << found.size();
}

class OpsOf : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!supported(GetParam())) GTEST_SKIP() << "this CPU has no " << name(GetParam());
  }
  const Ops& op() const { return ops(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Isa, OpsOf,
                         testing::Values(Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512),
                         [](const auto& of) { return std::string(name(of.param)); });

TEST_P(OpsOf, RmsNormDividesByTheRootMeanSquareOfAnyLength) {
  for (const std::size_t n : kSizes) {
    Guarded x(normal(n, 1, 3.0f)), w(normal(n, 2)), y(n);
    std::vector<double> expected(n);
    double squares = 0;
    for (std::size_t i = 0; i < n; ++i) squares += double{x[i]} * x[i];
    for (std::size_t i = 0; i < n; ++i)
      expected[i] = double{w[i]} * x[i] / std::sqrt(squares / static_cast<double>(n) + 1e-5f);
    op().rms_norm(x.data(), w.data(), y.data(), n, 1e-5f);
    expect_close(y.span(), expected, 1e-6);
    op().rms_norm(x.data(), w.data(), x.data(), n, 1e-5f);  // in place
    EXPECT_TRUE(std::ranges::equal(x.span(), y.span()));
  }
}

TEST_P(OpsOf, GatedNormGatesFirstAndNormalisesEachGroupAlone) {
  for (const std::size_t groups : std::initializer_list<std::size_t>{1, 2, 8})
    for (const std::size_t group : std::initializer_list<std::size_t>{1, 5, 16, 37, 512}) {
      const std::size_t n = groups * group;
      Guarded y(normal(n, 3)), z(normal(n, 4, 4.0f)), w(normal(n, 5)), out(n);
      std::vector<double> expected(n);
      for (std::size_t g = 0; g < n; g += group) {
        double squares = 0;
        for (std::size_t i = g; i < g + group; ++i) squares += std::pow(y[i] * silu(z[i]), 2);
        for (std::size_t i = g; i < g + group; ++i)
          expected[i] =
              w[i] * y[i] * silu(z[i]) / std::sqrt(squares / static_cast<double>(group) + 1e-5f);
      }
      op().gated_rms_norm(y.data(), z.data(), w.data(), out.data(), n, groups, 1e-5f);
      expect_close(out.span(), expected, 2e-6);
    }
}

TEST_P(OpsOf, Relu2SquaresWhatIsPositive) {
  for (const std::size_t n : kSizes) {
    Guarded x(normal(n, 6));
    x[0] = -0.0f;
    const std::vector<float> before(x.span().begin(), x.span().end());
    op().relu2(x.data(), n);
    for (std::size_t i = 0; i < n; ++i)
      EXPECT_EQ(x[i], before[i] > 0 ? before[i] * before[i] : 0.0f);
  }
  Guarded odd(std::vector<float>{kNan, kInf, -kInf});
  op().relu2(odd.data(), 3);
  EXPECT_TRUE(std::isnan(odd[0])) << "a NaN must not be hidden";
  EXPECT_EQ(odd[1], kInf);
  EXPECT_EQ(odd[2], 0.0f);
}

TEST_P(OpsOf, AddSumsAndNoticesWhatIsNotFinite) {
  for (const std::size_t n : kSizes) {
    Guarded x(normal(n, 14)), y(normal(n, 15));
    const std::vector<float> before(y.span().begin(), y.span().end());
    EXPECT_TRUE(op().add(y.data(), x.data(), n));
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(y[i], before[i] + x[i]);
    EXPECT_TRUE(op().finite(y.data(), n));
    for (const float bad : {kInf, -kInf, kNan}) {
      x[n - 1] = bad;
      EXPECT_FALSE(op().finite(x.data(), n));
      EXPECT_FALSE(op().add(y.data(), x.data(), n));
      y[n - 1] = 0;
    }
  }
  Guarded most(std::vector<float>{std::numeric_limits<float>::max()});
  EXPECT_FALSE(op().add(most.data(), most.data(), 1)) << "the sum overflows";
}

TEST_P(OpsOf, AddScaledIsAMultiplyAndAnAdd) {
  for (const std::size_t n : kSizes) {
    Guarded x(normal(n, 16)), y(normal(n, 17));
    std::vector<double> expected(n);
    for (std::size_t i = 0; i < n; ++i) expected[i] = y[i] + double{1.7f} * x[i];
    op().add_scaled(y.data(), 1.7f, x.data(), n);
    expect_close(y.span(), expected, 1e-7);
  }
}

TEST_P(OpsOf, ExpIsWithinTwoUnitsInTheLastPlaceOverTheWholeRange) {
  std::vector<float> x;
  for (double v = -110; v < 95; v += 0.000713) x.push_back(static_cast<float>(v));
  for (const float v : {0.0f, -0.0f, 1e-30f, -1e-8f, 88.7228f, -87.3366f, -103.97f}) x.push_back(v);
  std::vector<float> y = x;
  op().exp(y.data(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(double{x[i]});
    const auto nearest = static_cast<float>(exact);
    if (std::isinf(nearest)) {
      EXPECT_GE(y[i], std::numeric_limits<float>::max() * 0.999999f) << x[i];
      continue;
    }
    const double unit = double{std::nextafter(nearest, kInf)} - nearest;
    ASSERT_NEAR(y[i], exact, 2 * unit) << "e^" << x[i];
  }
  std::vector<float> odd = {kNan, kInf, -kInf, 1e30f, -1e30f};
  op().exp(odd.data(), odd.size());
  EXPECT_TRUE(std::isnan(odd[0]));
  EXPECT_EQ(odd[1], kInf);
  EXPECT_EQ(odd[2], 0.0f);
  EXPECT_EQ(odd[3], kInf);
  EXPECT_EQ(odd[4], 0.0f);
}

TEST(Ops, FastFormsAgreeBitForBit) {
  if (!supported(Isa::avx512)) GTEST_SKIP() << "this CPU has no avx512";
  const std::size_t n = 100;
  const auto x = normal(n, 18), w = normal(n, 19), z = normal(n, 20, 5.0f);
  std::vector<float> a(n), b(n);
  ops(Isa::avx2).rms_norm(x.data(), w.data(), a.data(), n, 1e-5f);
  ops(Isa::avx512).rms_norm(x.data(), w.data(), b.data(), n, 1e-5f);
  EXPECT_EQ(a, b);
  ops(Isa::avx2).gated_rms_norm(x.data(), z.data(), w.data(), a.data(), n, 4, 1e-5f);
  ops(Isa::avx512).gated_rms_norm(x.data(), z.data(), w.data(), b.data(), n, 4, 1e-5f);
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace tern::kernels
