// Measurements on the embedded model.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/testing.h"
#include "eval/answering.h"
#include "eval/conversation.h"
#include "eval/needle.h"
#include "eval/perplexity.h"

namespace tern::eval {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::string_view kText =
    "The old man walked slowly past the hills. The code for amber is 4821. The river was close to "
    "the bridge in the early morning. What is 17 * 23? The teacher waited near the harbor. ";

class Eval : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto loaded = engine::Engine::load("demo", {.threads = 2, .context = 1024});
    ASSERT_TRUE(loaded) << loaded.error().message();
    engine_ = std::move(*loaded);
  }
  static void TearDownTestSuite() { engine_.reset(); }

  static std::vector<Window> windows(const Cutting& cutting = {.context = 32}) {
    return *cut(engine_->vocabulary().tokenizer.encode(std::string(kText) + std::string(kText)),
                cutting, "text");
  }
  static fs::path file(std::string_view name) {
    return fs::temp_directory_path() /
           ("tern_eval_" + std::to_string(::getpid()) + "_" + std::string(name));
  }
  static BaseHeader header(BaseFormat format) {
    return {.model = "demo",
            .kv = "f16",
            .vocabulary = engine_->vocabulary().size,
            .tokenizer = tokenizer_hash(engine_->vocabulary()),
            .format = format,
            .windows = windows()};
  }
  static void save(const fs::path& path, BaseFormat format) {
    auto writer = BaseWriter::create(path, header(format));
    ASSERT_TRUE(writer) << writer.error().message();
    const auto saved = save_base(*engine_, windows(), *writer, pool_, {});
    ASSERT_TRUE(saved) << saved.error().message();
    ASSERT_TRUE(writer->commit());
  }

  static inline std::unique_ptr<engine::Engine> engine_;
  static inline ThreadPool pool_{2};
};

TEST_F(Eval, PerplexityIsThatOfLogitsReadAtOnce) {
  const auto all = windows();
  const auto measured = measure_perplexity(*engine_, all, pool_, {});
  ASSERT_TRUE(measured) << measured.error().message();
  std::vector<double> nll;
  for (const Window& window : all) {
    auto sequence = engine_->new_sequence();
    std::vector<float> logits(window.tokens.size() * engine_->vocabulary().size);
    ASSERT_TRUE(engine_->forward(window.tokens, *sequence, model::LogitsMode::all, logits));
    for (const Range& range : window.scored)
      for (std::size_t i = range.begin; i < range.end; ++i)
        nll.push_back(
            negative_log_likelihood(std::span(logits).subspan((i - 1) * engine_->vocabulary().size,
                                                              engine_->vocabulary().size),
                                    window.tokens[i]));
  }
  EXPECT_EQ(measured->tokens, nll.size());
  EXPECT_DOUBLE_EQ(measured->perplexity.value, perplexity(nll).value);
  EXPECT_GT(measured->perplexity.error, 0);
}

TEST_F(Eval, ScoredRangesOfOneWindowAreReadInPiecesWithTheSameResult) {
  auto whole = windows({.context = 100, .stride = 100, .windows = 1});
  auto pieces = whole;
  pieces[0].scored = {{3, 5}, {6, 7}, {60, 62}, {99, 100}};
  std::vector<double> of_whole(100), of_pieces(100);
  const auto read = [&](std::vector<Window>& list, std::vector<double>& nll) {
    auto sequence = *engine_->new_sequence();
    state::Sequence* const sequences[] = {&sequence};
    return read_windows(*engine_, sequences, list,
                        [&](const ScoredRun& run) -> Result<void> {
                          const std::size_t v = engine_->vocabulary().size;
                          for (std::size_t i = 0; i < run.targets.size(); ++i)
                            nll[run.first + i] = negative_log_likelihood(
                                run.logits[0].subspan(i * v, v), run.targets[i]);
                          return {};
                        },
                        "reading", {});
  };
  ASSERT_TRUE(read(whole, of_whole));
  ASSERT_TRUE(read(pieces, of_pieces));
  for (std::size_t i = 0; i < 100; ++i) {
    const bool scored = i == 3 || i == 4 || i == 6 || i == 60 || i == 61 || i == 99;
    EXPECT_EQ(of_pieces[i], scored ? of_whole[i] : 0) << i;
  }
}

TEST_F(Eval, AnExactBaseComparedWithItselfShowsExactlyNothing) {
  const auto path = file("exact");
  save(path, BaseFormat::f32);
  auto base = BaseReader::open(path);
  ASSERT_TRUE(base) << base.error().message();
  const auto divergence = compare_with_base(*engine_, *base, pool_, {});
  ASSERT_TRUE(divergence) << divergence.error().message();
  EXPECT_EQ(divergence->max, 0);
  EXPECT_EQ(divergence->same_top.value, 1);
  EXPECT_EQ(divergence->delta_p_rms.value, 0);
  EXPECT_EQ(divergence->perplexity_ratio.value, 1);
  fs::remove(path);
}

