#include "cli/conversation.h"

#include "text/utf8.h"

namespace tern::cli {
namespace {

bool has_role(const json::value& message, std::string_view role) {
  const auto* found = message.as_object().if_contains("role");
  return found != nullptr && found->is_string() && found->get_string() == role;
}

}  // namespace

Result<Conversation> Conversation::from_json(std::string_view text, std::string_view where) {
  TERN_TRY(auto value, parse_json(text, where));
  if (!value.is_array())
    return fail(ErrorCode::corrupt, "expected a JSON array of messages", std::string(where));
  for (std::size_t index = 0; index < value.get_array().size(); ++index) {
    const auto& message = value.get_array()[index];
    const auto* role = message.is_object() ? message.get_object().if_contains("role") : nullptr;
    if (role == nullptr || !role->is_string())
      return fail(ErrorCode::corrupt, "message without a role",
                  std::string(where) + "#/" + std::to_string(index),
                  "each message is an object like {\"role\": \"user\", \"content\": \"...\"}");
  }
  Conversation conversation;
  conversation.messages_ = std::move(value.get_array());
  return conversation;
}

std::string Conversation::to_json() const {
  std::string text = "[";
  for (const auto& message : messages_)
    text += (text.size() == 1 ? "\n  " : ",\n  ") + json::serialize(message);
  return text + (messages_.empty() ? "]\n" : "\n]\n");
}

bool Conversation::has_system() const {
  return !messages_.empty() && has_role(messages_.front(), "system");
}

std::optional<std::string> Conversation::system() const {
  if (!has_system()) return std::nullopt;
  const auto* content = messages_.front().get_object().if_contains("content");
  if (content == nullptr || !content->is_string()) return std::nullopt;
  return std::string(content->get_string().c_str(), content->get_string().size());
}

void Conversation::set_system(std::string_view text) {
  if (has_system()) messages_.erase(messages_.begin());
  if (text.empty()) return;
  messages_.insert(messages_.begin(),
                   json::object{{"role", "system"}, {"content", text::to_valid_utf8(text)}});
}

void Conversation::add_user(std::string_view text) {
  messages_.push_back(json::object{{"role", "user"}, {"content", text::to_valid_utf8(text)}});
}

void Conversation::add_assistant(std::string_view content, std::string_view reasoning) {
  json::object message{{"role", "assistant"}, {"content", content}};
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  messages_.push_back(std::move(message));
}

void Conversation::drop_last() {
  if (!messages_.empty()) messages_.pop_back();
}

bool Conversation::drop_last_answer() {
  std::size_t keep = messages_.size();
  while (keep > 0 && !has_role(messages_[keep - 1], "user")) --keep;
  if (keep == 0) return false;
  messages_.resize(keep);
  return true;
}

void Conversation::clear() {
  if (has_system())
    messages_.resize(1);
  else
    messages_.clear();
}

}  // namespace tern::cli
