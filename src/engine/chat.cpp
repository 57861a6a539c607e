#include "engine/chat.h"

#include <fmt/format.h>

#include <array>

#include "engine/vocabulary.h"

namespace tern::engine {
namespace {

using formats::Checkpoint;

constexpr std::array<std::string_view, 7> kSpecialTokens = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

struct Sources {
  std::optional<std::string> main = {};
  std::optional<std::string> tools = {};  ///< for conversations with tools, else `main`
  std::string where = {};
};

/// "chat_template": a text, or [{"name": "default", "template": ...}, {"name": "tool_use", ...}].
Result<Sources> named_templates(const json::object& config, std::string where) {
  Sources sources = {.where = std::move(where)};
  const json::value* value = config.if_contains("chat_template");
  if (!value || value->is_null()) return sources;
  if (value->is_string()) {
    sources.main = value->get_string();
    return sources;
  }
  if (!value->is_array())
    return fail(ErrorCode::corrupt, "chat_template is neither a text nor a list", sources.where);
  const json::array& list = value->get_array();
  for (const json::value& entry : list) {
    if (!entry.is_object())
      return fail(ErrorCode::corrupt, "chat_template lists something that is no object",
                  sources.where);
    TERN_TRY(const std::string_view name, get_string(entry.get_object(), "name", sources.where));
    TERN_TRY(const std::string_view source,
             get_string(entry.get_object(), "template", sources.where));
    if (name == "default" || list.size() == 1) sources.main = source;
    if (name == "tool_use") sources.tools = source;
  }
  return sources;
}

Result<Sources> find_sources(const Checkpoint& checkpoint,
                             const std::optional<json::object>& tokenizer_config) {
  if (checkpoint.container() == formats::Container::gguf) {
    constexpr std::string_view kKey = "tokenizer.chat_template";
    Sources sources = {.where = fmt::format("{}: {}", checkpoint.display_name(), kKey)};
    if (checkpoint.metadata().find(kKey)) {
      TERN_TRY(sources.main, checkpoint.metadata().get_string(kKey));
    }
    return sources;
  }
  constexpr std::string_view kFile = "chat_template.jinja";
  TERN_TRY(const std::optional<std::string_view> file, checkpoint.side_file(kFile));
  if (file) return Sources{std::string(*file), std::nullopt, side_name(checkpoint, kFile)};
  if (!tokenizer_config) return Sources{};
  return named_templates(*tokenizer_config, side_name(checkpoint, "tokenizer_config.json"));
}

/// Texts of the special tokens, as transformers' special_tokens_map has them.
Result<json::object> special_tokens(const Checkpoint& checkpoint, const text::Tokenizer& tokenizer,
                                    const std::optional<json::object>& tokenizer_config) {
  json::object tokens;
  if (checkpoint.container() == formats::Container::gguf) {
    for (const std::string_view name : {"bos", "eos"}) {
      const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
      if (!checkpoint.metadata().find(key)) continue;
      TERN_TRY(const std::uint64_t id, checkpoint.metadata().get_uint(key));
      if (id < tokenizer.vocabulary_size())
        tokens[fmt::format("{}_token", name)] = tokenizer.token_bytes(static_cast<TokenId>(id));
    }
    return tokens;
  }
  TERN_TRY(const auto map, side_object(checkpoint, "special_tokens_map.json"));
  for (const auto* object : {&map, &tokenizer_config}) {
    for (const std::string_view key : kSpecialTokens) {
      const auto text = *object ? special_token(**object, key) : std::nullopt;
      if (text) tokens[key] = *text;
    }
  }
  return tokens;
}

/// Joins a list of text parts; anything else stays as it is. Templates print a list that they do
/// not expect in Python's notation.
void join_text_parts(json::value& content) {
  if (!content.is_array()) return;
  std::string joined;
  for (const json::value& part : content.get_array()) {
    const json::object* object = part.if_object();
    const json::value* type = object ? object->if_contains("type") : nullptr;
    const json::value* text = object ? object->if_contains("text") : nullptr;
    if (!type || *type != "text" || !text || !text->is_string()) return;
    joined += text->get_string();
  }
  content = joined;
}

/// Clients send the arguments of a tool call as JSON text; templates iterate over an object.
Result<void> parse_arguments(json::value& tool_call, const std::string& where) {
  json::object* call = tool_call.if_object();
  if (!call) return fail(ErrorCode::usage, "a tool call must be an object", where);
  if (json::value* function = call->if_contains("function")) call = function->if_object();
  json::value* arguments = call ? call->if_contains("arguments") : nullptr;
  if (!arguments || !arguments->is_string()) return {};
  const std::string text(arguments->get_string());
  if (text.empty()) {
    *arguments = json::object();
    return {};
  }
  TERN_TRY(json::value parsed, parse_json(text, where + "/function/arguments"));
  if (!parsed.is_object())
    return fail(ErrorCode::usage, "arguments must be a JSON object", where + "/function/arguments");
  *arguments = std::move(parsed);
  return {};
}

Result<void> normalize(json::value& message, const std::string& where) {
  json::object* object = message.if_object();
  if (!object) return fail(ErrorCode::usage, "a message must be an object", where);
  const json::value* role = object->if_contains("role");
  if (!role || !role->is_string() || role->get_string().empty())
    return fail(ErrorCode::usage, "a message needs a role", where + "/role",
                "system, user, assistant or tool");
  json::value* content = object->if_contains("content");
  if (content && role->get_string() != "user") join_text_parts(*content);
  json::value* calls = object->if_contains("tool_calls");
  if (!calls || calls->is_null()) return {};
  if (!calls->is_array())
    return fail(ErrorCode::usage, "tool_calls must be an array", where + "/tool_calls");
  std::size_t index = 0;
  for (json::value& call : calls->get_array())
    TERN_TRY_VOID(parse_arguments(call, fmt::format("{}/tool_calls/{}", where, index++)));
  return {};
}

/// What transformers hands to a template.
Result<json::object> make_variables(json::array messages, const json::object& special_tokens,
                                    const ChatTemplateOptions& options) {
  json::object variables = special_tokens;
  variables["messages"] = std::move(messages);
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = options.add_generation_prompt;
  variables["enable_thinking"] = options.enable_thinking;
  if (!options.tools_json.empty()) {
    TERN_TRY(json::value tools, parse_json(options.tools_json, "tools_json"));
    if (!tools.is_array())
      return fail(ErrorCode::usage, "tools must be a JSON array", "tools_json");
    if (!tools.get_array().empty()) variables["tools"] = std::move(tools);
  }
  if (!options.variables_json.empty()) {
    TERN_TRY(json::value extra, parse_json(options.variables_json, "variables_json"));
    if (!extra.is_object())
      return fail(ErrorCode::usage, "template variables must be a JSON object", "variables_json");
    for (auto& [key, value] : extra.get_object()) variables[key] = std::move(value);
  }
  return variables;
}

}  // namespace

Result<Chat> Chat::load(const Checkpoint& checkpoint, const text::Tokenizer& tokenizer) {
  TERN_TRY(const auto tokenizer_config, side_object(checkpoint, "tokenizer_config.json"));
  TERN_TRY(const Sources sources, find_sources(checkpoint, tokenizer_config));
  Chat chat;
  chat.model_ = checkpoint.display_name();
  if (sources.main) chat.template_ = text::ChatTemplate::parse(*sources.main, sources.where);
  chat.source_ = sources.main.value_or("");
  if (sources.tools)
    chat.tools_template_ = text::ChatTemplate::parse(*sources.tools, sources.where);
  TERN_TRY(chat.special_tokens_, special_tokens(checkpoint, tokenizer, tokenizer_config));
  return chat;
}

Result<std::string> Chat::render(json::array messages, const ChatTemplateOptions& options) const {
  if (messages.empty()) return fail(ErrorCode::usage, "there are no messages", "messages");
  std::size_t index = 0;
  for (json::value& message : messages)
    TERN_TRY_VOID(normalize(message, fmt::format("messages/{}", index++)));
  TERN_TRY(const json::object variables,
           make_variables(std::move(messages), special_tokens_, options));
  if (!options.chat_template.empty()) {
    TERN_TRY(const auto own, text::ChatTemplate::parse(options.chat_template, "chat_template"));
    return own.render(variables);
  }
  const bool with_tools = !variables.at("tools").is_null();
  const auto& chosen = with_tools && tools_template_ ? tools_template_ : template_;
  if (!chosen)
    return fail(ErrorCode::not_found, "the model has no chat template", model_,
                "give a rendered prompt, or put chat_template.jinja beside the weights");
  if (!*chosen) return std::unexpected(chosen->error());
  return (*chosen)->render(variables);
}

Result<std::string> Chat::render_json(std::string_view messages,
                                      const ChatTemplateOptions& options) const {
  TERN_TRY(json::value parsed, parse_json(messages, "messages"));
  if (!parsed.is_array())
    return fail(ErrorCode::usage, "messages must be a JSON array", "messages");
  return render(std::move(parsed.get_array()), options);
}

Result<std::string> Chat::render(std::span<const Message> messages,
                                 const ChatTemplateOptions& options) const {
  json::array list;
  for (const Message& message : messages) {
    json::object object = {{"role", message.role}, {"content", message.content}};
    if (!message.reasoning_content.empty()) object["reasoning_content"] = message.reasoning_content;
    list.push_back(std::move(object));
  }
  return render(std::move(list), options);
}

std::map<std::string, std::string> Chat::special_token_texts() const {
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : special_tokens_)
    if (const json::string* text = value.if_string()) texts.emplace(key, *text);
  return texts;
}

}  // namespace tern::engine
