// Pre-tokenization: the pieces of a text that merges do not cross.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/pattern.h"

namespace tern::text {

/// What happens to the matches of a Split; the names are those of Hugging Face tokenizers.
enum class SplitBehavior : std::uint8_t {
  removed,
  isolated,
  merged_with_previous,
  merged_with_next,
  contiguous,
};

/// GPT-2's expression, which ByteLevel with use_regex implies.
inline constexpr std::string_view kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Pieces of a text, and the text that had to be made for them.
struct Pieces {
  std::vector<std::string_view> pieces;
  std::deque<std::string> made;
};

/// Stages that run one after another, each on the pieces of the one before.
class PreTokenizer {
 public:
  /// @error as Pattern::compile.
  Result<void> add_split(std::string_view expression, SplitBehavior behavior, bool invert,
                         std::string_view where);
  /// A space before every piece that does not begin with one.
  void add_prefix_space();
  std::size_t stages() const { return stages_.size(); }

  /// Replaces `out`. The pieces point into `text` or into `out.made`. Without stages the text is
  /// one piece. Empty pieces are left out.
  /// @cost O(text) for each stage.
  void split(std::string_view text, Pieces& out) const;

 private:
  struct Stage {
    enum class Kind : std::uint8_t { pattern, tekken, prefix_space };
    Kind kind = Kind::pattern;
    std::vector<Pattern> pattern = {};  ///< one, for Kind::pattern
    SplitBehavior behavior = SplitBehavior::isolated;
    bool invert = false;
  };
  static void run(const Stage& stage, std::string_view piece, Pieces& out);

  std::vector<Stage> stages_;
};

}  // namespace tern::text