TEST_F(Eval, ACompactBaseComparedWithItselfStaysUnderItsNoiseFloor) {
  const auto path = file("compact");
  save(path, BaseFormat::u16);
  auto base = BaseReader::open(path);
  ASSERT_TRUE(base) << base.error().message();
  const auto divergence = compare_with_base(*engine_, *base, pool_, {});
  ASSERT_TRUE(divergence) << divergence.error().message();
  EXPECT_LT(divergence->mean.value, 1.6e-8);
  EXPECT_GT(divergence->mean.value, 0);
  EXPECT_LT(divergence->max, 1e-6);
  EXPECT_NEAR(divergence->perplexity_ratio.value, 1, 1e-4);
  EXPECT_LT(fs::file_size(path), scored_tokens(windows()) * (2 * 2048 + 8) + 4096);
  fs::remove(path);
}

TEST_F(Eval, ABaseThatWasCutOrChangedIsRefused) {
  const auto path = file("hostile");
  save(path, BaseFormat::u16);
  std::string good;
  {
    std::ifstream in(path, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(in), {});
  }
  const auto refusal = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    const auto read = BaseReader::open(path);
    return read ? ErrorCode::internal : read.error().code;
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{15},
                                 std::size_t{100}, good.size() / 2, good.size() - 1})
    EXPECT_EQ(refusal(good.substr(0, size)), ErrorCode::corrupt) << size;
  EXPECT_EQ(refusal(good + "x"), ErrorCode::corrupt);
  std::string changed = good;
  changed[changed.size() - 100] = static_cast<char>(changed[changed.size() - 100] ^ 1);
  EXPECT_EQ(refusal(changed), ErrorCode::corrupt);
  changed = good;
  changed.replace(changed.find("\"version\":1"), 11, "\"version\":2");
  EXPECT_EQ(refusal(changed), ErrorCode::unsupported);
  changed = good;
  changed.replace(8, 8, "\xff\xff\xff\xff\xff\xff\xff\xff");
  EXPECT_EQ(refusal(changed), ErrorCode::corrupt);
  fs::remove(path);
}

TEST_F(Eval, ABaseOfAnotherVocabularyOrTokenizerIsRefused) {
  for (const bool size : {true, false}) {
    const auto path = file("foreign");
    BaseHeader foreign = header(BaseFormat::u16);
    foreign.windows.clear();
    if (size)
      foreign.vocabulary = 4096;
    else
      foreign.tokenizer ^= 1;
    auto writer = BaseWriter::create(path, foreign);
    ASSERT_TRUE(writer && writer->commit());
    auto base = BaseReader::open(path);
    ASSERT_TRUE(base) << base.error().message();
    const auto divergence = compare_with_base(*engine_, *base, pool_, {});
    ASSERT_FALSE(divergence);
    EXPECT_EQ(divergence.error().code, ErrorCode::mismatch);
    fs::remove(path);
  }
}

TEST_F(Eval, ANumberInABaseThatIsNotFiniteIsRefused) {
  const auto path = file("nan");
  BaseHeader one = header(BaseFormat::f32);
  one.windows = {{{1, 2}, {{1, 2}}}};
  auto writer = BaseWriter::create(path, one);
  ASSERT_TRUE(writer);
  std::vector<float> logits(one.vocabulary, 0.0f);
  logits[5] = std::nanf("");
  ASSERT_TRUE(writer->write(logits) && writer->commit());
  auto base = BaseReader::open(path);
  ASSERT_TRUE(base) << base.error().message();
  const auto divergence = compare_with_base(*engine_, *base, pool_, {});
  ASSERT_FALSE(divergence);
  EXPECT_EQ(divergence.error().code, ErrorCode::corrupt);
  fs::remove(path);
}

TEST_F(Eval, AWindowLongerThanTheModelIsRefused) {
  std::vector<Window> list = {{std::vector<TokenId>(9000, 1), {{8000, 9000}}}};
  const auto measured = measure_perplexity(*engine_, list, pool_, {});
  ASSERT_FALSE(measured);
  EXPECT_EQ(measured.error().code, ErrorCode::too_large);
  EXPECT_THAT(measured.error().what, HasSubstr("8192"));
}

TEST_F(Eval, ACancelledMeasurementStops) {
  Cancel cancel;
  cancel.request();
  const auto measured = measure_perplexity(*engine_, windows(), pool_, {.cancel = &cancel});
  ASSERT_FALSE(measured);
  EXPECT_EQ(measured.error().code, ErrorCode::cancelled);
}

TEST_F(Eval, ATranscriptScoresTheAnswersAndTheirEnds) {
  const auto window = transcript(*engine_, {{"What is my pin?", "Your pin is 4821."},
                                            {"Tell me my pin.", "It is 4821, as I said."}});
  ASSERT_TRUE(window) << window.error().message();
  ASSERT_EQ(window->scored.size(), 2u);
  const auto& tokenizer = engine_->vocabulary().tokenizer;
  const auto text = [&](const Range& range) {
    return tokenizer.decode(std::span(window->tokens).subspan(range.begin, range.size()));
  };
  EXPECT_EQ(text(window->scored[0]), "Your pin is 4821.<|im_end|>");
  EXPECT_EQ(text(window->scored[1]), "It is 4821, as I said.<|im_end|>");
}

