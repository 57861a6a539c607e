// Splits generated tokens into reasoning and answer while they come.
//
// Source: the model's chat template and vLLM's nemotron_v3 reasoning parser: output up to
// </think> is reasoning, the rest is the answer, both stripped. A <tool_call> while still thinking
// ends the reasoning too: the model sometimes leaves </think> out.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace tern::text {

inline constexpr std::string_view kThinkBegin = "<think>";
inline constexpr std::string_view kThinkEnd = "</think>";
inline constexpr std::string_view kToolCallBegin = "<tool_call>";
inline constexpr std::string_view kToolCallEnd = "</tool_call>";

/// The ids of the tags; one that the vocabulary lacks is never seen.
struct ReasoningTokens {
  std::optional<TokenId> think_begin, think_end, tool_call;

  static ReasoningTokens of(const Tokenizer& tokenizer);
};

class ReasoningSplitter {
 public:
  /// A piece of output, never empty.
  struct Part {
    std::string text;
    bool reasoning = false;
    bool operator==(const Part&) const = default;
  };

  /// @param thinking  whether the prompt ends inside <think>
  ReasoningSplitter(ReasoningTokens tokens, bool thinking) : tokens_(tokens), thinking_(thinking) {}

  /// Takes the next token with the text that a StreamDecoder gave for it.
  ///
  /// Joined by kind, the parts are the reasoning and the answer without white space around them
  /// (Python's str.strip): leading white space is dropped, trailing white space waits for more.
  /// The tags that open and end reasoning appear in neither; a <tool_call> is part of the answer.
  /// A think tag elsewhere, once the answer or the reasoning has begun, is ordinary text.
  std::vector<Part> push(TokenId id, std::string_view text);

  /// The end of the output: what the StreamDecoder's finish() gave.
  std::vector<Part> finish(std::string_view text = {});

  /// Whether the next ordinary token would be reasoning.
  bool thinking() const { return thinking_; }

 private:
  void append(std::string_view text, std::vector<Part>& parts);
  void enter(bool thinking);

  ReasoningTokens tokens_;
  bool thinking_;
  bool started_ = false;  ///< whether the current kind has given any text
  std::string held_;      ///< white space that more text would make visible
};

}  // namespace tern::text
