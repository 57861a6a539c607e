#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/guarded.h"
#include "tensor/buffer.h"
#include "tensor/half.h"

namespace tern::kernels {
namespace {

/// A cache of one KV head whose values went through `type`.
struct Cache {
  std::size_t tokens, head_dim;
  KvType type;
  std::vector<float> k, v;  // as stored, [tokens, head_dim]
  std::vector<Buffer<std::byte>> pages;
  std::vector<const std::byte*> addresses;

  Cache(std::size_t t, std::size_t d, KvType kind) : tokens(t), head_dim(d), type(kind) {
    k = normal(t * d, 1);
    v = normal(t * d, 2);
    const std::size_t plane = kKvPageTokens * d * value_bytes(type);
    for (std::size_t s = 0; s < t; ++s) {
      if (s % kKvPageTokens == 0) {
        pages.emplace_back(2 * plane);
        // What no token wrote must not matter.
        std::memset(pages.back().data(), 0xff, 2 * plane);
        addresses.push_back(pages.back().data());
      }
      std::byte* at = pages.back().data() + s % kKvPageTokens * d * value_bytes(type);
      for (std::size_t i = 0; i < d; ++i) {
        put(at + i * value_bytes(type), k[s * d + i]);
        put(at + plane + i * value_bytes(type), v[s * d + i]);
      }
    }
  }
  void put(std::byte* at, float& value) const {
    if (type == KvType::f32) {
      std::memcpy(at, &value, 4);
      return;
    }
    const std::uint16_t bits = type == KvType::f16 ? float_to_f16(value) : float_to_bf16(value);
    std::memcpy(at, &bits, 2);
    value = type == KvType::f16 ? f16_to_float(bits) : bf16_to_float(bits);
  }
  KvHead head() const {
    return {addresses, 0, kKvPageTokens * head_dim * value_bytes(type), head_dim, type};
  }
};

std::vector<double> reference(const Cache& cache, std::span<const float> q, std::size_t seen) {
  std::vector<double> scores(seen), out(cache.head_dim);
  double total = 0, most = -1e300;
  for (std::size_t s = 0; s < seen; ++s) {
    for (std::size_t i = 0; i < cache.head_dim; ++i)
      scores[s] += double{q[i]} * cache.k[s * cache.head_dim + i];
    scores[s] /= std::sqrt(static_cast<double>(cache.head_dim));
    most = std::max(most, scores[s]);
  }
  for (double& s : scores) total += s = std::exp(s - most);
  for (std::size_t s = 0; s < seen; ++s)
    for (std::size_t i = 0; i < cache.head_dim; ++i)
      out[i] += scores[s] / total * cache.v[s * cache.head_dim + i];
  return out;
}

std::vector<float> run(const Cache& cache, const std::vector<float>& q, std::size_t tokens,
                       std::size_t heads, Isa isa) {
  std::vector<float> out(q.size());
  Buffer<float> scratch(attend_scratch(tokens * heads, cache.head_dim));
  attend(cache.head(),
         {.q = q.data(),
          .out = out.data(),
          .tokens = tokens,
          .heads = heads,
          .stride = heads * cache.head_dim,
          .first_position = cache.tokens - tokens},
         scratch.span(), isa);
  return out;
}

class Attention : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!supported(GetParam())) GTEST_SKIP() << "this CPU has no " << name(GetParam());
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, Attention, testing::Values(Isa::scalar, Isa::avx2, Isa::avx512),
                         [](const auto& of) { return std::string(name(of.param)); });

TEST_P(Attention, IsASoftmaxAverageOfTheValuesUpToTheOwnPosition) {
  for (const KvType type : {KvType::f32, KvType::f16, KvType::bf16})
    for (const std::size_t d : std::initializer_list<std::size_t>{1, 7, 16, 40, 64, 128})
      for (const std::size_t held : std::initializer_list<std::size_t>{1, 5, 63, 64, 65, 200}) {
        const Cache cache(held, d, type);
        const std::size_t tokens = std::min<std::size_t>(held, 3), heads = 2;
        const auto q = normal(tokens * heads * d, 3, 2.0f);
        const auto out = run(cache, q, tokens, heads, GetParam());
        for (std::size_t row = 0; row < tokens * heads; ++row) {
          const std::size_t seen = held - tokens + row / heads + 1;
          const auto expected = reference(cache, std::span(q).subspan(row * d, d), seen);
          for (std::size_t i = 0; i < d; ++i)
            ASSERT_NEAR(out[row * d + i], expected[i], 4e-5)
                << "row " << row << " of " << held << " tokens, head_dim " << d;
        }
      }
}

TEST_P(Attention, OfOneRowIsTheSameBitsWhateverRowsAreBesideIt) {
  const Cache cache(150, 40, KvType::f16);
  const std::size_t tokens = 90, heads = 3, width = heads * 40;
  const auto q = normal(tokens * width, 4);
  const auto together = run(cache, q, tokens, heads, GetParam());
  for (std::size_t t : {std::size_t{0}, std::size_t{17}, tokens - 1}) {
    Cache earlier(150, 40, KvType::f16);
    earlier.tokens = cache.tokens - tokens + t + 1;
    const std::vector<float> alone(q.begin() + static_cast<std::ptrdiff_t>(t * width),
                                   q.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
    const auto out = run(earlier, alone, 1, heads, GetParam());
    EXPECT_TRUE(std::equal(out.begin(), out.end(),
                           together.begin() + static_cast<std::ptrdiff_t>(t * width)));
  }
}

TEST_P(Attention, WithHugeScoresTakesTheBestKeyAlone) {
  Cache cache(70, 16, KvType::f32);
  std::vector<float> q(16, 0.0f);
  for (std::size_t i = 0; i < 16; ++i) q[i] = 1e4f * cache.k[66 * 16 + i];
  const auto out = run(cache, q, 1, 1, GetParam());
  const auto expected = reference(cache, q, 70);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(out[i], expected[i], 1e-4);
}

TEST_P(Attention, PassesANanOn) {
  const Cache cache(5, 16, KvType::f32);
  std::vector<float> q(16, 1.0f);
  q[3] = std::numeric_limits<float>::quiet_NaN();
  for (const float v : run(cache, q, 1, 1, GetParam())) EXPECT_TRUE(std::isnan(v));
}

TEST(AttentionForms, AgreeBitForBit) {
  if (!supported(Isa::avx512)) GTEST_SKIP() << "this CPU has no avx512";
  const Cache cache(130, 72, KvType::bf16);
  const auto q = normal(5 * 2 * 72, 5);
  EXPECT_EQ(run(cache, q, 5, 2, Isa::avx2), run(cache, q, 5, 2, Isa::avx512));
}

}  // namespace
}  // namespace tern::kernels
