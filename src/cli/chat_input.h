// What was typed at the chat's prompt: a command, or a message of one or several lines.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace tern::cli {

/// "/name rest"; "//text" is a message that starts with a slash.
struct ChatCommand {
  std::string name;      ///< without the slash
  std::string argument;  ///< trimmed
};
std::optional<ChatCommand> parse_chat_command(std::string_view line);

/// Puts lines together: a line that ends in a backslash goes on in the next one; from """ to """
/// everything belongs to one message.
class MessageLines {
 public:
  /// @return the message, when `line` completes one
  std::optional<std::string> add(std::string_view line);
  /// More lines are expected.
  bool open() const { return quoted_ || continued_; }
  /// What is there, at the end of the input; forgets it.
  std::string take();

 private:
  std::string text_;
  bool quoted_ = false;
  bool continued_ = false;
};

}  // namespace tern::cli
