// Several sequences in one step: nobody's results may tell who else was there.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>

#include "model/forward.h"
#include "model/golden_case.h"

namespace tern::model {
namespace {

struct Loaded {
  formats::Checkpoint checkpoint;
  Model model;
  std::vector<TokenId> tokens;
};

Loaded load(const std::string& name) {
  auto checkpoint = formats::Checkpoint::open(golden_folder(name));
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message());
  auto model = Model::load(*checkpoint);
  if (!model) throw std::runtime_error(model.error().message());
  return {std::move(*checkpoint), std::move(*model),
          read_golden(golden_folder(name) / "golden.safetensors").tokens};
}

/// A conversation that is read bit by bit, and its logits when it is read alone.
struct Reader {
  std::vector<TokenId> tokens;
  state::Sequence sequence;
  std::vector<float> expected;  // [tokens, vocab]
  std::size_t read = 0;
};

/// Different starts of the golden tokens, so that positions and contents differ.
std::vector<Reader> readers(Loaded& loaded, std::size_t count, const state::KvConfig& kv,
                            ThreadPool& pool) {
  std::vector<Reader> all;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = std::min<std::size_t>(loaded.tokens.size() - i, 60 + 29 * i);
    const std::vector<TokenId> tokens(
        loaded.tokens.begin() + static_cast<std::ptrdiff_t>(i),
        loaded.tokens.begin() + static_cast<std::ptrdiff_t>(i + size));
    auto sequence = loaded.model.new_sequence(kv, size);
    auto expected = all_logits(loaded.model, tokens, 0, pool, kv);
    if (!sequence || !expected) throw std::runtime_error("no reader");
    all.push_back({tokens, std::move(*sequence), std::move(*expected)});
  }
  return all;
}

/// Reads everything in steps of random sequences, lengths and modes, and compares every logit.
void read_together(Loaded& loaded, std::vector<Reader>& all, unsigned seed, ThreadPool& pool) {
  std::mt19937 random(seed);
  const std::size_t vocab = loaded.model.config().vocab_size;
  const auto unread = [](const Reader& reader) { return reader.read < reader.tokens.size(); };
  while (std::ranges::any_of(all, unread)) {
    std::vector<Part> parts;
    std::vector<Reader*> whose;
    std::size_t rows = 0;
    for (Reader& reader : all) {
      if (!unread(reader) || random() % 4 == 0) continue;
      const std::size_t most = random() % 3 == 0 ? 40 : 1;  // a piece of a prompt, or one token
      const std::size_t n =
          std::min<std::size_t>(1 + random() % most, reader.tokens.size() - reader.read);
      const LogitsMode mode = static_cast<LogitsMode>(random() % 3);
      parts.push_back({std::span(reader.tokens).subspan(reader.read, n), &reader.sequence, mode});
      whose.push_back(&reader);
      rows += mode == LogitsMode::none ? 0 : mode == LogitsMode::last ? 1 : n;
    }
    std::vector<float> logits(rows * vocab);
    for (std::span<float> left = logits; Part & part : parts) {
      const std::size_t n = part.mode == LogitsMode::none   ? 0
                            : part.mode == LogitsMode::last ? 1
                                                            : part.tokens.size();
      part.logits = left.first(n * vocab);
      left = left.subspan(n * vocab);
    }
    loaded.model.forward(parts, pool);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      ASSERT_TRUE(parts[i].result) << parts[i].result.error().message();
      Reader& reader = *whose[i];
      reader.read += parts[i].tokens.size();
      ASSERT_EQ(reader.sequence.position(), reader.read);
      const auto expected =
          std::span(reader.expected)
              .subspan(reader.read * vocab - parts[i].logits.size(), parts[i].logits.size());
      ASSERT_TRUE(std::ranges::equal(parts[i].logits, expected))
          << "sequence " << (&reader - all.data()) << " up to token " << reader.read;
    }
  }
}

class BatchOfModel : public testing::TestWithParam<const char*> {};

