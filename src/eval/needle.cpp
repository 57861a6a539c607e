#include "eval/needle.h"

#include <algorithm>

#include "eval/conversation.h"

namespace tern::eval {
namespace {

constexpr std::size_t kAnswer = 64;  // tokens

double depth_of(std::size_t index, std::size_t depths) {
  return depths < 2 ? 0.5 : static_cast<double>(index) / static_cast<double>(depths - 1);
}

/// `fillers` sentences with distractors among them, the needle at its depth, the question.
std::string haystack(Random random, const std::vector<Fact>& facts, std::size_t fillers,
                     double depth) {
  std::vector<std::string> sentences;
  for (std::size_t i = 1; i < facts.size(); ++i) sentences.push_back(facts[i].text);
  for (std::size_t i = 0; i < fillers; ++i) sentences.push_back(filler_sentence(random));
  random.shuffle(sentences);
  const auto place =
      static_cast<std::ptrdiff_t>(depth * static_cast<double>(sentences.size()) + 0.5);
  sentences.insert(sentences.begin() + place, facts.front().text);
  std::string text;
  for (const std::string& sentence : sentences) text += sentence + " ";
  text.back() = '\n';
  return text + "\n" + facts.front().question;
}

}  // namespace

Result<Question> needle_question(const engine::Engine& engine, std::size_t length, double depth,
                                 std::size_t distractors, std::uint64_t seed) {
  Random random(seed);
  const std::vector<Fact> facts = make_facts(random, distractors + 1);
  std::size_t fillers = length / 13;
  while (true) {
    const Message message{"user", haystack(random, facts, fillers, depth)};
    TERN_TRY(auto prompt, prompt_of(engine, {&message, 1}, /*thinking=*/false));
    if (prompt.size() <= length)
      return Question{"", "needle", std::move(prompt), facts.front().value, kAnswer};
    if (fillers == 0)
      return fail(ErrorCode::too_large,
                  "the needle and its question take " + std::to_string(prompt.size()) +
                      " tokens, more than " + std::to_string(length),
                  "lengths");
    fillers -= std::min(fillers, std::max<std::size_t>(1, (prompt.size() - length) / 16));
  }
}

std::size_t needle_capacity(const NeedleOptions& options) {
  return options.lengths.empty() ? kAnswer : std::ranges::max(options.lengths) + kAnswer;
}

Result<std::vector<std::vector<NeedleCell>>> find_needles(
    engine::Engine& engine, std::span<state::Sequence* const> sequences,
    const NeedleOptions& options, const Watch& watch) {
  if (options.lengths.empty() || options.depths == 0 || options.repeats == 0)
    return fail(ErrorCode::usage, "no place to hide a needle at", "needle",
                "lengths, depths and repeats must not be empty or 0");
  TERN_TRY_VOID(check_context(engine, std::ranges::max(options.lengths)));
  std::vector<std::vector<NeedleCell>> grids(sequences.size());
  const std::size_t total_prompts =
      options.lengths.size() * options.depths * options.repeats * sequences.size();
  std::size_t done = 0;
  for (const std::size_t length : options.lengths) {
    for (std::size_t d = 0; d < options.depths; ++d) {
      const double depth = depth_of(d, options.depths);
      for (auto& grid : grids) grid.push_back({length, depth, {}});
      for (std::size_t repeat = 0; repeat < options.repeats; ++repeat) {
        const std::uint64_t seed =
            ((options.seed * 1'000'003 + length) * 1'000'003 + d) * 1'000'003 + repeat;
        TERN_TRY(const Question question,
                 needle_question(engine, length, depth, options.distractors, seed));
        for (std::size_t i = 0; i < sequences.size(); ++i) {
          watch.report("looking for needles", done++, total_prompts);
          TERN_TRY(const auto text, answer(engine, *sequences[i], question, watch));
          Accuracy& accuracy = grids[i].back().accuracy;
          ++accuracy.asked;
          if (text && is_right(*text, question.expected)) ++accuracy.right;
        }
      }
    }
  }
  watch.report("looking for needles", total_prompts, total_prompts);
  return grids;
}

Accuracy total(std::span<const NeedleCell> cells) {
  Accuracy sum;
  for (const NeedleCell& cell : cells) {
    sum.asked += cell.accuracy.asked;
    sum.right += cell.accuracy.right;
  }
  return sum;
}

}  // namespace tern::eval
