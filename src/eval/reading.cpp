#include "eval/reading.h"

#include <algorithm>

namespace tern::eval {
namespace {

// Unscored tokens between scored ones cost less than another step of the model when they are few.
constexpr std::size_t kGap = 32;
constexpr std::size_t kMaxLogits = std::size_t{1} << 25;  // floats of one step, all sequences

/// Tokens that one step reads, and whether it computes logits.
struct Step {
  Range tokens;
  bool scored;
};

void add_steps(std::vector<Step>& steps, Range tokens, bool scored, std::size_t most) {
  for (std::size_t at = tokens.begin; at < tokens.end; at += most)
    steps.push_back({{at, std::min(at + most, tokens.end)}, scored});
}

/// Row t predicts token t + 1, so the token before a scored range begins it and its last token is
/// not read; nor is anything after the last range.
std::vector<Step> plan(const Window& window, std::size_t chunk, std::size_t scored_chunk) {
  std::vector<Step> steps;
  std::size_t at = 0;
  for (std::size_t i = 0; i < window.scored.size(); ++i) {
    const std::size_t begin = window.scored[i].begin - 1;
    std::size_t end = window.scored[i].end - 1;
    while (i + 1 < window.scored.size() && window.scored[i + 1].begin - 1 - end < kGap)
      end = window.scored[++i].end - 1;
    add_steps(steps, {at, begin}, false, chunk);
    add_steps(steps, {begin, end}, true, scored_chunk);
    at = end;
  }
  return steps;
}

/// Tokens that one step may read when logits of all are wanted in so many sequences.
std::size_t scored_chunk(const engine::Engine& engine, std::size_t sequences) {
  return std::clamp<std::size_t>(
      kMaxLogits / engine.vocabulary().size / std::max<std::size_t>(sequences, 1), 1,
      engine.prefill_chunk());
}

/// Hands on the rows of one step that predict scored tokens.
Result<void> hand_on(const Window& window, Range rows,
                     const std::vector<std::vector<float>>& logits, std::size_t vocabulary,
                     const OnScored& on_scored) {
  for (const Range& scored : window.scored) {
    const std::size_t begin = std::max(scored.begin, rows.begin + 1);
    const std::size_t end = std::min(scored.end, rows.end + 1);
    if (begin >= end) continue;
    ScoredRun run{&window, begin, std::span(window.tokens).subspan(begin, end - begin), {}};
    for (const auto& all : logits)
      run.logits.push_back(std::span(all).subspan((begin - 1 - rows.begin) * vocabulary,
                                                  (end - begin) * vocabulary));
    TERN_TRY_VOID(on_scored(run));
  }
  return {};
}

}  // namespace

Result<void> Watch::check() const {
  if (cancel != nullptr && cancel->requested()) return fail(ErrorCode::cancelled, "interrupted");
  return {};
}

Result<void> check_context(const engine::Engine& engine, std::size_t context) {
  const std::size_t most = engine.model().config().max_position_embeddings;
  if (most == 0 || context <= most) return {};
  return fail(ErrorCode::too_large,
              "a window of " + std::to_string(context) + " tokens, the model was made for " +
                  std::to_string(most),
              "context");
}

Result<void> read_windows(engine::Engine& engine, std::span<state::Sequence* const> sequences,
                          std::span<const Window> windows, const OnScored& on_scored,
                          std::string_view what, const Watch& watch) {
  const std::size_t vocabulary = engine.vocabulary().size, total = scored_tokens(windows);
  const std::size_t chunk = engine.prefill_chunk();
  const std::size_t scored = scored_chunk(engine, sequences.size());
  std::vector<std::vector<float>> logits(sequences.size());
  std::size_t done = 0;
  watch.report(what, 0, total);
  for (const Window& window : windows) {
    for (state::Sequence* sequence : sequences) sequence->reset();
    for (const Step& step : plan(window, chunk, scored)) {
      const auto tokens = std::span(window.tokens).subspan(step.tokens.begin, step.tokens.size());
      for (std::size_t i = 0; i < sequences.size(); ++i) {
        TERN_TRY_VOID(watch.check());
        logits[i].resize(step.scored ? tokens.size() * vocabulary : 0);
        TERN_TRY_VOID(engine.forward(tokens, *sequences[i],
                                     step.scored ? model::LogitsMode::all : model::LogitsMode::none,
                                     logits[i]));
      }
      if (step.scored) TERN_TRY_VOID(hand_on(window, step.tokens, logits, vocabulary, on_scored));
    }
    done += window.scored_tokens();
    watch.report(what, done, total);
  }
  return {};
}

Result<void> read_through(engine::Engine& engine, std::span<const Window> windows, bool logits,
                          std::string_view what, const Watch& watch) {
  const std::size_t chunk = logits ? scored_chunk(engine, 1) : engine.prefill_chunk();
  TERN_TRY(auto sequence, engine.new_sequence());
  std::vector<float> rows;
  std::size_t done = 0, total = 0;
  for (const Window& window : windows) total += window.tokens.size();
  watch.report(what, 0, total);
  for (const Window& window : windows) {
    sequence.reset();
    for (std::size_t at = 0; at < window.tokens.size(); at += chunk) {
      TERN_TRY_VOID(watch.check());
      const auto tokens =
          std::span(window.tokens).subspan(at, std::min(chunk, window.tokens.size() - at));
      rows.resize(logits ? tokens.size() * engine.vocabulary().size : 0);
      TERN_TRY_VOID(engine.forward(
          tokens, sequence, logits ? model::LogitsMode::all : model::LogitsMode::none, rows));
      done += tokens.size();
      watch.report(what, done, total);
    }
  }
  return {};
}

}  // namespace tern::eval
