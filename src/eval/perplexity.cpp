#include "eval/perplexity.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "base/check.h"

namespace tern::eval {
namespace {

std::size_t longest(std::span<const Window> windows) {
  std::size_t most = 0;
  for (const Window& window : windows) most = std::max(most, window.tokens.size());
  return most;
}

/// A row of a run: logits of one sequence.
std::span<const float> row(const ScoredRun& run, std::size_t sequence, std::size_t i) {
  const std::size_t vocabulary = run.logits[sequence].size() / run.targets.size();
  return run.logits[sequence].subspan(i * vocabulary, vocabulary);
}

/// Adds the run's scores of the only sequence, in order.
void add_nll(const ScoredRun& run, std::vector<double>& nll, ThreadPool& pool) {
  const std::size_t before = nll.size();
  nll.resize(before + run.targets.size());
  pool.parallel_for(run.targets.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      nll[before + i] = negative_log_likelihood(row(run, 0, i), run.targets[i]);
  });
}

using OnRun = std::function<Result<void>(const ScoredRun&)>;

Result<TextScore> score(engine::Engine& engine, std::span<const Window> windows, ThreadPool& pool,
                        const Watch& watch, std::string_view what, const OnRun& on_run) {
  TERN_TRY_VOID(check_context(engine, longest(windows)));
  TERN_TRY(auto sequence, engine.new_sequence());
  const auto start = std::chrono::steady_clock::now();
  std::vector<double> nll;
  state::Sequence* const sequences[] = {&sequence};
  TERN_TRY_VOID(read_windows(
      engine, sequences, windows,
      [&](const ScoredRun& run) -> Result<void> {
        add_nll(run, nll, pool);
        return on_run ? on_run(run) : Result<void>();
      },
      what, watch));
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return TextScore{windows.size(), nll.size(), mean(nll), perplexity(nll), time.count()};
}

}  // namespace

Result<TextScore> measure_perplexity(engine::Engine& engine, std::span<const Window> windows,
                                     ThreadPool& pool, const Watch& watch) {
  return score(engine, windows, pool, watch, "perplexity", {});
}

Result<TextScore> save_base(engine::Engine& engine, std::span<const Window> windows,
                            BaseWriter& writer, ThreadPool& pool, const Watch& watch) {
  return score(engine, windows, pool, watch, "saving logits",
               [&](const ScoredRun& run) -> Result<void> {
                 for (std::size_t i = 0; i < run.targets.size(); ++i)
                   TERN_TRY_VOID(writer.write(row(run, 0, i)));
                 return {};
               });
}

Result<Divergence> compare_with_base(engine::Engine& engine, BaseReader& base, ThreadPool& pool,
                                     const Watch& watch) {
  TERN_TRY_VOID(base.check(engine.vocabulary()));
  const auto& windows = base.header().windows;
  std::vector<Comparison> comparisons;
  const auto on_run = [&](const ScoredRun& run) -> Result<void> {
    const std::size_t before = comparisons.size();
    comparisons.resize(before + run.targets.size());
    std::mutex mutex;
    Result<void> all;
    pool.parallel_for(run.targets.size(), 1, [&](std::size_t begin, std::size_t end) {
      std::vector<float> reference(base.header().vocabulary);
      for (std::size_t i = begin; i < end; ++i) {
        if (auto read = base.row(before + i, reference); !read) {
          const std::scoped_lock lock(mutex);
          all = std::move(read);
          return;
        }
        comparisons[before + i] = compare(reference, row(run, 0, i), run.targets[i]);
      }
    });
    return all;
  };
  TERN_TRY(const TextScore scored,
           score(engine, windows, pool, watch, "comparing with the base", on_run));
  TERN_CHECK(scored.tokens == comparisons.size());
  return summarize(comparisons);
}

Result<std::vector<std::vector<Comparison>>> compare_sequences(
    engine::Engine& engine, state::Sequence& base, std::span<state::Sequence* const> others,
    std::span<const Window> windows, ThreadPool& pool, const Watch& watch) {
  TERN_TRY_VOID(check_context(engine, longest(windows)));
  std::vector<state::Sequence*> sequences = {&base};
  sequences.insert(sequences.end(), others.begin(), others.end());
  std::vector<std::vector<Comparison>> comparisons(others.size());
  const auto on_run = [&](const ScoredRun& run) -> Result<void> {
    const std::size_t count = run.targets.size();
    for (std::size_t other = 0; other < others.size(); ++other) {
      auto& list = comparisons[other];
      const std::size_t before = list.size();
      list.resize(before + count);
      pool.parallel_for(count, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
          list[before + i] = compare(row(run, 0, i), row(run, other + 1, i), run.targets[i]);
      });
    }
    return {};
  };
  TERN_TRY_VOID(
      read_windows(engine, sequences, windows, on_run, "perplexity and divergence", watch));
  return comparisons;
}

}  // namespace tern::eval
