#include "eval/windows.h"

#include <algorithm>
#include <string>

namespace tern::eval {
namespace {

std::vector<TokenId> copy(std::span<const TokenId> text, std::size_t begin, std::size_t end) {
  return {text.begin() + static_cast<std::ptrdiff_t>(begin),
          text.begin() + static_cast<std::ptrdiff_t>(end)};
}

std::vector<Window> cut_halves(std::span<const TokenId> text, std::size_t context,
                               std::size_t most) {
  std::vector<Window> windows;
  for (std::size_t begin = 0; begin + context <= text.size() && windows.size() < most;
       begin += context)
    windows.push_back({copy(text, begin, begin + context), {{context / 2 + 1, context}}});
  return windows;
}

std::vector<Window> cut_strided(std::span<const TokenId> text, std::size_t context,
                                std::size_t stride, std::size_t most) {
  std::vector<Window> windows;
  std::size_t reached = 0;
  for (std::size_t begin = 0; begin < text.size() && windows.size() < most; begin += stride) {
    const std::size_t end = std::min(begin + context, text.size());
    const std::size_t first = std::max(reached, begin + 1) - begin;
    if (first < end - begin) windows.push_back({copy(text, begin, end), {{first, end - begin}}});
    reached = end;
    if (end == text.size()) break;
  }
  return windows;
}

}  // namespace

std::size_t Window::scored_tokens() const {
  std::size_t count = 0;
  for (const Range& range : scored) count += range.size();
  return count;
}

std::size_t scored_tokens(std::span<const Window> windows) {
  std::size_t count = 0;
  for (const Window& window : windows) count += window.scored_tokens();
  return count;
}

Result<std::vector<Window>> cut(std::span<const TokenId> text, const Cutting& cutting,
                                std::string_view where) {
  const auto [context, stride, limit] = cutting;
  const std::size_t least = stride == 0 ? 3 : 2;
  if (context < least)
    return fail(ErrorCode::usage,
                "a window of " + std::to_string(context) + " tokens scores nothing, it must have " +
                    std::to_string(least) + " or more",
                "context");
  if (stride > context)
    return fail(ErrorCode::usage,
                "a stride of " + std::to_string(stride) + " leaves gaps between windows of " +
                    std::to_string(context) + " tokens",
                "stride");
  if (text.empty()) return fail(ErrorCode::usage, "the text is empty", std::string(where));
  const std::size_t most = limit == 0 ? text.size() : limit;
  auto windows =
      stride == 0 ? cut_halves(text, context, most) : cut_strided(text, context, stride, most);
  if (!windows.empty()) return windows;
  return fail(ErrorCode::usage,
              "the text has " + std::to_string(text.size()) + " tokens, too few for a window of " +
                  std::to_string(context),
              std::string(where), "give a longer text, a smaller context, or a stride");
}

}  // namespace tern::eval
