#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/attention_rows.h"
#include "kernels/guarded.h"
#include "tensor/buffer.h"
#include "tensor/half.h"

namespace tern::kernels {
namespace {

using quant::KvCodec;
using quant::KvScheme;

const std::vector<KvScheme> kSchemes = [] {
  std::vector<KvScheme> all;
  for (std::size_t i = 0; i < quant::kKvSchemes; ++i) all.push_back(static_cast<KvScheme>(i));
  return all;
}();

/// Pages of one head's keys or values, and what a reader of them gets.
struct Pages {
  KvLayout layout;
  std::vector<float> stored;  // [tokens, head_dim], in the caller's basis
  std::vector<Buffer<std::byte>> pages;
  std::vector<const std::byte*> addresses;

  Pages(KvScheme scheme, KvSide side, const std::vector<float>& x, std::size_t d)
      : layout(*KvCodec::create(scheme, d, side == KvSide::keys ? 1 : 2), side), stored(x) {
    for (std::size_t s = 0; s < x.size() / d; ++s) {
      if (s % kKvPageTokens == 0) {
        pages.emplace_back(layout.page_bytes());
        // What no token wrote must not matter.
        std::memset(pages.back().data(), 0xff, layout.page_bytes());
        addresses.push_back(pages.back().data());
      }
      layout.write(pages.back().data(), s % kKvPageTokens, std::span(x).subspan(s * d, d));
      layout.read(pages.back().data(), s % kKvPageTokens, std::span(stored).subspan(s * d, d));
    }
  }
  KvPages view() const { return {addresses, 0, &layout}; }
};

struct Windows {
  std::size_t sinks = 0, window = 0, start = 0;
};

/// A cache of one KV head, all of it as codes and all of it in 16 bits.
struct Cache {
  std::size_t tokens, head_dim;
  bool windowed;
  Windows windows;
  Pages keys, values, recent_keys, recent_values;

  Cache(std::size_t t, std::size_t d, KvScheme k, KvScheme v, Windows w = {})
      : tokens(t),
        head_dim(d),
        windowed(k > KvScheme::bf16 || v > KvScheme::bf16),
        windows(w),
        keys(k, KvSide::keys, normal(t * d, 1), d),
        values(v, KvSide::values, normal(t * d, 2), d),
        recent_keys(k > KvScheme::bf16 ? KvScheme::f16 : k, KvSide::keys, normal(t * d, 1), d),
        recent_values(v > KvScheme::bf16 ? KvScheme::f16 : v, KvSide::values, normal(t * d, 2), d) {
  }

  KvHead head() const {
    return {.main = {keys.view(), values.view()},
            .recent = {recent_keys.view(), recent_values.view()},
            .windowed = windowed,
            .sinks = windows.sinks,
            .window = windows.window,
            .start = windows.start};
  }
  bool as_codes(std::size_t s, std::size_t p) const {
    return windowed && s >= windows.sinks && s + windows.window <= p && p >= windows.start;
  }
};

/// Attention over what the cache decodes to.
std::vector<double> reference(const Cache& cache, std::span<const float> q, std::size_t position) {
  const std::size_t d = cache.head_dim;
  std::vector<double> scores(position + 1), out(d);
  double total = 0, most = -1e300;
  for (std::size_t s = 0; s <= position; ++s) {
    const Pages& keys = cache.as_codes(s, position) ? cache.keys : cache.recent_keys;
    for (std::size_t i = 0; i < d; ++i) scores[s] += double{q[i]} * keys.stored[s * d + i];
    scores[s] /= std::sqrt(static_cast<double>(d));
    most = std::max(most, scores[s]);
  }
  for (double& s : scores) total += s = std::exp(s - most);
  for (std::size_t s = 0; s <= position; ++s) {
    const Pages& values = cache.as_codes(s, position) ? cache.values : cache.recent_values;
    for (std::size_t i = 0; i < d; ++i) out[i] += scores[s] / total * values.stored[s * d + i];
  }
  return out;
}

/// Of the last `tokens` positions before `held`.
std::vector<float> run(const Cache& cache, const std::vector<float>& q, std::size_t tokens,
                       std::size_t heads, Isa isa, std::size_t held) {
  std::vector<float> out(q.size());
  Buffer<float> scratch(attend_scratch(tokens * heads, cache.head_dim));
  attend(cache.head(),
         {.q = q.data(),
          .out = out.data(),
          .tokens = tokens,
          .heads = heads,
          .stride = heads * cache.head_dim,
          .first_position = held - tokens},
         scratch.span(), isa);
  return out;
}
std::vector<float> run(const Cache& cache, const std::vector<float>& q, std::size_t tokens,
                       std::size_t heads, Isa isa) {
  return run(cache, q, tokens, heads, isa, cache.tokens);
}

void expect_reference(const Cache& cache, std::size_t tokens, std::size_t heads, Isa isa,
                      double bound) {
  const std::size_t d = cache.head_dim;
  const auto q = normal(tokens * heads * d, 3, 2.0f);
  const auto out = run(cache, q, tokens, heads, isa);
  for (std::size_t row = 0; row < tokens * heads; ++row) {
    const auto expected =
        reference(cache, std::span(q).subspan(row * d, d), cache.tokens - tokens + row / heads);
    for (std::size_t i = 0; i < d; ++i)
      ASSERT_NEAR(out[row * d + i], expected[i], bound)
          << "row " << row << " of " << cache.tokens << " tokens, head_dim " << d;
  }
}

/// Where keys or values are codes: fast forms round the other factor to 16 bits, 1e-4 of the
/// largest value for queries of deviation 2.
double bound_of_codes(Isa isa) {
  return isa == Isa::scalar ? 2e-5 : 4e-4;
}

class Attention : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!supported(GetParam())) GTEST_SKIP() << "this CPU has no " << name(GetParam());
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, Attention,
                         testing::Values(Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512),
                         [](const auto& of) { return std::string(name(of.param)); });

