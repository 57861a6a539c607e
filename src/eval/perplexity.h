// Perplexity of a text, and how two ways of reading it differ.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/engine.h"
#include "eval/base_logits.h"
#include "eval/reading.h"
#include "eval/scores.h"

namespace tern::eval {

struct TextScore {
  std::size_t windows = 0, tokens = 0;  ///< tokens that were scored
  Estimate nll;                         ///< mean, in nats
  Estimate perplexity;
  double seconds = 0;
};

/// Errors as read_windows; too_large also for windows longer than the model was made for.
Result<TextScore> measure_perplexity(engine::Engine& engine, std::span<const Window> windows,
                                     ThreadPool& pool, const Watch& watch);

/// Writes the logits of all scored tokens. Errors as above, and io.
Result<TextScore> save_base(engine::Engine& engine, std::span<const Window> windows,
                            BaseWriter& writer, ThreadPool& pool, const Watch& watch);

/// Compares with saved logits, on their windows. Errors as above, and those of BaseReader::row.
Result<Divergence> compare_with_base(engine::Engine& engine, BaseReader& base, ThreadPool& pool,
                                     const Watch& watch);

/// Reads the windows in `base` and each of `others` side by side.
/// @return for each of `others` one comparison for each scored token, in order
Result<std::vector<std::vector<Comparison>>> compare_sequences(
    engine::Engine& engine, state::Sequence& base, std::span<state::Sequence* const> others,
    std::span<const Window> windows, ThreadPool& pool, const Watch& watch);

}  // namespace tern::eval
