// Substring search in linear time, whatever the text and the needle.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace tern::text::jinja {

/// Knuth, Morris and Pratt for needles that a plain search could take quadratic time for.
class Searcher {
 public:
  explicit Searcher(std::string_view needle);

  /// First match at or after `from`, or npos.
  std::size_t find(std::string_view text, std::size_t from = 0) const;
  /// Last match, or npos.
  static std::size_t find_last(std::string_view text, std::string_view needle);

 private:
  std::string_view needle_;
  std::vector<std::uint32_t> border_;  ///< of each prefix: its longest proper border
};

}  // namespace tern::text::jinja
