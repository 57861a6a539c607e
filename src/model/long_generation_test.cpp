// Long answers with every cache type: finite, as large as the formula says, and the same bits
// whatever the threads and the chunks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>

#include "base/test_paths.h"
#include "model/forward.h"

namespace tern::model {
namespace {

using quant::KvScheme;

struct CacheType {
  KvScheme keys, values;
  std::uint64_t bytes;  // of a key and a value of 128 numbers
};

constexpr CacheType kTypes[] = {
    {KvScheme::f32, KvScheme::f32, 1024},          {KvScheme::f16, KvScheme::f16, 512},
    {KvScheme::bf16, KvScheme::bf16, 512},         {KvScheme::q8_0, KvScheme::q8_0, 272},
    {KvScheme::q4_0, KvScheme::q4_0, 144},         {KvScheme::affine8, KvScheme::affine8, 272},
    {KvScheme::affine4, KvScheme::affine4, 144},   {KvScheme::turbo4, KvScheme::turbo4, 132},
    {KvScheme::turbo3_5, KvScheme::turbo3_5, 116}, {KvScheme::turbo3, KvScheme::turbo3, 100},
    {KvScheme::turbo2_5, KvScheme::turbo2_5, 84},  {KvScheme::turbo2, KvScheme::turbo2, 68},
    {KvScheme::planar4, KvScheme::planar4, 132},   {KvScheme::planar3, KvScheme::planar3, 100},
    {KvScheme::iso4, KvScheme::iso4, 132},         {KvScheme::iso3, KvScheme::iso3, 100},
    {KvScheme::q8_0, KvScheme::turbo3, 186}};

/// 16384 in ctest -C long; otherwise enough for tokens to age out of the windows.
std::size_t tokens_wanted() {
  const char* const wish = std::getenv("TERN_LONG_TOKENS");
  return wish == nullptr ? 320 : static_cast<std::size_t>(std::atoi(wish));
}

std::uint64_t hash(std::span<const float> row) {
  std::uint64_t sum = 14695981039346656037u;
  for (const float value : row) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    sum = (sum ^ bits) * 1099511628211u;
  }
  return sum;
}

struct Answer {
  std::vector<TokenId> tokens;        // read
  std::vector<std::uint64_t> logits;  // a hash of those after each token
};

class LongGeneration : public testing::TestWithParam<CacheType> {
 protected:
  LongGeneration()
      : checkpoint_(*formats::Checkpoint::open(source_dir() + "/demo/model")),
        model_(*Model::load(checkpoint_)) {}

  state::Sequence sequence(std::size_t tokens) {
    return *model_.new_sequence({GetParam().keys, GetParam().values}, tokens);
  }

  /// Token by token, the most likely one; one in 61 is drawn, so that no loop goes on for ever.
  Answer generate(state::Sequence& sequence, std::size_t count, ThreadPool& pool) {
    Answer answer;
    std::mt19937 random(7);
    std::vector<float> logits(model_.config().vocab_size);
    TokenId next = 1000;
    for (std::size_t i = 0; i < count; ++i) {
      answer.tokens.push_back(next);
      const auto done =
          model_.forward(std::span(&next, 1), sequence, LogitsMode::last, logits, pool);
      EXPECT_TRUE(done) << i << ": " << done.error().message();
      if (!done || !std::ranges::all_of(logits, [](float x) { return std::isfinite(x); })) {
        ADD_FAILURE() << "not finite after token " << i;
        return answer;
      }
      answer.logits.push_back(hash(logits));
      next = i % 61 == 60 ? static_cast<TokenId>(random() % logits.size())
                          : static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
    }
    return answer;
  }

  /// The same tokens, `cut` at once.
  std::vector<std::uint64_t> read(const std::vector<TokenId>& tokens, std::size_t cut,
                                  ThreadPool& pool) {
    auto other = sequence(tokens.size());
    const std::size_t vocab = model_.config().vocab_size;
    std::vector<float> logits(cut * vocab);
    std::vector<std::uint64_t> hashes;
    for (std::size_t at = 0; at < tokens.size(); at += cut) {
      const std::size_t n = std::min(cut, tokens.size() - at);
      const auto rows = std::span(logits).first(n * vocab);
      const auto done =
          model_.forward(std::span(tokens).subspan(at, n), other, LogitsMode::all, rows, pool);
      EXPECT_TRUE(done) << at << ": " << done.error().message();
      for (std::size_t i = 0; i < n; ++i) hashes.push_back(hash(rows.subspan(i * vocab, vocab)));
    }
    return hashes;
  }

  formats::Checkpoint checkpoint_;
  Model model_;
};

TEST_P(LongGeneration, IsFiniteWithinTheFormulaAndTheSameWhateverThreadsAndChunks) {
  const std::size_t count = tokens_wanted();
  auto own = sequence(count);
  ThreadPool one(1), two(2);
  const Answer answer = generate(own, count, one);
  ASSERT_EQ(answer.tokens.size(), count);
  EXPECT_GT(std::set(answer.tokens.begin(), answer.tokens.end()).size(), 3u);

  const auto& shape = model_.sequence_shape();
  const std::uint64_t a_token = shape.attention_layers * shape.kv_heads * GetParam().bytes;
  EXPECT_EQ(own.cache().bytes_per_token(), a_token);
  const std::uint64_t pages = (count + 63) / 64;  // of 64 tokens
  EXPECT_LE(own.cache().main_bytes(), pages * 64 * a_token);
  EXPECT_GE(own.cache().main_bytes(), (count - 132) / 64 * 64 * a_token);
  EXPECT_LE(own.cache().window_bytes(), own.cache().window_limit());
  RecordProperty("main_bytes", std::to_string(own.cache().main_bytes()));
  RecordProperty("window_bytes", std::to_string(own.cache().window_bytes()));

  EXPECT_EQ(read(answer.tokens, 300, two), answer.logits);
}

INSTANTIATE_TEST_SUITE_P(EveryCacheType, LongGeneration, testing::ValuesIn(kTypes),
                         [](const testing::TestParamInfo<CacheType>& type) {
                           std::string name(quant::name(type.param.keys));
                           if (type.param.keys != type.param.values)
                             name += "_" + std::string(quant::name(type.param.values));
                           return name;
                         });

}  // namespace
}  // namespace tern::model