TEST_P(Attention, IsASoftmaxAverageOfTheValuesUpToTheOwnPosition) {
  for (const KvScheme type : {KvScheme::f32, KvScheme::f16, KvScheme::bf16})
    for (const std::size_t d : std::initializer_list<std::size_t>{1, 7, 16, 40, 64, 128})
      for (const std::size_t held : std::initializer_list<std::size_t>{1, 5, 63, 64, 65, 200}) {
        const Cache cache(held, d, type, type);
        expect_reference(cache, std::min<std::size_t>(held, 3), 2, GetParam(), 4e-5);
      }
}

TEST_P(Attention, OverCodesIsAttentionOverWhatTheyDecodeTo) {
  for (const KvScheme type : kSchemes)
    for (const auto& [d, held] : {std::pair{64uz, 70uz}, std::pair{128uz, 150uz}}) {
      SCOPED_TRACE(quant::name(type));
      expect_reference(Cache(held, d, type, type, {4, 20, 0}), 3, 4, GetParam(),
                       bound_of_codes(GetParam()));
      expect_reference(Cache(held, d, type, type, {0, 0, 0}), 2, 16, GetParam(),
                       bound_of_codes(GetParam()));
    }
}

TEST_P(Attention, TakesKeysAndValuesOfDifferentTypes) {
  for (const auto& [k, v] :
       {std::pair(KvScheme::turbo4, KvScheme::f16), std::pair(KvScheme::bf16, KvScheme::turbo3),
        std::pair(KvScheme::q8_0, KvScheme::iso4), std::pair(KvScheme::f32, KvScheme::affine4)}) {
    SCOPED_TRACE(std::string(quant::name(k)) + ":" + std::string(quant::name(v)));
    expect_reference(Cache(130, 192, k, v, {3, 40, 0}), 4, 3, GetParam(),
                     bound_of_codes(GetParam()));
  }
}

TEST_P(Attention, ReadsFirstAndLastTokensInSixteenBits) {
  for (const Windows windows :
       {Windows{0, 0, 0}, Windows{4, 0, 0}, Windows{0, 1, 0}, Windows{4, 64, 0}, Windows{65, 3, 0},
        Windows{70, 70, 0}, Windows{300, 10, 0}, Windows{4, 300, 0}, Windows{4, 16, 138},
        Windows{0, 0, 139}, Windows{4, 16, 500}})
    for (const std::size_t held : std::initializer_list<std::size_t>{1, 3, 64, 140}) {
      SCOPED_TRACE(testing::Message() << windows.sinks << " " << windows.window << " "
                                      << windows.start << " of " << held);
      expect_reference(Cache(held, 32, KvScheme::turbo4, KvScheme::turbo3, windows),
                       std::min<std::size_t>(held, 5), 5, GetParam(), bound_of_codes(GetParam()));
    }
}

TEST_P(Attention, ReadsNoPageBeyondThoseThatARowSees) {
  const std::size_t held = 200, d = 32;
  const Cache cache(held, d, KvScheme::turbo4, KvScheme::turbo4, {4, 70, 0});
  const auto q = normal(16 * d, 3, 2.0f);
  const auto expected = run(cache, q, 1, 16, GetParam());

  KvHead head = cache.head();
  std::vector<const std::byte*> keys = cache.recent_keys.addresses,
                                values = cache.recent_values.addresses;
  keys[1] = values[1] = nullptr;  // between the sinks and the window, from 130 on
  head.recent.keys.pages = keys;
  head.recent.values.pages = values;
  head.main.keys.pages = head.main.keys.pages.first(3);  // positions 4 ... 129
  head.main.values.pages = head.main.values.pages.first(3);
  std::vector<float> out(q.size());
  Buffer<float> scratch(attend_scratch(16, d));
  attend(head, {q.data(), out.data(), 1, 16, 16 * d, held - 1}, scratch.span(), GetParam());
  EXPECT_EQ(out, expected);
}

TEST_P(Attention, GoesOnAcrossParts) {
  for (const Windows windows : {Windows{4, 128, 0}, Windows{4, 1300, 0}, Windows{1100, 5, 0}}) {
    const Cache cache(2 * kAttentionPart + 77, 32, KvScheme::turbo4, KvScheme::turbo4, windows);
    expect_reference(cache, 2, 2, GetParam(), bound_of_codes(GetParam()));
  }
  expect_reference(Cache(kAttentionPart + 1, 16, KvScheme::f16, KvScheme::f16), 2, 2, GetParam(),
                   2e-5);
}

