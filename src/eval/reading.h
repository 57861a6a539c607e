// Reads windows with one or more sequences side by side, and hands their logits on.
#pragma once
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "eval/windows.h"
#include "state/sequence.h"

namespace tern::eval {

/// What a long measurement tells its caller, and asks.
struct Watch {
  std::function<void(std::string_view what, std::size_t done, std::size_t total)> progress = {};
  const Cancel* cancel = nullptr;

  void report(std::string_view what, std::size_t done, std::size_t total) const {
    if (progress) progress(what, done, total);
  }
  /// @error cancelled
  Result<void> check() const;
};

/// Scored tokens that follow each other, and the logits that predict them.
struct ScoredRun {
  const Window* window;
  std::size_t first;                           ///< index in the window of the first of them
  std::span<const TokenId> targets;            ///< the tokens themselves
  std::vector<std::span<const float>> logits;  ///< for each sequence [targets, vocabulary]
};
using OnScored = std::function<Result<void>(const ScoredRun&)>;

/// Reads every window from an empty state in all of `sequences`, and calls `on_scored` for all
/// scored tokens in order. Each sequence must have room for the longest window.
/// @param what  names the task in the progress
/// @error too_large  a window beyond the room of a sequence
/// @error cancelled; else as Engine::forward, and what `on_scored` returns
Result<void> read_windows(engine::Engine& engine, std::span<state::Sequence* const> sequences,
                          std::span<const Window> windows, const OnScored& on_scored,
                          std::string_view what, const Watch& watch);

/// Reads every window from an empty state, all tokens of it, for somebody who watches the model
/// (model::InputObserver). The progress counts tokens.
/// @param logits  whether they are computed, for all tokens
/// @error too_large  a window beyond the model's context; cancelled; else as Engine::forward
Result<void> read_through(engine::Engine& engine, std::span<const Window> windows, bool logits,
                          std::string_view what, const Watch& watch);

/// @error too_large  more tokens than the model was made for, with both numbers
Result<void> check_context(const engine::Engine& engine, std::size_t context);

}  // namespace tern::eval
