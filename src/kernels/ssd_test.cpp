#include "kernels/ssd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/guarded.h"

namespace tern::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class SsdOf : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!supported(GetParam())) GTEST_SKIP() << "this CPU has no " << name(GetParam());
  }
};

INSTANTIATE_TEST_SUITE_P(Isa, SsdOf,
                         testing::Values(Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512),
                         [](const auto& of) { return std::string(name(of.param)); });

const SsdShape kShapes[] = {{1, 1, 1},   {2, 5, 7},    {3, 16, 16},
                            {2, 24, 33}, {8, 64, 128}, {1, 80, 20}};

/// Inputs of a scan, token after token.
struct Scan {
  SsdShape shape;
  std::size_t tokens;
  std::vector<float> x, b, c, delta, a, d;

  Scan(SsdShape s, std::size_t t)
      : shape(s),
        tokens(t),
        x(normal(t * s.heads * s.head_dim, 1)),
        b(normal(t * s.state_size, 2)),
        c(normal(t * s.state_size, 3)),
        delta(normal(t * s.heads, 4, 0.3f)),
        a(normal(s.heads, 5, 4.0f)),
        d(normal(s.heads, 6)) {
    for (float& v : delta) v = std::fabs(v);
    for (float& v : a) v = -std::fabs(v);
  }

  /// Tokens [begin, end), which must lie in one block.
  void run(Isa isa, std::size_t begin, std::size_t end, std::span<float> kept, float* y) const {
    const std::size_t first = begin % kSsdTokens, last = first + end - begin;
    const std::size_t vectors = shape.head_vectors(), row = shape.state_vectors() * 16;
    Guarded bx(shape.x_values()), bb(shape.b_values()), bc(shape.b_values());
    Guarded bd(kSsdTokens * shape.heads), scratch(2 * shape.b_values());
    Guarded da(std::span<const float>{a}), dd(std::span<const float>{d});
    for (std::size_t t = first; t < last; ++t) {
      const std::size_t token = begin + t - first;
      for (std::size_t h = 0; h < shape.heads; ++h) {
        bd[t * shape.heads + h] = delta[token * shape.heads + h];
        for (std::size_t p = 0; p < shape.head_dim; ++p)
          bx[((h * vectors + p / 16) * kSsdTokens + t) * 16 + p % 16] =
              x[(token * shape.heads + h) * shape.head_dim + p];
      }
      for (std::size_t n = 0; n < shape.state_size; ++n) {
        bb[t * row + n] = b[token * shape.state_size + n];
        bc[t * row + n] = c[token * shape.state_size + n];
      }
    }
    const std::size_t width = shape.heads * shape.head_dim;
    Guarded out((end - begin) * width);
    ssd(isa).block({.shape = shape,
                    .first = first,
                    .last = last,
                    .x = bx.data(),
                    .b = bb.data(),
                    .c = bc.data(),
                    .delta = bd.data(),
                    .a = da.data(),
                    .d = dd.data(),
                    .scratch = scratch.data(),
                    .kept = kept.data(),
                    .y = out.data(),
                    .y_stride = width});
    std::ranges::copy(out.span(), y + begin * width);
  }

  /// All tokens, at most `piece` at a time. @return y and what is kept
  std::pair<std::vector<float>, std::vector<float>> all(Isa isa, std::size_t piece) const {
    std::vector<float> y(tokens * shape.heads * shape.head_dim);
    Guarded kept(shape.kept_values());
    for (std::size_t t = 0; t < tokens;) {
      const std::size_t n = std::min({piece, tokens - t, kSsdTokens - t % kSsdTokens});
      run(isa, t, t + n, kept.span(), y.data());
      t += n;
    }
    return {y, std::vector<float>(kept.span().begin(), kept.span().end())};
  }

  /// The recurrence, step by step in double.
  std::vector<double> steps() const {
    std::vector<double> y(tokens * shape.heads * shape.head_dim);
    std::vector<double> state(shape.heads * shape.head_dim * shape.state_size);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t i = 0; i < shape.heads * shape.head_dim; ++i) {
        const std::size_t h = i / shape.head_dim;
        const double dt = delta[t * shape.heads + h];
        const double in = x[t * shape.heads * shape.head_dim + i];
        double sum = d[h] * in;
        for (std::size_t n = 0; n < shape.state_size; ++n) {
          double& s = state[i * shape.state_size + n];
          s = std::exp(dt * a[h]) * s + dt * in * b[t * shape.state_size + n];
          sum += s * c[t * shape.state_size + n];
        }
        y[t * shape.heads * shape.head_dim + i] = sum;
      }
    return y;
  }
};

