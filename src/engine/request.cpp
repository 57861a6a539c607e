#include "engine/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>

namespace tern::engine {
namespace {

std::uint64_t random_seed() {
  try {
    std::random_device device;
    return (std::uint64_t{device()} << 32 | device()) >> 1;
  } catch (const std::exception&) {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  }
}

}  // namespace

Result<void> check_ids(std::span<const TokenId> tokens, std::size_t vocabulary) {
  const auto outside = std::ranges::find_if(tokens, [&](TokenId id) { return id >= vocabulary; });
  if (outside == tokens.end()) return {};
  return fail(ErrorCode::mismatch,
              fmt::format("token {} lies outside the vocabulary of {}", *outside, vocabulary),
              fmt::format("position {}", outside - tokens.begin()),
              "the ids come from another tokenizer");
}

Result<Request> resolve(const Engine& engine, std::span<const TokenId> prompt,
                        const GenerateOptions& options) {
  const Vocabulary& vocabulary = engine.vocabulary();
  if (prompt.empty()) return fail(ErrorCode::usage, "the prompt is empty", "prompt");
  if (prompt.size() >= engine.context())
    return fail(ErrorCode::too_large,
                fmt::format("a prompt of {} tokens leaves no room in the context of {}",
                            prompt.size(), engine.context()),
                "prompt", "shorten it, or load the model with a larger context");
  TERN_TRY_VOID(check_ids(prompt, vocabulary.size));
  const Defaults& defaults = engine.defaults();
  Request request;
  request.thinking = options.thinking ? options.thinking : vocabulary.thinking_after(prompt);
  const Defaults::Mode& mode = defaults.mode(request.thinking.value_or(false));
  TERN_TRY(request.stop, text::StopMatcher::make(options.stop));
  TERN_TRY(request.sampling, resolve(options.sampling, mode.sampling, vocabulary.size));
  request.max_tokens =
      std::min(options.max_tokens.value_or(mode.max_tokens), engine.context() - prompt.size());
  request.budget = {options.reasoning_budget.value_or(defaults.reasoning_budget),
                    options.reasoning_grace.value_or(defaults.reasoning_grace)};
  const std::uint64_t seed = options.sampling.seed;
  request.seed = seed == std::numeric_limits<std::uint64_t>::max() ? random_seed() : seed;
  return request;
}

}  // namespace tern::engine
