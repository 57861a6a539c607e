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
  has_logits_ = false;
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
  TERN_TRY_VOID(check_room(tokens));
  has_logits_ = false;
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

Result<void> Session::check_room(std::span<const TokenId> tokens) const {
  TERN_TRY_VOID(check_ids(tokens, engine_->vocabulary().size));
  if (tokens.size() <= engine_->context() - position()) return {};
  return fail(ErrorCode::too_large,
              fmt::format("{} tokens do not fit: {} of {} are held", tokens.size(), position(),
                          engine_->context()),
              "tokens", "load the model with a larger context");
}

Result<void> Session::read(std::span<const TokenId> tokens, const OnRead& on_read,
                           const Cancel* cancel) try {
  if (tokens.empty()) return fail(ErrorCode::usage, "there are no tokens to read", "tokens");
  TERN_TRY_VOID(check_room(tokens));
  has_logits_ = false;
  logits_.resize(engine_->vocabulary().size);
  bool go_on = true;
  for (std::size_t begin = 0; begin < tokens.size();) {
    if (!go_on || requested(cancel))
      return fail(ErrorCode::cancelled,
                  fmt::format("stopped after {} of {} tokens", begin, tokens.size()), "tokens");
    const std::size_t count = std::min(tokens.size() - begin, engine_->prefill_chunk());
    const bool last = begin + count == tokens.size();
    TERN_TRY_VOID(context_.read(tokens.subspan(begin, count),
                                last ? model::LogitsMode::last : model::LogitsMode::none,
                                last ? std::span(logits_) : std::span<float>()));
    begin += count;
    has_logits_ = last;
    if (on_read) go_on = on_read(begin, tokens.size()) == Continue::yes;
  }
  return {};
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, fmt::format("no memory to read {} tokens", tokens.size()),
              "tokens");
}

Result<void> Session::truncate(std::size_t position, const Cancel* cancel) try {
  if (position > context_.position())
    return fail(ErrorCode::usage,
                fmt::format("position {} is past the {} tokens that are held", position,
                            context_.position()),
                "position");
  if (position == context_.position()) return {};
  const std::span<const TokenId> held = context_.tokens().first(position);
  const std::vector<TokenId> tokens(held.begin(), held.end());
  has_logits_ = false;
  const std::size_t kept = context_.go_back(position);
  return kept == position ? Result<void>() : read(std::span(tokens).subspan(kept), {}, cancel);
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "no memory to go back", "position");
}

Result<Session> Session::fork() const try {
  TERN_TRY(Context context, context_.fork());
  Session copy(*engine_, std::move(context));
  copy.logits_ = logits_;
  copy.has_logits_ = has_logits_;
  return copy;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "no memory for a copy", "session");
}

}  // namespace tern::engine
