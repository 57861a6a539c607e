#include "engine/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <new>
#include <random>

#include "engine/decoder.h"

namespace tern::engine {
namespace {

using Clock = std::chrono::steady_clock;

// A point to go back to is only worth its memory near the end of the prompt.
constexpr std::size_t kLongestTurnHeader = 64;

bool requested(const Cancel* cancel) {
  return cancel && cancel->requested();
}

Result<void> check_ids(std::span<const TokenId> tokens, std::size_t vocabulary) {
  const auto outside = std::ranges::find_if(tokens, [&](TokenId id) { return id >= vocabulary; });
  if (outside == tokens.end()) return {};
  return fail(ErrorCode::mismatch,
              fmt::format("token {} lies outside the vocabulary of {}", *outside, vocabulary),
              fmt::format("position {}", outside - tokens.begin()),
              "the ids come from another tokenizer");
}

std::uint64_t random_seed() {
  try {
    std::random_device device;
    return (std::uint64_t{device()} << 32 | device()) >> 1;
  } catch (const std::exception&) {
    return static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
  }
}

/// Where the next prompt of the conversation is likely to differ: templates rewrite the answer's
/// header once the answer is history. Raw prompts: before their last token.
std::size_t turning_point(std::span<const TokenId> prompt, const Vocabulary& vocabulary) {
  const std::size_t first = prompt.size() - std::min(prompt.size(), kLongestTurnHeader);
  for (std::size_t index = prompt.size(); index-- > first;) {
    if (prompt[index] == vocabulary.turn) return index;
  }
  return prompt.size() - 1;
}

}  // namespace

Result<Request> resolve(const Engine& engine, std::span<const TokenId> prompt,
                        const GenerateOptions& options) {
  const Vocabulary& vocabulary = engine.vocabulary();
  if (prompt.empty()) return fail(ErrorCode::usage, "the prompt is empty", "prompt");
  TERN_TRY_VOID(check_ids(prompt, vocabulary.size));
  if (prompt.size() >= engine.context())
    return fail(ErrorCode::too_large,
                fmt::format("a prompt of {} tokens leaves no room in the context of {}",
                            prompt.size(), engine.context()),
                "prompt", "shorten it, or load the model with a larger context");
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

Result<Generation> Session::generate(std::span<const TokenId> prompt,
                                     const GenerateOptions& options, const OnPiece& on_piece,
                                     const Cancel* cancel) try {
  TERN_TRY(const Request request, resolve(*engine_, prompt, options));
  const Clock::time_point start = Clock::now();
  TERN_TRY(const std::size_t kept, context_.keep_start_of(prompt));
  TERN_TRY(const bool complete, read_prompt(prompt, kept, cancel));
  const Clock::time_point read = Clock::now();

  Decoder decoder(context_, engine_->vocabulary(), request, options, on_piece, cancel);
  if (complete) TERN_TRY_VOID(decoder.run(prompt, logits_));
  Generation generation = std::move(decoder).result();
  generation.prompt_tokens = prompt.size();
  generation.reused_tokens = kept;
  generation.seed = request.seed;
  generation.prefill_time = read - start;
  generation.decode_time = Clock::now() - read;
  return generation;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "out of memory while generating", "session");
}

/// @return whether all was read; false: cancelled
Result<bool> Session::read_prompt(std::span<const TokenId> prompt, std::size_t from,
                                  const Cancel* cancel) {
  logits_.resize(engine_->vocabulary().size);
  const std::size_t turn = turning_point(prompt, engine_->vocabulary());
  const std::size_t total = prompt.size() - from;
  for (std::size_t begin = from; begin < prompt.size();) {
    if (requested(cancel)) return false;
    if (begin == turn) context_.mark();
    std::size_t end = std::min(prompt.size(), begin + engine_->prefill_chunk());
    if (begin < turn) end = std::min(end, turn);
    const bool last = end == prompt.size();
    TERN_TRY_VOID(context_.read(prompt.subspan(begin, end - begin),
                                last ? model::LogitsMode::last : model::LogitsMode::none,
                                last ? std::span(logits_) : std::span<float>()));
    begin = end;
    engine_->report("reading the prompt", begin - from, total);
  }
  return true;
}

Result<std::vector<float>> Session::logits(std::span<const TokenId> tokens,
                                           const Cancel* cancel) try {
  const std::size_t vocabulary = engine_->vocabulary().size;
  TERN_TRY_VOID(check_ids(tokens, vocabulary));
  if (tokens.size() > engine_->context() - position())
    return fail(ErrorCode::too_large,
                fmt::format("{} tokens do not fit: {} of {} are held", tokens.size(), position(),
                            engine_->context()),
                "tokens", "load the model with a larger context");
  std::vector<float> logits(tokens.size() * vocabulary);
  for (std::size_t begin = 0; begin < tokens.size();) {
    if (requested(cancel))
      return fail(ErrorCode::cancelled,
                  fmt::format("stopped after {} of {} tokens", begin, tokens.size()), "tokens");
    const std::size_t count = std::min(tokens.size() - begin, engine_->prefill_chunk());
    TERN_TRY_VOID(context_.read(tokens.subspan(begin, count), model::LogitsMode::all,
                                std::span(logits).subspan(begin * vocabulary, count * vocabulary)));
    begin += count;
    engine_->report("reading", begin, tokens.size());
  }
  return logits;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory,
              fmt::format("no memory for the logits of {} tokens", tokens.size()), "tokens");
}

}  // namespace tern::engine