TEST_P(BatchOfModel, GivesEverySequenceTheBitsThatItGetsAlone) {
  Loaded loaded = load(GetParam());
  ThreadPool one(1), two(2), five(5);
  const std::vector<std::pair<state::KvConfig, ThreadPool*>> cases = {
      {state::KvScheme::f32, &two}, {state::KvScheme::f16, &one}, {state::KvScheme::f32, &five}};
  for (unsigned seed = 1; const auto& [kv, pool] : cases) {
    auto all = readers(loaded, 5, kv, two);
    read_together(loaded, all, seed++, *pool);
  }
}

std::string case_name(const testing::TestParamInfo<const char*>& info) {
  std::string text = info.param;
  std::ranges::replace(text, '-', '_');
  return text;
}

INSTANTIATE_TEST_SUITE_P(Models, BatchOfModel, testing::ValuesIn(kGoldenCases), case_name);

TEST(Batch, GivesTheSameBitsInTheScalarForm) {
  const std::string before(name(active_isa()));
  ASSERT_TRUE(select_isa("scalar"));
  for (const char* name : {"all-kinds", "gguf-mixed"}) {
    Loaded loaded = load(name);
    ThreadPool pool(2);
    auto all = readers(loaded, 3, state::KvScheme::f32, pool);
    read_together(loaded, all, 7, pool);
  }
  ASSERT_TRUE(select_isa(before));
}

TEST(Batch, CutsWhatIsMoreThanAStepHolds) {
  Loaded loaded = load("mamba-only");
  ThreadPool pool(2);
  const std::size_t vocab = loaded.model.config().vocab_size;
  std::vector<TokenId> tokens;
  while (tokens.size() < 700)
    tokens.insert(tokens.end(), loaded.tokens.begin(), loaded.tokens.end());
  std::vector<float> logits((tokens.size() + 2) * vocab);
  auto a = *loaded.model.new_sequence(state::KvScheme::f32, tokens.size());
  auto b = *loaded.model.new_sequence(state::KvScheme::f32, tokens.size());
  auto c = *loaded.model.new_sequence(state::KvScheme::f32, tokens.size());
  Part parts[] = {
      {std::span(tokens).first(100), &a, LogitsMode::last, std::span(logits).first(vocab)},
      {tokens, &b, LogitsMode::all, std::span(logits).subspan(vocab, tokens.size() * vocab)},
      {tokens, &c, LogitsMode::last, std::span(logits).last(vocab)}};
  loaded.model.forward(parts, pool);
  const auto expected = *all_logits(loaded.model, tokens, 0, pool);
  EXPECT_TRUE(std::ranges::equal(parts[0].logits, std::span(expected).subspan(99 * vocab, vocab)));
  EXPECT_TRUE(std::ranges::equal(parts[1].logits, expected));
  EXPECT_TRUE(std::ranges::equal(parts[2].logits, std::span(expected).last(vocab)));
}

TEST(Batch, LetsABadPartFailAlone) {
  Loaded loaded = load("all-kinds"), other = load("mamba-only");
  ThreadPool pool(2);
  const std::size_t vocab = loaded.model.config().vocab_size;
  const std::vector<TokenId> good = {5, 6, 7}, outside = {1, static_cast<TokenId>(vocab)};
  const auto sequence = [&](Model& model, std::size_t capacity) {
    return *model.new_sequence(state::KvScheme::f32, capacity);
  };
  auto first = sequence(loaded.model, 8), bad = sequence(loaded.model, 8);
  auto full = sequence(loaded.model, 2), foreign = sequence(other.model, 8);
  auto last = sequence(loaded.model, 8), alone = sequence(loaded.model, 8);
  std::vector<float> logits(5 * vocab, -1.0f), expected(vocab);
  const auto row = [&](std::size_t i) { return std::span(logits).subspan(i * vocab, vocab); };
  Part parts[] = {{good, &first, LogitsMode::last, row(0)},
                  {outside, &bad, LogitsMode::last, row(1)},
                  {good, &full, LogitsMode::last, row(2)},
                  {good, &foreign, LogitsMode::last, row(3)},
                  {good, &last, LogitsMode::last, row(4)}};
  loaded.model.forward(parts, pool);
  ASSERT_TRUE(loaded.model.forward(good, alone, LogitsMode::last, expected, pool));
  for (const std::size_t i : {0u, 4u}) {
    EXPECT_TRUE(parts[i].result);
    EXPECT_TRUE(std::ranges::equal(row(i), expected));
    EXPECT_EQ(parts[i].sequence->position(), 3u);
  }
  const ErrorCode codes[] = {ErrorCode::mismatch, ErrorCode::too_large, ErrorCode::mismatch};
  for (std::size_t i = 1; i < 4; ++i) {
    ASSERT_FALSE(parts[i].result);
    EXPECT_EQ(parts[i].result.error().code, codes[i - 1]) << i;
    EXPECT_EQ(parts[i].sequence->position(), 0u);
    EXPECT_EQ(row(i)[0], -1.0f);
  }
}

