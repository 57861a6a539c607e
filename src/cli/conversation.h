// The turns of a chat, as OpenAI-shaped messages.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace tern::cli {

class Conversation {
 public:
  /// From a JSON array of messages. @error corrupt  anything else, naming the message.
  static Result<Conversation> from_json(std::string_view text, std::string_view where);

  /// One message on each line, valid JSON.
  std::string to_json() const;

  bool empty() const { return messages_.empty(); }
  std::size_t size() const { return messages_.size(); }

  /// The system message, or nothing.
  std::optional<std::string> system() const;
  /// Sets or replaces it; "" removes it.
  void set_system(std::string_view text);

  void add_user(std::string_view text);
  void add_assistant(std::string_view content, std::string_view reasoning);
  /// Takes back the last message.
  void drop_last();
  /// Takes back everything after the last user message.
  /// @return whether there is such a message, to be answered again.
  bool drop_last_answer();
  /// Forgets everything but the system message.
  void clear();

 private:
  bool has_system() const;
  json::array messages_;
};

}  // namespace tern::cli
