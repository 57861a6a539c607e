// Added tokens ("<|im_start|>"): found in raw text before anything else happens to it.
//
// Source: huggingface/tokenizers, added_vocabulary.rs: leftmost longest, in two rounds (tokens that
// want raw text, then those that want normalized text), with lstrip, rstrip and single_word.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace tern::text {

inline constexpr std::size_t kMaxAddedToken = 1024;  ///< bytes: bounds the cost of each position

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool lstrip = false;       ///< takes white space before it along
  bool rstrip = false;       ///< takes white space after it along
  bool single_word = false;  ///< only where no word character touches it
  bool normalized = false;   ///< matched after normalization
};

/// A run of plain text, or the token that stands there.
struct TextSpan {
  std::string_view text;
  std::optional<TokenId> token;
};

/// Finds a set of tokens. Tokens are at most kMaxAddedToken bytes and not empty.
class AddedTokenFinder {
 public:
  void add(const AddedToken& token);
  bool empty() const { return tokens_.empty(); }

  /// The whole of `text` in order; white space that a token strips belongs to its span.
  /// @cost O(text * longest token), in practice O(text): only first bytes start a walk.
  void split(std::string_view text, std::vector<TextSpan>& out) const;

 private:
  struct Node {
    std::map<char, std::uint32_t> children;
    std::uint32_t token = 0;  ///< index into tokens_ + 1
  };
  /// The longest token at the start of `text`.
  const AddedToken* longest(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<bool, 256> first_bytes_{};
};

}  // namespace tern::text
