// Pre-tokenizer expressions, matched in linear time and without recursion on the text.
//
// The expression becomes a small program of consuming and branching steps. A backtracker runs it
// with leftmost-first priority, as Perl and Oniguruma do, and remembers every (branch, position)
// that has failed, across all matches in a text: no pair is tried twice, so the whole search costs
// at most program size times text length. (A
// failure does not depend on where the match began, because there are no captures.)
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tern::text {

/// A compiled expression. Immutable; safe to share between threads.
class Pattern {
 public:
  /// @error as parse_pattern, and too_large when the program gets too big.
  static Result<Pattern> compile(std::string_view expression, std::string_view where);

  struct Program;
  const Program& program() const { return *program_; }

 private:
  explicit Pattern(std::shared_ptr<const Program> program) : program_(std::move(program)) {}
  std::shared_ptr<const Program> program_;
};

struct PatternMatch {
  std::size_t begin = 0, end = 0;  ///< bytes
  bool operator==(const PatternMatch&) const = default;
};

/// The matches of a pattern in a text, one after another, none overlapping.
///
/// The text may hold any bytes; a maximal invalid subpart of UTF-8 counts as one U+FFFD. An empty
/// match right after another match is passed over, as in Hugging Face tokenizers.
class PatternSearch {
 public:
  /// Keeps references to both.
  PatternSearch(const Pattern& pattern, std::string_view text);

  /// @cost over all calls: O(program size * text size) time; memory O(text size), a few bytes for
  ///       each character.
  std::optional<PatternMatch> next();

 private:
  struct Frame {
    std::uint32_t resume;  ///< the step to try at `position`
    std::uint32_t loop;    ///< the loop that this frame takes back from, or kNoLoop
    std::size_t position, lowest;
  };
  static constexpr std::uint32_t kNoLoop = UINT32_MAX;

  std::optional<std::size_t> match_at(std::size_t start);
  bool backtrack(std::uint32_t& step, std::size_t& position);
  bool look(std::uint32_t index, std::size_t position) const;
  bool failed_before(std::uint32_t slot, std::size_t position) const;
  void remember(std::uint32_t slot, std::size_t position);
  void advance_to(std::size_t position);

  const Pattern::Program* program_;
  std::string_view text_;
  std::vector<std::uint16_t> symbols_;  ///< of each character, then the end symbol
  std::vector<std::uint8_t> failed_;    ///< bits, row_bytes for each position
  std::vector<Frame> stack_;
  std::size_t at_ = 0, at_byte_ = 0;  ///< where the next search begins, in characters and bytes
  std::optional<std::size_t> last_end_;
};

}  // namespace tern::text
