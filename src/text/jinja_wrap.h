// Text layout for two filters: Python's textwrap and markupsafe's striptags.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace tern::text::jinja {

struct WrapStyle {
  std::size_t width = 79;
  bool break_long_words = true;
  bool break_on_hyphens = true;
};

/// textwrap.wrap() of one line, tabs and white space left as they are.
std::vector<std::string> wrap_line(std::string_view line, const WrapStyle& style);

/// Without comments and tags, white space collapsed, the common entities decoded.
std::string strip_tags(std::string_view text);

}  // namespace tern::text::jinja
