#include "state/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "state/sequence.h"
#include "tensor/half.h"

namespace tern::state {
namespace {

using kernels::kKvPageTokens;

constexpr KvShape kShape = {.layers = 2, .heads = 2, .head_dim = 32};
constexpr std::size_t kWidth = 64;

KvConfig config(KvScheme keys, KvScheme values, std::size_t sinks, std::size_t recent,
                std::size_t start = 0) {
  KvConfig kv(keys, values);
  kv.sinks = sinks;
  kv.recent = recent;
  kv.quantized_start = start;
  return kv;
}

KvCache make(const KvConfig& kv, const KvShape& shape = kShape) {
  auto cache = KvCache::create(shape, kv);
  EXPECT_TRUE(cache);
  return std::move(*cache);
}

/// Keys (or values) of one token, the same for the same place.
std::vector<float> numbers(std::size_t layer, std::size_t position, bool value,
                           std::size_t variant = 0) {
  std::mt19937 random(
      static_cast<unsigned>(((variant * 31 + layer) * 2 + (value ? 1 : 0)) * 100'003 + position));
  std::normal_distribution<float> distribution;
  std::vector<float> x(kWidth);
  for (float& each : x) each = distribution(random);
  return x;
}

void append(KvCache& cache, std::size_t position, std::size_t tokens, ThreadPool* pool = nullptr,
            std::size_t variant = 0) {
  for (std::size_t layer = 0; layer < cache.shape().layers; ++layer) {
    std::vector<float> k, v;
    for (std::size_t t = 0; t < tokens; ++t) {
      const auto key = numbers(layer, position + t, false, variant);
      const auto value = numbers(layer, position + t, true, variant);
      k.insert(k.end(), key.begin(), key.end());
      v.insert(v.end(), value.begin(), value.end());
    }
    cache.write(layer, position, tokens, k, v, pool);
  }
}

std::vector<float> read(const kernels::KvPages& from, std::size_t position) {
  std::vector<float> x(from.layout->codec().dim());
  from.layout->read(from.pages[position / kKvPageTokens] + from.offset, position % kKvPageTokens,
                    x);
  return x;
}

/// Everything that queries at positions [first, end) may read: it must not depend on the history.
std::vector<float> everything(const KvCache& cache, std::size_t first, std::size_t end) {
  std::vector<float> all;
  const KvConfig& kv = cache.config();
  for (std::size_t layer = 0; layer < cache.shape().layers; ++layer)
    for (std::size_t h = 0; h < cache.shape().heads; ++h) {
      const auto head = cache.head(layer, h);
      for (std::size_t p = first; p < end; ++p)
        for (std::size_t s = 0; s <= p; ++s) {
          const bool recent = s < kv.sinks || s + kv.recent > p || p < kv.quantized_start;
          const auto& view = head.windowed && recent ? head.recent : head.main;
          for (const auto* pages : {&view.keys, &view.values}) {
            const auto x = read(*pages, s);
            all.insert(all.end(), x.begin(), x.end());
          }
        }
    }
  return all;
}

/// Writes tokens [0, end) in calls of the given sizes, over and over; reads after the last one.
std::vector<float> after_calls(const KvConfig& kv, std::size_t end,
                               const std::vector<std::size_t>& sizes, ThreadPool* pool = nullptr) {
  KvCache cache = make(kv);
  std::vector<float> last;
  for (std::size_t position = 0, i = 0; position < end; ++i) {
    const std::size_t n = std::min(sizes[i % sizes.size()], end - position);
    cache.reserve(position, n, n);
    append(cache, position, n, pool);
    if (position + n == end) last = everything(cache, end - 1, end);
    position += n;
    cache.advance(position);
  }
  return last;
}

TEST(KvCache, TakesTheBytesOfTheFormula) {
  constexpr KvShape kFamily = {.layers = 6, .heads = 2, .head_dim = 128};
  for (const auto& [scheme, bytes] :
       {std::pair(KvScheme::f32, 12288u), std::pair(KvScheme::f16, 6144u),
        std::pair(KvScheme::bf16, 6144u), std::pair(KvScheme::q8_0, 3264u),
        std::pair(KvScheme::q4_0, 1728u), std::pair(KvScheme::turbo4, 1584u),
        std::pair(KvScheme::planar4, 1584u), std::pair(KvScheme::iso4, 1584u),
        std::pair(KvScheme::turbo3, 1200u), std::pair(KvScheme::planar3, 1200u),
        std::pair(KvScheme::iso3, 1200u), std::pair(KvScheme::turbo2, 816u)}) {
    SCOPED_TRACE(quant::name(scheme));
    KvCache cache = make(scheme, kFamily);
    EXPECT_EQ(cache.bytes_per_token(), bytes);
    constexpr std::size_t kTokens = 10 * kKvPageTokens + 128;
    const std::vector<float> x(kTokens * 256, 0.5f);
    cache.reserve(0, kTokens, kTokens);
    for (std::size_t layer = 0; layer < 6; ++layer) cache.write(layer, 0, kTokens, x, x, nullptr);
    cache.advance(kTokens);
    const bool coded = cache.window_limit() > 0;
    EXPECT_EQ(cache.main_bytes(), (kTokens - (coded ? 128 : 0)) * bytes);
    EXPECT_LE(cache.window_bytes(), cache.window_limit());
    EXPECT_EQ(coded, scheme > KvScheme::bf16);
    EXPECT_LE(cache.window_limit(), 256u * 6144);
  }
}

TEST(KvCache, KeysValuesAndLayersMayDiffer) {
  constexpr KvShape kFamily = {.layers = 6, .heads = 2, .head_dim = 128};
  KvConfig kv(KvScheme::turbo4, KvScheme::turbo3);
  EXPECT_EQ(make(kv, kFamily).bytes_per_token(), 6u * 2 * (66 + 50));
  kv.full_layers = {0, 5};
  EXPECT_EQ(make(kv, kFamily).bytes_per_token(), 4u * 2 * (66 + 50) + 2u * 2 * 512);
  const auto head = make(kv, kFamily).head(5, 1);
  EXPECT_FALSE(head.windowed);
  kv.full_layers = {6};
  EXPECT_EQ(KvCache::create(kFamily, kv).error().code, ErrorCode::usage);
}

TEST(KvCache, RefusesAHeadThatATypeDoesNotFit) {
  const auto refused = KvCache::create({.layers = 1, .heads = 1, .head_dim = 40}, KvScheme::turbo4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_NE(refused.error().message().find("turbo4"), std::string::npos);
  EXPECT_NE(refused.error().message().find("40"), std::string::npos);
}

TEST(KvCache, HoldsTheSameHoweverTheTokensWereCut) {
  ThreadPool pool(3);
  for (const KvConfig& kv : {config(KvScheme::turbo4, KvScheme::turbo3, 4, 20),
                             config(KvScheme::turbo4, KvScheme::f16, 0, 0),
                             config(KvScheme::bf16, KvScheme::q8_0, 70, 5),
                             config(KvScheme::iso4, KvScheme::q4_0, 4, 200),
                             config(KvScheme::turbo2, KvScheme::turbo3, 4, 16, 100),
                             config(KvScheme::turbo3, KvScheme::iso3, 4, 0, 149),
                             config(KvScheme::f16, KvScheme::f16, 4, 0, 149)}) {
    const auto whole = after_calls(kv, 150, {150}, &pool);
    for (const auto& sizes :
         std::vector<std::vector<std::size_t>>{{1}, {149, 1}, {64}, {7, 1, 1, 30}, {63, 2}})
      EXPECT_EQ(after_calls(kv, 150, sizes, &pool), whole) << sizes.front();
  }
}

TEST(KvCache, ReadsRecentTokensAsTheyWereInSixteenBits) {
  KvCache cache = make(config(KvScheme::turbo2, KvScheme::turbo2, 4, 10));
  cache.reserve(0, 100, 100);
  append(cache, 0, 100);
  const auto head = cache.head(1, 1);
  for (const std::size_t s : {0uz, 3uz, 90uz, 99uz}) {
    const auto x = read(head.recent.keys, s), expected = numbers(1, s, false);
    for (std::size_t i = 0; i < 32; ++i)
      EXPECT_EQ(x[i], f16_to_float(float_to_f16(expected[32 + i])));
  }
  EXPECT_NE(read(head.main.keys, 50), read(head.recent.keys, 50));
}

TEST(KvCache, GrowsByTheFormulaAndNoFurther) {
  KvCache cache = make(config(KvScheme::turbo4, KvScheme::turbo4, 4, 128));
  cache.reserve(0, 512, 64);
  for (std::size_t p = 0; p < 512; p += 64) {
    append(cache, p, 64);
    cache.advance(p + 64);
  }
  for (std::size_t p = 512; p < 1500; ++p) {
    cache.reserve(p, 1, 1);
    append(cache, p, 1);
    cache.advance(p + 1);
    ASSERT_LE(cache.window_bytes(), cache.window_limit()) << p;
    const std::size_t coded = p + 1 - 128;
    ASSERT_EQ(cache.main_bytes(), (coded + kKvPageTokens - 1) / kKvPageTokens * kKvPageTokens *
                                      cache.bytes_per_token());
  }
}

TEST(KvCache, GoesBackAsIfNothingHadFollowed) {
  for (const KvConfig& kv : {config(KvScheme::turbo4, KvScheme::turbo3, 4, 20),
                             config(KvScheme::turbo4, KvScheme::turbo3, 100, 20),
                             config(KvScheme::turbo3, KvScheme::f16, 0, 130),
                             config(KvScheme::f16, KvScheme::q8_0, 4, 20, 120),
                             config(KvScheme::f16, KvScheme::f16, 4, 20)})
    for (const std::size_t back : {1uz, 64uz, 97uz, 130uz})
      for (const std::size_t further : {0uz, 10uz, 300uz}) {
        SCOPED_TRACE(testing::Message() << back << " and back from " << further);
        KvCache cache = make(kv);
        cache.reserve(0, back, back);
        append(cache, 0, back);
        cache.advance(back);
        const KvWindows windows = cache.copy_windows(back);
        for (std::size_t p = back; p < back + further; p += 10) {
          cache.reserve(p, 10, 10);
          append(cache, p, 10, nullptr, 1);
          cache.advance(p + 10);
        }
        cache.restore(back, windows);
        for (std::size_t p = back; p < 200;) {
          const std::size_t n = std::min<std::size_t>(35, 200 - p);
          cache.reserve(p, n, n);
          append(cache, p, n);
          if (p + n == 200) {
            EXPECT_EQ(everything(cache, 199, 200), after_calls(kv, 200, {200}));
          }
          p += n;
          cache.advance(p);
        }
      }
}

TEST(KvCache, ACopyIsIndependent) {
  const KvConfig kv = config(KvScheme::turbo4, KvScheme::turbo4, 4, 20);
  KvCache cache = make(kv);
  cache.reserve(0, 90, 90);
  append(cache, 0, 90);
  cache.advance(90);
  KvCache copy = cache.copy();
  for (KvCache* each : {&copy, &cache}) {
    each->reserve(90, 60, 60);
    append(*each, 90, 60, nullptr, each == &copy ? 1 : 0);
  }
  EXPECT_EQ(everything(cache, 149, 150), after_calls(kv, 150, {150}));
  EXPECT_NE(everything(copy, 149, 150), everything(cache, 149, 150));
}

TEST(KvCache, GivesEverythingBackWhenItIsCleared) {
  KvCache cache = make(config(KvScheme::turbo4, KvScheme::turbo4, 4, 20));
  cache.reserve(0, 90, 90);
  append(cache, 0, 90);
  cache.clear();
  EXPECT_EQ(cache.main_bytes() + cache.window_bytes(), 0u);
  cache.reserve(0, 150, 150);
  append(cache, 0, 150);
  EXPECT_EQ(everything(cache, 149, 150), after_calls(cache.config(), 150, {150}));
}

TEST(KvCache, LongSequencesOfEveryTypeStayFiniteAndWithinTheFormula) {
  constexpr std::size_t kTokens = 16384, kDim = 64;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(512 * kDim), q(kDim), out(kDim);
  for (float& each : x) each = normal(random);
  for (float& each : q) each = normal(random);
  for (std::size_t type = 0; type < quant::kKvSchemes; ++type) {
    SCOPED_TRACE(quant::name(static_cast<KvScheme>(type)));
    KvCache cache = make(static_cast<KvScheme>(type), {.layers = 1, .heads = 1, .head_dim = kDim});
    std::size_t position = 0;
    while (position < kTokens) {
      const std::size_t n = position < kTokens / 2 ? 512 : 1;
      const auto some = std::span(x).subspan(position % (512 - n + 1) * kDim, n * kDim);
      cache.reserve(position, n, n);
      cache.write(0, position, n, some, some, nullptr);
      position += n;
      cache.advance(position);
    }
    ASSERT_LE(cache.main_bytes(), kTokens * cache.bytes_per_token());
    ASSERT_LE(cache.window_bytes(), cache.window_limit());
    Buffer<float> scratch(kernels::attend_scratch(1, kDim));
    kernels::attend(cache.head(0, 0),
                    {.q = q.data(),
                     .out = out.data(),
                     .tokens = 1,
                     .heads = 1,
                     .stride = kDim,
                     .first_position = kTokens - 1},
                    scratch.span(), active_isa());
    for (const float value : out) ASSERT_TRUE(std::isfinite(value));
  }
}

}  // namespace
}  // namespace tern::state
