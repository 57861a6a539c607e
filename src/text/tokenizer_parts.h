// What a tokenizer is made of, whichever file it comes from, and the checks that both share.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace tern::text {

inline constexpr std::uint64_t kMaxTokenId = std::uint64_t{1} << 24;

/// The contents of a file, unproved. Strings are spelled as files spell them: GPT-2's printable
/// characters for bytes, except in added tokens, which are plain text.
struct TokenizerParts {
  struct Token {
    std::string_view spelled;
    std::uint64_t id = 0;
  };
  std::vector<Token> vocabulary;
  std::vector<std::pair<std::string_view, std::string_view>> merges;  ///< in order of rank
  std::vector<AddedToken> added;
  PreTokenizer pre_tokenizer;
  std::optional<std::string> unk_token;
  bool fuse_unk = false;
  bool ignore_merges = false;
  bool nfc = false;
};

struct Tokenizer::Data {
  struct Text {
    std::uint32_t offset = 0, bytes = 0;
    bool present = false, special = false;
  };

  /// @error corrupt    ids above kMaxTokenId, used twice or left out; merges of or into strings
  ///                   that are no tokens; an added token that the vocabulary has under another id.
  /// @error too_large  token texts beyond 1 GiB.
  static Result<std::shared_ptr<const Data>> build(TokenizerParts parts, std::string_view where);

  BpeModel bpe;
  PreTokenizer pre_tokenizer;
  AddedTokenFinder raw_added, normalized_added;
  std::map<std::string, TokenId, std::less<>> added_ids;
  bool nfc = false;

  std::string pool;         ///< bytes of all tokens
  std::vector<Text> texts;  ///< by id
};

}  // namespace tern::text
