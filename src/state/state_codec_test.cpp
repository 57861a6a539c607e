#include "state/state_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace tern::state {
namespace {

/// As states are: a size of its own for each row of 128.
std::vector<float> states(std::size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  float size = 1;
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 128 == 0) size = std::exp(2 * normal(random));
    x[i] = size * normal(random);
  }
  return x;
}

std::vector<float> there_and_back(const std::vector<float>& x, StateCodec codec,
                                  ThreadPool* pool = nullptr) {
  const auto packed = PackedState::pack(x, codec, pool);
  EXPECT_TRUE(packed);
  std::vector<float> out(x.size());
  EXPECT_TRUE(packed->unpack(out, pool));
  return out;
}

double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    error += std::pow(double{x[i]} - y[i], 2);
    norm += std::pow(double{x[i]}, 2);
  }
  return std::sqrt(error / norm);
}

TEST(StateCodec, HasNames) {
  for (const StateCodec codec : kStateCodecs) EXPECT_EQ(state_codec(name(codec)), codec);
  EXPECT_EQ(state_codec("q5"), std::nullopt);
}

TEST(StateCodec, WithoutLossReturnsEveryBit) {
  ThreadPool pool(3);
  auto x = states(200'000);
  x[0] = -0.0f;
  x[1] = std::numeric_limits<float>::infinity();
  x[2] = std::numeric_limits<float>::denorm_min();
  for (const StateCodec codec : {StateCodec::f32, StateCodec::lossless})
    for (const std::size_t n : {0uz, 1uz, 65536uz, 65537uz, 200'000uz}) {
      const std::vector<float> part(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n));
      const auto out = there_and_back(part, codec, &pool);
      EXPECT_TRUE(n == 0 || std::memcmp(out.data(), part.data(), 4 * n) == 0);
    }
  EXPECT_LT(PackedState::pack(x, StateCodec::lossless)->bytes(), 4 * x.size() * 9 / 10);
  EXPECT_LT(PackedState::pack(std::vector<float>(x.size()), StateCodec::lossless)->bytes(), 1000u);
}

TEST(StateCodec, KeepsExactValuesAsTheyAre) {
  ThreadPool pool(2);
  auto x = states(70'000);
  const ExactRange exact[] = {{0, 1}, {100, 40}, {65'500, 100}, {69'999, 1}};
  for (const auto& [begin, count] : exact)
    for (std::size_t i = begin; i < begin + count; ++i) x[i] = -1e4f - static_cast<float>(i) / 7;
  const auto inside = [&](std::size_t i) {
    return std::ranges::any_of(
        exact, [&](const ExactRange& r) { return i >= r.begin && i < r.begin + r.count; });
  };
  for (const StateCodec codec : kStateCodecs) {
    SCOPED_TRACE(name(codec));
    const auto packed = PackedState::pack(x, codec, &pool, exact);
    ASSERT_TRUE(packed);
    std::vector<float> out(x.size()), rest = x, rest_out;
    ASSERT_TRUE(packed->unpack(out, &pool));
    rest_out = out;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (inside(i)) {
        ASSERT_EQ(out[i], x[i]) << i;
        rest[i] = rest_out[i] = 0;
      }
    EXPECT_LT(relative_error(rest, rest_out), 0.1);  // great neighbours did not set their scale
  }
}

TEST(StateCodec, LosesAsMuchAsItsBitsMust) {
  const auto x = states(100'000);
  struct Case {
    StateCodec codec;
    double error;
    std::size_t vector_bytes;
  };
  for (const auto& [codec, error, bytes] :
       {Case{StateCodec::q8, 0.007, 132}, Case{StateCodec::q6, 0.029, 100},
        Case{StateCodec::q4, 0.093, 66}}) {
    SCOPED_TRACE(name(codec));
    const auto out = there_and_back(x, codec);
    EXPECT_LT(relative_error(x, out), error * 1.1);
    EXPECT_GT(relative_error(x, out), error * 0.7);
    EXPECT_EQ(PackedState::pack(x, codec)->bytes(), (x.size() + 127) / 128 * bytes);
  }
}

TEST(StateCodec, IsTheSameOnAnyThreads) {
  ThreadPool pool(3);
  const auto x = states(150'001);
  for (const StateCodec codec : kStateCodecs) {
    EXPECT_EQ(there_and_back(x, codec, &pool), there_and_back(x, codec));
    EXPECT_EQ(PackedState::pack(x, codec, &pool)->bytes(), PackedState::pack(x, codec)->bytes());
  }
}

TEST(StateCodec, KeepsWhatIsNotFiniteOutOfTheOtherValues) {
  std::vector<float> x(256, 1.0f);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  x[200] = -std::numeric_limits<float>::infinity();
  for (const StateCodec codec : {StateCodec::q8, StateCodec::q6, StateCodec::q4})
    for (const float value : there_and_back(x, codec)) EXPECT_TRUE(std::isfinite(value));
  for (const StateCodec codec : {StateCodec::q8, StateCodec::q6, StateCodec::q4})
    EXPECT_EQ(there_and_back(std::vector<float>(300), codec), std::vector<float>(300));
}

TEST(StateCodec, RefusesAStateOfAnotherSize) {
  const auto packed = PackedState::pack(states(500), StateCodec::q8);
  std::vector<float> other(501);
  EXPECT_EQ(packed->unpack(other).error().code, ErrorCode::mismatch);
}

}  // namespace
}  // namespace tern::state
