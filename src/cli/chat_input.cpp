#include "cli/chat_input.h"

#include <utility>

namespace tern::cli {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

std::optional<ChatCommand> parse_chat_command(std::string_view line) {
  line = trimmed(line);
  if (!line.starts_with('/') || line.starts_with("//")) return std::nullopt;
  const auto end = line.find_first_of(" \t");
  ChatCommand command;
  command.name = line.substr(1, end == std::string_view::npos ? end : end - 1);
  if (end != std::string_view::npos) command.argument = trimmed(line.substr(end));
  return command;
}

std::optional<std::string> MessageLines::add(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (!open() && trimmed(line).starts_with(kQuotes)) {
    quoted_ = true;
    line = trimmed(line).substr(kQuotes.size());
    if (line.empty()) return std::nullopt;
  } else if (!open() && line.starts_with("//")) {
    line.remove_prefix(1);
  }
  if (quoted_) {
    const auto end = line.find(kQuotes);
    if (end == std::string_view::npos) {
      text_ += std::string(line) + "\n";
      return std::nullopt;
    }
    text_ += line.substr(0, end);
    if (text_.ends_with('\n')) text_.pop_back();
    return take();
  }
  if (line.ends_with('\\')) {
    continued_ = true;
    text_ += std::string(line.substr(0, line.size() - 1)) + "\n";
    return std::nullopt;
  }
  text_ += line;
  return take();
}

std::string MessageLines::take() {
  quoted_ = continued_ = false;
  return std::exchange(text_, {});
}

}  // namespace tern::cli
