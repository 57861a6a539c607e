// Syntax of pre-tokenizer expressions: text to tree.
//
// The dialect is Oniguruma's Ruby syntax, which Hugging Face tokenizers use, as far as it can be
// matched in linear time: alternation, groups, (?i:...), classes with ranges, negation, nesting and
// intersection, \p{..}, the usual escapes, anchors, greedy, lazy and possessive quantifiers, and
// looks at single characters or fixed sequences of them.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/unicode.h"

namespace tern::text {

inline constexpr std::size_t kMaxExpression = 8192;  ///< bytes of one expression
inline constexpr std::size_t kMaxPatternDepth = 50;  ///< nesting of groups and classes
inline constexpr std::uint32_t kMaxRepeat = 1000;    ///< the n and m of {n,m}
inline constexpr std::uint32_t kUnbounded = UINT32_MAX;

/// What has to stand before or after a position: one of several sequences of sets.
struct PatternLook {
  bool ahead = true;
  bool negative = false;
  std::vector<std::vector<std::uint32_t>> alternatives;  ///< indexes into PatternTree::sets
};

struct PatternNode {
  enum class Kind : std::uint8_t { empty, set, sequence, choice, repeat, look };
  Kind kind = Kind::empty;
  std::uint32_t index = 0;                   ///< of a set or a look
  std::vector<std::uint32_t> children = {};  ///< indexes into PatternTree::nodes
  std::uint32_t min = 0, max = 0;            ///< of a repeat
  bool lazy = false;
};

struct PatternTree {
  std::vector<PatternNode> nodes;
  std::vector<CodeSet> sets;  ///< all different
  std::vector<PatternLook> looks;
  std::uint32_t root = 0;
};

/// @error corrupt      not an expression. @error unsupported  a construct that is not listed above.
/// @error too_large    over a limit. All of them with the byte offset into the expression.
Result<PatternTree> parse_pattern(std::string_view expression, std::string_view where);

}  // namespace tern::text
