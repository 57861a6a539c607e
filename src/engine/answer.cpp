#include "engine/answer.h"

#include <algorithm>

namespace tern::engine {
namespace {

// A point to go back to is only worth its memory near the end of the prompt.
constexpr std::size_t kLongestTurnHeader = 64;

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

Answer::Answer(Engine& engine, Context& context, std::span<const TokenId> prompt, Request request,
               const GenerateOptions& options, const OnPiece& on_piece, const Cancel* cancel)
    : context_(&context),
      vocabulary_(&engine.vocabulary()),
      request_(std::move(request)),
      ignore_eos_(options.ignore_eos),
      cancel_(cancel),
      sampler_(request_.sampling, options.sampling.logit_bias, vocabulary_->media, request_.seed),
      output_(*vocabulary_, request_.thinking, request_.stop, on_piece),
      history_(prompt.begin(), prompt.end()),
      prompt_tokens_(prompt.size()),
      turn_(turning_point(prompt, *vocabulary_)) {}

Result<Answer> Answer::begin(Engine& engine, Context& context, std::span<const TokenId> prompt,
                             Request request, const GenerateOptions& options,
                             const OnPiece& on_piece, const Cancel* cancel) {
  Answer answer(engine, context, prompt, std::move(request), options, on_piece, cancel);
  TERN_TRY(answer.kept_, context.keep_start_of(prompt));
  answer.read_ = answer.kept_;
  return answer;
}

std::optional<model::Part> Answer::next(std::size_t most) {
  if (!ended_ && cancelled()) end(FinishReason::cancelled);
  if (ended_) return std::nullopt;
  std::size_t end = std::min(history_.size(), read_ + most);
  if (reading()) {
    if (read_ == turn_) context_->mark();
    if (read_ < turn_) end = std::min(end, turn_);
  }
  return context_->part(std::span(history_).subspan(read_, end - read_),
                        end == history_.size() ? model::LogitsMode::last : model::LogitsMode::none);
}

Result<void> Answer::read(const model::Part& part) {
  TERN_TRY_VOID(context_->took(part));
  const bool prompt = reading();
  read_ += part.tokens.size();
  if (prompt) answering_ = Clock::now();
  if (part.mode == model::LogitsMode::none) return {};
  if (cancelled()) {
    ending_ = FinishReason::cancelled;
  } else if (request_.max_tokens == 0) {
    ending_ = FinishReason::length;
  } else {
    TERN_TRY(chosen_, choose(part.logits));
  }
  return {};
}

Result<TokenId> Answer::choose(std::span<const float> logits) {
  const std::size_t thought = generation_.reasoning_tokens;
  const std::string_view last =
      thought == 0 ? std::string_view() : vocabulary_->tokenizer.token_bytes(history_.back());
  if (output_.thinking() && vocabulary_->end_think && request_.budget.spent(thought, last))
    return *vocabulary_->end_think;
  return sampler_.sample(logits, history_, generation_.tokens.size());
}

void Answer::show() {
  if (ending_) return end(*ending_);
  if (!chosen_) return;
  const TokenId token = *chosen_;
  chosen_.reset();
  history_.push_back(token);
  generation_.tokens.push_back(token);
  if (vocabulary_->ends(token) && !ignore_eos_) return end(FinishReason::stop);
  const bool was_thinking = output_.thinking();
  const Output::Status status = output_.push(token);
  if (was_thinking && output_.thinking()) ++generation_.reasoning_tokens;
  if (status == Output::Status::cancelled) return end(FinishReason::cancelled);
  if (status == Output::Status::stopped) return end(FinishReason::stop);
  // Nobody asks for the logits of the last token.
  if (generation_.tokens.size() == request_.max_tokens) end(FinishReason::length);
}

void Answer::end(FinishReason reason) {
  ended_ = true;
  generation_.finish = reason;
  if (output_.finish() == Output::Status::cancelled) generation_.finish = FinishReason::cancelled;
}

Generation Answer::result() && {
  generation_.content = output_.content();
  generation_.reasoning = output_.reasoning();
  generation_.prompt_tokens = prompt_tokens_;
  generation_.reused_tokens = kept_;
  generation_.seed = request_.seed;
  generation_.prefill_time = answering_ - started_;
  generation_.decode_time = Clock::now() - answering_;
  return std::move(generation_);
}

}  // namespace tern::engine
