// Pieces of text that are read from an empty state, and the tokens in them that are scored.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/forward.h"

namespace tern::eval {

using model::TokenId;

/// Indices [begin, end).
struct Range {
  std::size_t begin = 0, end = 0;
  bool operator==(const Range&) const = default;
  std::size_t size() const { return end - begin; }
};

struct Window {
  std::vector<TokenId> tokens;
  /// Tokens whose prediction from all before them is scored: ascending, disjoint, none empty, and
  /// never token 0, which nothing predicts.
  std::vector<Range> scored;

  std::size_t scored_tokens() const;
};

std::size_t scored_tokens(std::span<const Window> windows);

/// How a text becomes windows.
struct Cutting {
  std::size_t context = 512;  ///< tokens of a window
  /// 0: as llama-perplexity does. Windows follow each other, and only the second half of each is
  /// scored (token context/2 + 1 on), so that every scored token has at least half a window before
  /// it; a rest that fills no window is left out.
  /// N: as in the transformers guide to perplexity. Windows begin every N tokens; each scores what
  /// the one before it did not reach, the last one is shorter. N = context scores every token but
  /// the first of each window, as mlx_lm.perplexity does.
  std::size_t stride = 0;
  std::size_t windows = 0;  ///< at most so many; 0: all
};

/// @param where  names the text in errors
/// @error usage  a context below 2, a stride over the context, a text without a scored token
Result<std::vector<Window>> cut(std::span<const TokenId> text, const Cutting& cutting,
                                std::string_view where);

}  // namespace tern::eval
