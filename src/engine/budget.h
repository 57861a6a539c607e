// How long a model may think.
#pragma once
#include <cstddef>
#include <string_view>

namespace tern::engine {

/// After `tokens` of thought a newline or the end of a sentence is waited for, through at most
/// `grace` more, and then the thought is closed.
struct ReasoningBudget {
  std::size_t tokens = 0;
  std::size_t grace = 0;

  /// Whether </think> must come now.
  /// @param thought    tokens so far
  /// @param last_text  text of the last of them; unused when there is none
  bool spent(std::size_t thought, std::string_view last_text) const;
};

/// Whether a thought may break off after `text`: it ends with a newline or, closing quotes,
/// brackets and spaces apart, with a full stop, exclamation or question mark (Chinese and Japanese
/// ones too).
bool ends_sentence(std::string_view text);

}  // namespace tern::engine