TEST_P(SsdOf, BlocksGiveWhatTheRecurrenceGivesStepByStep) {
  for (const SsdShape& shape : kShapes)
    for (const std::size_t tokens : std::initializer_list<std::size_t>{1, 16, 17, 95}) {
      const Scan scan(shape, tokens);
      const auto expected = scan.steps();
      const auto found = scan.all(GetParam(), kSsdTokens).first;
      double largest = 0;
      for (const double v : expected) largest = std::max(largest, std::fabs(v));
      for (std::size_t i = 0; i < found.size(); ++i)
        ASSERT_NEAR(found[i], expected[i], 1e-5 * largest)
            << "value " << i << " of heads " << shape.heads << " x " << shape.head_dim << ", state "
            << shape.state_size << ", " << tokens << " tokens";
    }
}

TEST_P(SsdOf, TokensInAnyPiecesGiveTheSameBits) {
  for (const SsdShape& shape : kShapes) {
    const Scan scan(shape, 45);
    const auto whole = scan.all(GetParam(), kSsdTokens);
    for (const std::size_t piece : std::initializer_list<std::size_t>{1, 3, 15})
      EXPECT_TRUE(scan.all(GetParam(), piece) == whole) << "in pieces of " << piece;
  }
}

TEST_P(SsdOf, ForgetsWhatAStrongDecayForgets) {
  Scan scan({1, 16, 16}, 33);
  std::ranges::fill(scan.a, -1e30f);
  std::ranges::fill(scan.delta, 1.0f);
  const auto y = scan.all(GetParam(), kSsdTokens).first;
  const auto expected = scan.steps();  // what is left is the token itself
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-4);
}

TEST_P(SsdOf, LaterTokensDoNotReachBack) {
  Scan scan({2, 24, 16}, 16);
  const auto before = scan.all(GetParam(), 16).first;
  for (const float bad : {kNan, kInf}) {
    std::ranges::fill(std::span(scan.x).last(2 * 24), bad);
    std::ranges::fill(std::span(scan.b).last(16), bad);
    const auto after = scan.all(GetParam(), 16).first;
    EXPECT_TRUE(std::equal(after.begin(), after.end() - 2 * 24, before.begin()));
    EXPECT_FALSE(std::isfinite(after.back()));
  }
}

TEST_P(SsdOf, TimeStepsAreSoftplusWithoutAClampUnlessOneIsGiven) {
  std::vector<float> dt = {kNan};
  for (float v = -80; v < 60; v += 0.37f) dt.push_back(v);
  const std::size_t n = dt.size();
  Guarded in(dt), bias(std::vector<float>(n, 0.5f)), delta(n);
  ssd(GetParam()).time_steps(in.data(), bias.data(), 0, kInf, delta.data(), n);
  EXPECT_TRUE(std::isnan(delta[0]));
  for (std::size_t i = 1; i < n; ++i) {
    const double v = double{dt[i] + 0.5f};
    const double exact = std::fmax(v, 0.0) + std::log1p(std::exp(-std::fabs(v)));
    EXPECT_NEAR(delta[i], exact, 5e-7 * exact) << dt[i];
  }
  ssd(GetParam()).time_steps(in.data(), bias.data(), 0.001f, 10.0f, delta.data(), n);
  EXPECT_TRUE(std::isnan(delta[0]));
  EXPECT_EQ(delta[1], 0.001f);
  EXPECT_EQ(delta[n - 1], 10.0f);
}

TEST(Ssd, FastFormsAgreeBitForBit) {
  if (!supported(Isa::avx512)) GTEST_SKIP() << "this CPU has no avx512";
  for (const SsdShape& shape : kShapes) {
    const Scan scan(shape, 37);
    EXPECT_TRUE(scan.all(Isa::avx2, 16) == scan.all(Isa::avx512, 16));
  }
  const auto dt = normal(100, 7, 20.0f), bias = normal(100, 8);
  std::vector<float> a(100), b(100);
  ssd(Isa::avx2).time_steps(dt.data(), bias.data(), 0, kInf, a.data(), 100);
  ssd(Isa::avx512).time_steps(dt.data(), bias.data(), 0, kInf, b.data(), 100);
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace tern::kernels
