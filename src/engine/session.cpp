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
  TERN_TRY_VOID(check_ids(tokens, vocabulary));
  if (tokens.size() > engine_->context() - position())
    return fail(ErrorCode::too_large,
                fmt::format("{} tokens do not fit: {} of {} are held", tokens.size(), position(),
                            engine_->context()),
                "tokens", "load the model with a larger context");
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

}  // namespace tern::engine
