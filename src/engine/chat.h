// From a conversation to the prompt, by the model's own chat template.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tern/tern.hpp>

#include "base/error.h"
#include "base/json.h"
#include "formats/checkpoint.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tern::engine {

/// Immutable; safe to share between threads.
class Chat {
 public:
  /// Finds the template: chat_template.jinja, tokenizer_config.json's "chat_template" (a string or
  /// a list of named ones), or GGUF's tokenizer.chat_template; and the texts of bos_token,
  /// eos_token and their like, which transformers hands to templates. A model without a template,
  /// or with one that does not parse, loads: what is wrong is said when a template is asked for.
  /// @error corrupt  a side file that is not what its format asks for
  static Result<Chat> load(const formats::Checkpoint& checkpoint, const text::Tokenizer& tokenizer);

  /// @param messages  [{"role", "content", ...}], as OpenAI's API has them: arguments of tool calls
  ///                  may be JSON texts, contents may be lists of parts
  /// @error not_found  the model has no template
  /// @error usage      messages, tools or variables of another shape, with a JSON pointer; or what
  ///                   the template itself refuses
  /// @error corrupt    JSON texts in options or arguments that do not parse
  Result<std::string> render(json::array messages, const ChatTemplateOptions& options) const;

  /// The same for messages as JSON text.
  Result<std::string> render_json(std::string_view messages,
                                  const ChatTemplateOptions& options) const;

  /// The same for plain turns.
  Result<std::string> render(std::span<const Message> messages,
                             const ChatTemplateOptions& options) const;

  /// The template's text; empty when the model has none.
  const std::string& source() const { return source_; }
  /// "bos_token" and the like, by name.
  std::map<std::string, std::string> special_token_texts() const;

 private:
  using Template = Result<text::ChatTemplate>;

  std::string source_;
  std::optional<Template> template_;
  std::optional<Template> tools_template_;  // the list's "tool_use", when there is one
  json::object special_tokens_;
  std::string model_;
};

}  // namespace tern::engine
