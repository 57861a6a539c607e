#include "engine/output.h"

namespace tern::engine {

Output::Output(const Vocabulary& vocabulary, std::optional<bool> thinking, text::StopMatcher stop,
               const OnPiece& on_piece)
    : tokenizer_(&vocabulary.tokenizer),
      on_piece_(&on_piece),
      decoder_(vocabulary.tokenizer),
      stop_(std::move(stop)) {
  if (thinking) splitter_.emplace(text::ReasoningTokens::of(*tokenizer_), *thinking);
}

Output::Status Output::push(TokenId token) {
  const std::string text = tokenizer_->is_special(token) ? "" : decoder_.push(token);
  if (splitter_) {
    show(splitter_->push(token, text));
  } else {
    show_content(text);
  }
  return status_;
}

Output::Status Output::finish() {
  if (status_ != Status::going) return status_;
  const std::string rest = decoder_.finish();
  if (splitter_) {
    show(splitter_->finish(rest));
  } else {
    show_content(rest);
  }
  if (status_ == Status::going) emit(stop_.finish(), false);
  return status_;
}

void Output::show(const Parts& parts) {
  for (const auto& [text, reasoning] : parts) {
    if (status_ != Status::going) return;
    if (reasoning) {
      emit(text, true);
    } else {
      show_content(text);
    }
  }
}

void Output::show_content(std::string_view text) {
  emit(stop_.push(text), false);
  if (status_ == Status::going && stop_.matched()) status_ = Status::stopped;
}

void Output::emit(std::string_view text, bool reasoning) {
  if (text.empty()) return;
  (reasoning ? reasoning_ : content_) += text;
  if (*on_piece_ && (*on_piece_)({.text = text, .reasoning = reasoning}) == Continue::no)
    status_ = Status::cancelled;
}

}  // namespace tern::engine