TEST_P(Attention, OfOneRowIsTheSameBitsWhateverRowsAreBesideIt) {
  for (const KvScheme type : {KvScheme::f16, KvScheme::turbo4, KvScheme::affine8}) {
    SCOPED_TRACE(quant::name(type));
    const std::size_t d = type == KvScheme::f16 ? 40 : 64;
    const Cache cache(150, d, type, type, {4, 30, 100});
    const std::size_t tokens = 90, heads = 3, width = heads * d;
    const auto q = normal(tokens * width, 4);
    const auto together = run(cache, q, tokens, heads, GetParam());
    for (std::size_t t : {std::size_t{0}, std::size_t{17}, std::size_t{40}, tokens - 1}) {
      const std::vector<float> alone(q.begin() + static_cast<std::ptrdiff_t>(t * width),
                                     q.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
      const auto out = run(cache, alone, 1, heads, GetParam(), cache.tokens - tokens + t + 1);
      EXPECT_TRUE(std::equal(out.begin(), out.end(),
                             together.begin() + static_cast<std::ptrdiff_t>(t * width)))
          << t;
    }
  }
}

TEST_P(Attention, WithHugeScoresTakesTheBestKeyAlone) {
  const Cache cache(70, 16, KvScheme::f32, KvScheme::f32);
  std::vector<float> q(16, 0.0f);
  for (std::size_t i = 0; i < 16; ++i) q[i] = 1e4f * cache.keys.stored[66 * 16 + i];
  const auto out = run(cache, q, 1, 1, GetParam());
  const auto expected = reference(cache, q, 69);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(out[i], expected[i], 1e-4);
}

TEST_P(Attention, PassesANanOn) {
  for (const KvScheme type : {KvScheme::f32, KvScheme::turbo4}) {
    const Cache cache(5, 32, type, type);
    std::vector<float> q(32, 1.0f);
    q[3] = std::numeric_limits<float>::quiet_NaN();
    for (const float v : run(cache, q, 1, 1, GetParam())) EXPECT_TRUE(std::isnan(v));
  }
}

TEST(AttentionForms, CutRowsIntoTilesThatTheyHave) {
  for (const std::size_t limit : {4uz, 6uz, 16uz})
    for (std::size_t rows = 1; rows <= 130; ++rows)
      for (std::size_t left = rows, n = 0; left > 0; left -= n) {
        n = next_tile(left, limit);
        ASSERT_TRUE(n <= std::min(left, limit)) << n << " of " << left << ", limit " << limit;
        ASSERT_TRUE(n == 1 || n == 2 || n == 4 || n == 16 || (limit == 6 && (n == 5 || n == 6)))
            << n << " of " << left << ", limit " << limit;
      }
}

TEST(AttentionForms, AgreeBitForBit) {
  if (!supported(Isa::avx512)) GTEST_SKIP() << "this CPU has no avx512";
  for (const KvScheme type : kSchemes) {
    const Cache cache(130, 64, type, type, {4, 20, 0});
    const auto q = normal(5 * 5 * 64, 5);
    const auto a = run(cache, q, 5, 5, Isa::avx2), b = run(cache, q, 5, 5, Isa::avx512);
    for (std::size_t i = 0; i < a.size(); ++i)
      ASSERT_EQ(a[i], b[i]) << quant::name(type) << ", element " << i;
  }
}

TEST(AttentionForms, OnePartAtATimeIsTheWhole) {
  for (const Isa isa : {Isa::neon, Isa::avx2, Isa::avx512}) {
    if (!supported(isa)) continue;
    const Cache cache(2500, 32, KvScheme::turbo3, KvScheme::turbo4, {4, 1100, 0});
    const std::size_t tokens = 2, heads = 3, rows = tokens * heads, d = 32;
    const auto q = normal(rows * d, 6);
    const auto whole = run(cache, q, tokens, heads, isa);

    std::vector<float> out(q.size()), prepared(2 * rows * d);
    const Queries queries = {q.data(), out.data(), tokens, heads, heads * d, 2498};
    const KvHead kv = cache.head();
    prepare(kv, queries, prepared, isa);
    std::vector<std::vector<float>> memory;
    std::vector<Attended> taken;
    const auto attended = [&] {
      memory.emplace_back(Attended::floats(rows, d));
      return Attended::in(memory.back(), rows, d);
    };
    for (std::size_t i = 0; i < parts(kv, queries); ++i) taken.push_back(attended());
    for (std::size_t i = taken.size(); i-- > 0;)
      attend_part(kv, queries, prepared, i, taken[i], isa);
    const Attended all[2] = {attended(), attended()};
    for (const Attended& view : all) start(view, rows, d);
    for (std::size_t i = 0; i < taken.size(); ++i) combine(all[i % 2], taken[i], rows, d, isa);
    finish(kv, queries, all[0], all[1], isa);
    EXPECT_EQ(out, whole) << name(isa);
  }
}

}  // namespace
}  // namespace tern::kernels
