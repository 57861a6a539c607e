// From generated tokens to the pieces of text that the caller sees.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <tern/tern.hpp>

#include "engine/vocabulary.h"
#include "text/reasoning.h"
#include "text/stop.h"
#include "text/tokenizer.h"

namespace tern::engine {

/// Tells reasoning from content, holds back what may become a stop text, and hands out whole
/// characters. Special tokens have no text.
class Output {
 public:
  enum class Status : std::uint8_t { going, stopped, cancelled };

  /// @param thinking  whether the prompt leaves the model thinking; nothing: the prompt knows no
  ///                  thinking, and everything is content, as it comes, white space included
  /// @param stop      texts that end the content
  /// @param on_piece  may be empty; must outlive it, as must the vocabulary
  Output(const Vocabulary& vocabulary, std::optional<bool> thinking, text::StopMatcher stop,
         const OnPiece& on_piece);

  /// stopped: a stop text appeared. cancelled: the callback said no. Both are final.
  Status push(TokenId token);
  /// Hands out what was held back, unless the end came already. Call it once, at the end.
  Status finish();

  bool thinking() const { return splitter_ && splitter_->thinking(); }
  const std::string& content() const { return content_; }
  const std::string& reasoning() const { return reasoning_; }

 private:
  using Parts = std::vector<text::ReasoningSplitter::Part>;

  void show(const Parts& parts);
  void show_content(std::string_view text);
  void emit(std::string_view text, bool reasoning);

  const text::Tokenizer* tokenizer_;
  const OnPiece* on_piece_;
  text::StreamDecoder decoder_;
  std::optional<text::ReasoningSplitter> splitter_;
  text::StopMatcher stop_;
  Status status_ = Status::going;
  std::string content_, reasoning_;
};

}  // namespace tern::engine
