// Byte-pair encoding of one pre-token: bytes to ids by merges in order of rank.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace tern::text {

/// Byte strings with their ids, looked up by content. A string that comes twice keeps its first id.
class TokenTable {
 public:
  /// Room for that many strings.
  void reserve(std::size_t strings, std::size_t bytes);
  /// Whether it is new.
  bool insert(std::string_view bytes, TokenId id);
  std::optional<TokenId> find(std::string_view bytes) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::uint32_t offset, bytes;
    TokenId id;
  };
  std::size_t place(std::string_view bytes) const;
  void grow(std::size_t slots);

  std::string pool_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> slots_;  ///< index into entries_ + 1, open addressing
};

/// (left id, right id) to (rank, merged id).
class MergeTable {
 public:
  static constexpr std::uint32_t kNoRank = UINT32_MAX;
  struct Merge {
    std::uint32_t rank = kNoRank;
    TokenId merged = 0;
  };

  void reserve(std::size_t merges);
  /// A pair that comes twice keeps its last rank, as a Hugging Face map does.
  void insert(TokenId left, TokenId right, Merge merge);
  Merge find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    std::uint64_t pair;
    Merge merge;
  };
  std::size_t place(std::uint64_t pair) const;
  void grow(std::size_t slots);

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

struct BpeModel {
  TokenTable tokens;  ///< by bytes
  MergeTable merges;
  std::array<std::optional<TokenId>, 256> byte_ids;  ///< the ids of single bytes
  bool ignore_merges = false;  ///< a pre-token that is a token as a whole needs no merges
  std::optional<TokenId> unk;  ///< for bytes without a token; without it they are dropped
  bool fuse_unk = false;       ///< neighbouring unks become one
};

/// Encodes pre-tokens; keeps its buffers between calls. One for each thread.
class BpeEncoder {
 public:
  explicit BpeEncoder(const BpeModel& model) : model_(&model) {}

  /// Appends the ids of one pre-token. Merges the pair of lowest rank first, the leftmost of
  /// equals.
  /// @cost O(n log n) for n bytes.
  void encode(std::string_view piece, std::vector<TokenId>& out);

 private:
  struct Symbol {
    TokenId id;
    std::uint32_t rank;  ///< of merging it with the next one
  };

  void initial_ids(std::string_view piece);
  void merge_short();
  void merge_long();

  const BpeModel* model_;
  std::vector<TokenId> ids_;
  std::vector<Symbol> symbols_;
};

/// The GPT-2 spelling of bytes as printable characters, undone. Nothing when a character is not
/// one of its 256. Source: openai/gpt-2, src/encoder.py, bytes_to_unicode.
std::optional<std::string> from_byte_spelling(std::string_view spelled);

}  // namespace tern::text