/// The files of a golden model, with the bytes of one row of its embeddings all ones: NaN.
std::map<std::string, std::string> with_a_broken_token(const std::string& name, TokenId token) {
  std::map<std::string, std::string> files;
  for (const char* file : {"config.json", "model.safetensors"}) {
    const auto mapped = MappedFile::open(golden_folder(name) / file);
    if (!mapped) throw std::runtime_error(mapped.error().message());
    const auto bytes = mapped->bytes();
    files[file] =
        std::string(static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size());
  }
  std::string& model = files["model.safetensors"];
  const auto read = formats::read_safetensors(std::as_bytes(std::span(model)), "model");
  if (!read) throw std::runtime_error(read.error().message());
  const Tensor& embeddings = *read->tensors.find("backbone.embeddings.weight");
  const std::size_t row = embeddings.data.size() / embeddings.shape[0];
  const auto at = embeddings.data.data() - std::as_bytes(std::span(model)).data();
  std::fill_n(model.begin() + at + static_cast<std::ptrdiff_t>(token * row), row, '\xff');
  return files;
}

TEST(Batch, ResetsTheOneSequenceWhoseNumbersAreNotFinite) {
  const auto files = with_a_broken_token("all-kinds", 9);
  std::vector<formats::MemoryFile> views;
  for (const auto& [name, contents] : files)
    views.push_back({name, std::as_bytes(std::span(contents))});
  const auto checkpoint = *formats::Checkpoint::from_memory("broken", std::move(views));
  Model model = *Model::load(checkpoint);
  ThreadPool pool(2);
  const std::size_t vocab = model.config().vocab_size;
  const std::vector<TokenId> good = {5, 6, 7}, bad = {5, 9, 7};
  auto first = *model.new_sequence(state::KvScheme::f32, 8);
  auto broken = *model.new_sequence(state::KvScheme::f32, 8);
  auto last = *model.new_sequence(state::KvScheme::f32, 8);
  auto alone = *model.new_sequence(state::KvScheme::f32, 8);
  std::vector<float> logits(3 * vocab), expected(vocab);
  ASSERT_TRUE(model.forward(good, broken, LogitsMode::none, {}, pool));
  Part parts[] = {{good, &first, LogitsMode::last, std::span(logits).first(vocab)},
                  {bad, &broken, LogitsMode::last, std::span(logits).subspan(vocab, vocab)},
                  {good, &last, LogitsMode::last, std::span(logits).last(vocab)}};
  model.forward(parts, pool);
  ASSERT_TRUE(model.forward(good, alone, LogitsMode::last, expected, pool));
  EXPECT_TRUE(std::ranges::equal(parts[0].logits, expected));
  EXPECT_TRUE(std::ranges::equal(parts[2].logits, expected));
  ASSERT_FALSE(parts[1].result);
  EXPECT_EQ(parts[1].result.error().code, ErrorCode::numeric);
  EXPECT_EQ(broken.position(), 0u);

  ASSERT_TRUE(model.forward(good, broken, LogitsMode::last, std::span(logits).first(vocab), pool));
  EXPECT_TRUE(std::ranges::equal(std::span(logits).first(vocab), expected)) << "after the reset";
}

}  // namespace
}  // namespace tern::model
