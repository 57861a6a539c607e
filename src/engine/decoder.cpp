#include "engine/decoder.h"

namespace tern::engine {

Decoder::Decoder(Context& context, const Vocabulary& vocabulary, const Request& request,
                 const GenerateOptions& options, const OnPiece& on_piece, const Cancel* cancel)
    : context_(&context),
      vocabulary_(&vocabulary),
      request_(&request),
      ignore_eos_(options.ignore_eos),
      cancel_(cancel),
      sampler_(request.sampling, options.sampling.logit_bias, vocabulary.media, request.seed),
      output_(vocabulary, request.thinking, request.stop, on_piece) {
  generation_.finish = FinishReason::cancelled;
}

Result<void> Decoder::run(std::span<const TokenId> prompt, std::span<float> logits) {
  history_.assign(prompt.begin(), prompt.end());
  generation_.finish = FinishReason::length;
  while (generation_.tokens.size() < request_->max_tokens) {
    if (cancel_ && cancel_->requested()) {
      generation_.finish = FinishReason::cancelled;
      break;
    }
    TERN_TRY(const TokenId token, choose(logits));
    if (!take(token)) break;
    if (generation_.tokens.size() == request_->max_tokens) break;  // nobody asks for its logits
    TERN_TRY_VOID(context_->read({&token, 1}, model::LogitsMode::last, logits));
  }
  if (output_.finish() == Output::Status::cancelled) generation_.finish = FinishReason::cancelled;
  return {};
}

Result<TokenId> Decoder::choose(std::span<const float> logits) {
  const std::size_t thought = generation_.reasoning_tokens;
  const std::string_view last =
      thought == 0 ? std::string_view() : vocabulary_->tokenizer.token_bytes(history_.back());
  if (output_.thinking() && vocabulary_->end_think && request_->budget.spent(thought, last))
    return *vocabulary_->end_think;
  return sampler_.sample(logits, history_, generation_.tokens.size());
}

bool Decoder::take(TokenId token) {
  history_.push_back(token);
  generation_.tokens.push_back(token);
  if (vocabulary_->ends(token) && !ignore_eos_) {
    generation_.finish = FinishReason::stop;
    return false;
  }
  const bool was_thinking = output_.thinking();
  const Output::Status status = output_.push(token);
  if (was_thinking && output_.thinking()) ++generation_.reasoning_tokens;
  if (status == Output::Status::going) return true;
  generation_.finish =
      status == Output::Status::cancelled ? FinishReason::cancelled : FinishReason::stop;
  return false;
}

Generation Decoder::result() && {
  generation_.content = output_.content();
  generation_.reasoning = output_.reasoning();
  return std::move(generation_);
}

}  // namespace tern::engine
