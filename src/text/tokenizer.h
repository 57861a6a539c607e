// Byte-level BPE as the model family uses it: text to token ids and back.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tern::text {

using TokenId = std::uint32_t;

/// What may become a special token (`<|im_start|>`, `<image>`, ...) when text is encoded.
enum class Specials : std::uint8_t {
  parse,   ///< rendered prompts: added tokens are matched, leftmost longest
  ignore,  ///< user text: nothing is; "<|im_end|>" becomes ordinary tokens
};

/// Immutable after construction; safe to share between threads.
class Tokenizer {
 public:
  /// From the text of a Hugging Face tokenizer.json. `where` names it in errors.
  ///
  /// Known are byte-level BPE; pre-tokenizers Split (any expression that pattern_syntax.h lists),
  /// Digits and ByteLevel, the last one ByteLevel; normalizer NFC. Post-processors never add a
  /// token here, whatever their template says; truncation and padding are not applied.
  /// Ids may come in any order but must leave no hole. A string that comes twice keeps its first
  /// id.
  /// @error corrupt      not what its own format asks for; with the place.
  /// @error not_found    an added token or a Split lacks a field.
  /// @error unsupported  a model, pre-tokenizer or normalizer that this engine does not know.
  /// @error too_large    over a limit of size, depth or complexity.
  static Result<Tokenizer> from_json(std::string_view text, std::string_view where);

  /// From GGUF metadata (tokenizer.ggml.*).
  /// @param types   3 = control, 4 = user defined; empty means all normal
  /// @param merges  "left right" in order of rank
  /// @param pre     tokenizer.ggml.pre; "pixtral" and "tekken" are the family's (Tekken expression)
  static Result<Tokenizer> from_gguf(std::span<const std::string_view> tokens,
                                     std::span<const std::uint64_t> types,
                                     std::span<const std::string_view> merges, std::string_view pre,
                                     std::string_view where);

  /// Ids of `text`, any bytes. Never adds a BOS.
  ///
  /// Invalid UTF-8 splits like U+FFFD, one for each maximal subpart, but keeps its bytes: decode()
  /// gives any text back, unless the file asks for NFC or a prefix space, or lacks a token for one
  /// of the bytes (such a byte becomes unk, or nothing where there is no unk).
  /// @cost O(n log n) at worst for n bytes, and no recursion
  std::vector<TokenId> encode(std::string_view text, Specials specials = Specials::parse) const;

  /// Bytes of the ids, concatenated. Ids outside the vocabulary give nothing.
  std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;

  /// Raw bytes of one token (an added token's own text).
  std::string_view token_bytes(TokenId id) const;
  /// Whether `id` is an added token marked special (skipped by skip_special).
  bool is_special(TokenId id) const;
  /// The id of an added token by its text, for example "<think>".
  std::optional<TokenId> special_id(std::string_view text) const;
  /// One more than the largest id.
  std::size_t vocabulary_size() const;

  struct Data;

 private:
  explicit Tokenizer(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

/// Turns tokens into text as they come and never emits part of a character: bytes that do not yet
/// complete one wait; bytes that never can become U+FFFD, once for each maximal subpart.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  /// Text that `id` completes, maybe empty. Always valid UTF-8.
  std::string push(TokenId id);
  /// What is left at the end: U+FFFD for an unfinished character, else empty.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;
};

}  // namespace tern::text