TEST_F(Eval, RecallWindowsFillTheContextAndRepeatBySeed) {
  const auto first = recall_windows(*engine_, 700, 2, 7),
             again = recall_windows(*engine_, 700, 2, 7),
             other = recall_windows(*engine_, 700, 2, 8);
  ASSERT_TRUE(first && again && other) << first.error().message();
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LE((*first)[i].tokens.size(), 700u);
    EXPECT_GT((*first)[i].tokens.size(), 650u);
    EXPECT_EQ((*first)[i].tokens, (*again)[i].tokens);
    EXPECT_NE((*first)[i].tokens, (*other)[i].tokens);
    EXPECT_GE((*first)[i].scored.size(), 7u);
  }
  EXPECT_NE((*first)[0].tokens, (*first)[1].tokens);
  const auto none = recall_windows(*engine_, 20, 1, 7);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::too_large);
}

TEST_F(Eval, ANeedleLiesAtItsDepth) {
  const auto& tokenizer = engine_->vocabulary().tokenizer;
  for (const double depth : {0.0, 0.5, 1.0}) {
    const auto question = needle_question(*engine_, 512, depth, 3, 11);
    ASSERT_TRUE(question) << question.error().message();
    EXPECT_LE(question->prompt.size(), 512u);
    EXPECT_GT(question->prompt.size(), 470u);
    const auto text = tokenizer.decode(question->prompt);
    const auto at = static_cast<double>(text.find(" is " + question->expected + ".")) /
                    static_cast<double>(text.size());
    EXPECT_NEAR(at, depth, 0.15) << text;
  }
}

TEST_F(Eval, TheModelFindsNeedlesAndAddsNumbers) {
  auto sequence = *engine_->new_sequence();
  state::Sequence* const sequences[] = {&sequence};
  const auto grids = find_needles(
      *engine_, sequences, {.lengths = {192, 256}, .depths = 3, .distractors = 2, .seed = 5}, {});
  ASSERT_TRUE(grids) << grids.error().message();
  ASSERT_EQ(grids->front().size(), 6u);
  EXPECT_EQ(grids->front()[1].length, 192u);
  EXPECT_EQ(grids->front()[1].depth, 0.5);
  EXPECT_GE(total(grids->front()).right, 5u);
  const auto questions = arithmetic_questions(*engine_, 4, 1);
  ASSERT_TRUE(questions);
  const auto accuracy = ask(*engine_, sequences, *questions, "arithmetic", {});
  ASSERT_TRUE(accuracy) << accuracy.error().message();
  EXPECT_GE(accuracy->front().right, 3u);
}

TEST_F(Eval, QuestionsAreReadLineByLine) {
  const auto questions = parse_questions(*engine_,
                                         R"({"id": "a", "category": "sum", "messages": [{"role": )"
                                         R"("user", "content": "1 + 1"}], "expected": "2"})"
                                         "\n\n",
                                         "file");
  ASSERT_TRUE(questions) << questions.error().message();
  ASSERT_EQ(questions->size(), 1u);
  EXPECT_EQ(questions->front().category, "sum");
  const auto refusal = [&](std::string_view lines) {
    const auto parsed = parse_questions(*engine_, lines, "file");
    return parsed ? Error{} : parsed.error();
  };
  EXPECT_EQ(refusal("").code, ErrorCode::usage);
  EXPECT_EQ(refusal("\n{").code, ErrorCode::corrupt);
  EXPECT_THAT(refusal("\n[]").where, HasSubstr("line 2"));
  EXPECT_EQ(refusal(R"({"messages": []})").code, ErrorCode::not_found);
  EXPECT_EQ(refusal(R"({"expected": "2", "messages": 1})").code, ErrorCode::corrupt);
}

TEST(Answers, ANumberMustBeTheLastOne) {
  EXPECT_TRUE(is_right("17 * 23 = 391", "391"));
  EXPECT_TRUE(is_right("It is 391.", "391"));
  EXPECT_FALSE(is_right("391 or 392", "391"));
  EXPECT_FALSE(is_right("1391", "391"));
  EXPECT_TRUE(is_right("5 - 9 = -4", "-4"));
  EXPECT_FALSE(is_right("9 - 5 = 4", "-4"));
  EXPECT_FALSE(is_right("no number", "4"));
}

TEST(Answers, AWordMustBeAWholeOne) {
  EXPECT_TRUE(is_right("Iris lives in Cairo.", "Cairo"));
  EXPECT_FALSE(is_right("Cairos", "Cairo"));
  EXPECT_TRUE(is_right("Cairos, or Cairo", "Cairo"));
  EXPECT_FALSE(is_right("anything", ""));
}

}  // namespace
}  // namespace tern::eval
