#include "engine/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "engine/answer.h"

namespace tern::engine {

Result<Generation> Session::generate(std::span<const TokenId> prompt,
                                     const GenerateOptions& options, const OnPiece& on_piece,
                                     const Cancel* cancel) try {
  TERN_TRY(Request request, resolve(*engine_, prompt, options));
  has_logits_ = false;
  logits_.resize(engine_->vocabulary().size);
  TERN_TRY(Answer answer, Answer::begin(*engine_, context_, prompt, std::move(request), options,
                                        on_piece, cancel));
  while (auto part = answer.next(engine_->prefill_chunk())) {
    const bool prompt_piece = answer.reading();
    if (part->mode == model::LogitsMode::last) part->logits = logits_;
    engine_->forward({&*part, 1});
    TERN_TRY_VOID(answer.read(*part));
    if (prompt_piece)
      engine_->report("reading the prompt", answer.prompt_read(), answer.prompt_total());
    answer.show();
  }
  return std::move(answer).result();
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "out of memory while generating", "session");
}

Result<std::vector<float>> Session::logits(std::span<const TokenId> tokens,
                                           const Cancel* cancel) try {
  const std::size_t vocabulary = engine_->vocabulary().size;
  TERN_TRY_VOID(check_room(tokens));
  has_logits_ = false;
  std::vector<float> logits(tokens.size() * vocabulary);
  for (std::size_t begin = 0; begin < tokens.size();) {
    if (cancel != nullptr && cancel->requested())
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
  if (tokens.size() > engine_->context() - position())
    return fail(ErrorCode::too_large,
                fmt::format("{} tokens do not fit: {} of {} are held", tokens.size(), position(),
                            engine_->context()),
                "tokens", "load the model with a larger context");
  return check_ids(tokens, engine_->vocabulary().size);
}

Result<void> Session::read(std::span<const TokenId> tokens, const OnRead& on_read,
                           const Cancel* cancel) try {
  if (tokens.empty()) return fail(ErrorCode::usage, "there are no tokens to read", "tokens");
  TERN_TRY_VOID(check_room(tokens));
  has_logits_ = false;
  logits_.resize(engine_->vocabulary().size);
  bool go_on = true;
  for (std::size_t begin = 0; begin < tokens.size();) {
    if (!go_on || (cancel != nullptr && cancel->requested()))
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

std::vector<Result<void>> Session::step(std::span<Session* const> sessions,
                                        std::span<const TokenId> tokens) try {
  std::vector<Result<void>> results(sessions.size());
  if (sessions.empty()) return results;
  Engine& engine = *sessions.front()->engine_;
  const std::size_t vocabulary = engine.vocabulary().size;
  // One piece of memory, so that all parts meet the output matrix together.
  std::vector<float> logits(sessions.size() * vocabulary);
  std::vector<model::Part> parts;
  std::vector<std::size_t> of;  // the session of each part
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    sessions[i]->has_logits_ = false;
    results[i] = sessions[i]->check_room(tokens.subspan(i, 1));
    if (results[i]) results[i] = sessions[i]->context_.allocate();
    if (!results[i]) continue;
    parts.push_back(sessions[i]->context_.part(tokens.subspan(i, 1), model::LogitsMode::last));
    parts.back().logits = std::span(logits).subspan(of.size() * vocabulary, vocabulary);
    of.push_back(i);
  }
  if (!parts.empty()) engine.forward(parts);
  for (std::size_t j = 0; j < parts.size(); ++j) {
    Session& session = *sessions[of[j]];
    results[of[j]] = session.context_.took(parts[j]);
    if (!results[of[j]]) continue;
    session.logits_.assign(parts[j].logits.begin(), parts[j].logits.end());
    session.has_logits_ = true;
  }
  return results;
} catch (const std::bad_alloc&) {
  return std::vector<Result<void>>(sessions.size(),
                                   fail(ErrorCode::no_memory, "no memory for a step", "sessions"));
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
