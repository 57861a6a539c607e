#include "model/forward.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/golden_case.h"
#include "model/mixers.h"

namespace tern::model {
namespace {

/// Chooses an instruction set for the life of a test.
class WithIsa {
 public:
  explicit WithIsa(Isa isa) : before_(active_isa()) { EXPECT_TRUE(select_isa(name(isa))); }
  ~WithIsa() { (void)select_isa(name(before_)); }

 private:
  Isa before_;
};

struct Loaded {
  formats::Checkpoint checkpoint;
  Model model;
  Golden golden;
};

Loaded load(const std::string& name) {
  auto checkpoint = formats::Checkpoint::open(golden_folder(name));
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message());
  auto model = Model::load(*checkpoint);
  if (!model) throw std::runtime_error(model.error().message());
  return {std::move(*checkpoint), std::move(*model),
          read_golden(golden_folder(name) / "golden.safetensors")};
}

class GoldenModel : public testing::TestWithParam<std::tuple<const char*, Isa>> {};

TEST_P(GoldenModel, GivesTheLogitsOfTransformersHoweverThePromptIsCut) {
  const auto [name, isa] = GetParam();
  if (!supported(isa)) GTEST_SKIP() << "this CPU has no " << tern::name(isa);
  const WithIsa with(isa);
  Loaded loaded = load(name);
  ThreadPool pool(2);
  const auto whole = all_logits(loaded.model, loaded.golden.tokens, 0, pool);
  ASSERT_TRUE(whole) << whole.error().message();
  // Integer weights meet activations of 16 bits, but in the scalar form.
  const bool integers =
      std::string_view(name).starts_with("gguf") || std::string_view(name).starts_with("mlx");
  const double bound = integers && isa != Isa::scalar ? 3e-4 : 1e-5;
  EXPECT_LE(relative_error(*whole, loaded.golden.logits), bound);
  for (const std::size_t cut : std::initializer_list<std::size_t>{1, 7, 64}) {
    const auto cut_up = all_logits(loaded.model, loaded.golden.tokens, cut, pool);
    ASSERT_TRUE(cut_up) << cut_up.error().message();
    EXPECT_TRUE(*cut_up == *whole) << "in pieces of " << cut;
  }
}

std::string case_name(const testing::TestParamInfo<std::tuple<const char*, Isa>>& info) {
  std::string text =
      std::string(std::get<0>(info.param)) + "_" + std::string(name(std::get<1>(info.param)));
  std::ranges::replace(text, '-', '_');
  return text;
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenModel,
                         testing::Combine(testing::ValuesIn(kGoldenCases),
                                          testing::Values(Isa::scalar, Isa::neon, Isa::avx2,
                                                          Isa::avx512)),
                         case_name);

TEST(Forward, GivesTheSameBitsOnAnyNumberOfThreads) {
  for (const char* name : {"all-kinds", "latent", "eight-groups"}) {
    Loaded loaded = load(name);
    ThreadPool one(1), three(3), eight(8);
    const auto expected = *all_logits(loaded.model, loaded.golden.tokens, 0, one);
    for (ThreadPool* pool : {&three, &eight})
      for (const std::size_t cut : std::initializer_list<std::size_t>{0, 1, 33})
        EXPECT_TRUE(*all_logits(loaded.model, loaded.golden.tokens, cut, *pool) == expected);
  }
}

TEST(Forward, CutsLongInputsWithoutChangingThem) {
  Loaded loaded = load("mamba-only");
  ThreadPool pool(2);
  std::vector<TokenId> tokens;
  while (tokens.size() < 1200)
    tokens.insert(tokens.end(), loaded.golden.tokens.begin(), loaded.golden.tokens.end());
  EXPECT_TRUE(*all_logits(loaded.model, tokens, 0, pool) ==
              *all_logits(loaded.model, tokens, 100, pool));
}

TEST(Forward, GivesTheLogitsThatAreAskedFor) {
  Loaded loaded = load("all-kinds");
  ThreadPool pool(1);
  const auto all = *all_logits(loaded.model, loaded.golden.tokens, 0, pool);
  const std::size_t vocab = loaded.model.config().vocab_size, n = loaded.golden.tokens.size();
  std::vector<float> last(vocab);
  for (const std::size_t first : {std::size_t{0}, n / 2, n - 1}) {
    auto sequence = *loaded.model.new_sequence(state::KvScheme::f32, n);
    const std::span tokens(loaded.golden.tokens);
    if (first > 0) {
      ASSERT_TRUE(loaded.model.forward(tokens.first(first), sequence, LogitsMode::none, {}, pool));
    }
    ASSERT_TRUE(
        loaded.model.forward(tokens.subspan(first), sequence, LogitsMode::last, last, pool));
    EXPECT_TRUE(
        std::equal(last.begin(), last.end(), all.end() - static_cast<std::ptrdiff_t>(vocab)));
    EXPECT_EQ(sequence.position(), n);
  }
}

TEST(Forward, StaysCloseWithSixteenBitKeysAndValues) {
  Loaded loaded = load("attention-only");
  ThreadPool pool(1);
  for (const auto& [type, bound] :
       {std::pair(state::KvScheme::f16, 1e-3), std::pair(state::KvScheme::bf16, 1e-2)}) {
    const auto logits = *all_logits(loaded.model, loaded.golden.tokens, 0, pool, type);
    EXPECT_LE(relative_error(logits, loaded.golden.logits), bound);
    EXPECT_TRUE(*all_logits(loaded.model, loaded.golden.tokens, 9, pool, type) == logits);
  }
}

TEST(Forward, GoesOnFromForksAndSnapshotsAsIfNothingElseHadHappened) {
  Loaded loaded = load("all-kinds");
  ThreadPool pool(2);
  Model& model = loaded.model;
  const std::span<const TokenId> tokens(loaded.golden.tokens);
  const std::size_t vocab = model.config().vocab_size;
  auto sequence = *model.new_sequence(state::KvScheme::f16, 300);
  ASSERT_TRUE(model.forward(tokens.first(70), sequence, LogitsMode::none, {}, pool));
  auto fork = *sequence.fork();
  const auto snapshot = *sequence.snapshot();
  std::vector<float> expected(vocab), found(vocab);
  ASSERT_TRUE(model.forward(tokens.subspan(70, 30), sequence, LogitsMode::last, expected, pool));

  ASSERT_TRUE(model.forward(tokens.subspan(5, 40), fork, LogitsMode::none, {}, pool));
  ASSERT_TRUE(fork.restore(snapshot));
  ASSERT_TRUE(model.forward(tokens.subspan(70, 30), fork, LogitsMode::last, found, pool));
  EXPECT_EQ(found, expected);

  sequence.reset();
  ASSERT_TRUE(model.forward(tokens.first(100), sequence, LogitsMode::last, found, pool));
  EXPECT_EQ(found, expected);
}

TEST(Forward, RefusesBadInputAndLeavesTheSequenceAsItWas) {
  Loaded loaded = load("all-kinds"), other = load("mamba-only");
  ThreadPool pool(1);
  const std::size_t vocab = loaded.model.config().vocab_size;
  auto sequence = *loaded.model.new_sequence(state::KvScheme::f32, 10);
  const std::vector<TokenId> good = {1, 2, 3};
  std::vector<float> logits(vocab), before(vocab), after(vocab);
  ASSERT_TRUE(loaded.model.forward(good, sequence, LogitsMode::none, {}, pool));

  for (const TokenId bad : {static_cast<TokenId>(vocab), TokenId{0xffffffff}}) {
    const auto refused = loaded.model.forward(std::vector<TokenId>{1, bad}, sequence,
                                              LogitsMode::last, logits, pool);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::mismatch);
    EXPECT_NE(refused.error().what.find(std::to_string(bad)), std::string::npos);
  }
  const auto full =
      loaded.model.forward(std::vector<TokenId>(8, 1), sequence, LogitsMode::last, logits, pool);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::too_large);
  const auto foreign = other.model.forward(good, sequence, LogitsMode::none, {}, pool);
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().code, ErrorCode::mismatch);

  EXPECT_EQ(sequence.position(), 3u);
  auto fresh = *loaded.model.new_sequence(state::KvScheme::f32, 10);
  ASSERT_TRUE(loaded.model.forward(good, fresh, LogitsMode::none, {}, pool));
  ASSERT_TRUE(loaded.model.forward(good, sequence, LogitsMode::last, after, pool));
  ASSERT_TRUE(loaded.model.forward(good, fresh, LogitsMode::last, before, pool));
  EXPECT_EQ(after, before);
}

TEST(Model, SaysWhatAConversationNeeds) {
  const Loaded loaded = load("all-kinds");
  const Config& c = loaded.model.config();
  const auto needs = loaded.model.memory(1000, state::KvScheme::f16);
  ASSERT_TRUE(needs);
  EXPECT_EQ(needs->kv, 1000u * 2 * 2 * c.attention.kv_dim());
  EXPECT_EQ(needs->state, 2 * 4 * (3 * c.mamba.conv_dim() + mamba_state_values(c.mamba)));
  EXPECT_GE(mamba_state_values(c.mamba), c.mamba.d_inner() * c.mamba.state_size);
  EXPECT_EQ(needs->weights, loaded.model.weight_bytes());
  EXPECT_GT(needs->scratch, 0u);
  EXPECT_FALSE(loaded.model.memory(std::size_t(-1), state::KvScheme::f32));
}

}  // namespace
}  // namespace tern::model
