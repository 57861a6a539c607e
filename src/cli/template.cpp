// tern template: print the prompt that a conversation becomes.
#include <filesystem>

#include "base/json.h"
#include "base/mapped_file.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/model_files.h"
#include "cli/model_options.h"
#include "engine/chat.h"
#include "engine/engine.h"
#include "text/chat_template.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "The input is a JSON array of messages, or an object of template variables: messages, tools,\n"
    "enable_thinking, add_generation_prompt and whatever else the template reads.\n\n"
    "Examples:\n"
    "  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | tern template -m demo\n"
    "  tern template --template chat_template.jinja --messages chat.json --no-think\n";

class Template : public Command {
 public:
  void declare(Options& options) override {
    options.group("Template");
    options.text("-m,--model", "MODEL", model_.model,
                 "a folder, a .gguf file, a name, or \"demo\"; no weights are read; default: "
                 "$TERN_MODEL",
                 ValueKind::model);
    declare_finding(options, model_);
    options.text("--template", "FILE", template_, "a template of its own, in Jinja",
                 ValueKind::file);
    options.exclusive({"--model", "--template"});
    options.group("Conversation");
    options.text("--messages", "FILE", messages_,
                 "messages or variables, in JSON; default: \"-\", standard input", ValueKind::file);
    options.text("--tools", "FILE", tools_, "JSON array of OpenAI-shaped tools", ValueKind::file);
    options.flag("--no-generation-prompt", no_generation_prompt_,
                 "end with the last message, not with the start of an answer");
    options.flag("--think", think_, "let the model think first");
    options.flag("--no-think", no_think_, "answer at once");
    options.exclusive({"--think", "--no-think"});
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    TERN_TRY(const auto variables, read_variables());
    TERN_TRY(const auto prompt, render(variables, context));
    context.out.write(context.terminal.out ? printable(prompt) : prompt);
    return 0;
  }

 private:
  Result<json::object> read_variables() const {
    const std::string path = messages_.value_or("-");
    TERN_TRY(const auto text, read_input(path));
    TERN_TRY(auto value, parse_json(text, input_name(path)));
    json::object variables;
    if (value.is_object())
      variables = std::move(value.get_object());
    else
      variables["messages"] = std::move(value);
    const auto* messages = variables.if_contains("messages");
    if (messages == nullptr || !messages->is_array())
      return fail(ErrorCode::corrupt, "no array of messages", input_name(path),
                  "expected [{\"role\": ..., \"content\": ...}] or {\"messages\": [...]}");
    if (tools_) {
      TERN_TRY(const auto tools, read_input(*tools_));
      TERN_TRY(variables["tools"], parse_json(tools, input_name(*tools_)));
    }
    if (no_generation_prompt_) variables["add_generation_prompt"] = false;
    if (!variables.contains("add_generation_prompt")) variables["add_generation_prompt"] = true;
    if (think_ || no_think_) variables["enable_thinking"] = think_;
    return variables;
  }

  Result<std::string> render(json::object variables, Context& context) const {
    if (template_) return render_file(*template_, variables);
    TERN_TRY(const auto model, model_name(model_));
    // A folder that holds everything but the weights will do.
    const auto file = std::filesystem::path(model) / "chat_template.jinja";
    auto checkpoint = engine::open_checkpoint(model, find_options(model_, context));
    context.progress.clear();
    std::error_code ignored;
    if (!checkpoint && std::filesystem::exists(file, ignored))
      return render_file(file.string(), variables);
    if (!checkpoint) return std::unexpected(checkpoint.error());
    TERN_TRY(const auto tokenizer, open_tokenizer(model));
    TERN_TRY(const auto chat, engine::Chat::load(*checkpoint, tokenizer));
    ChatTemplateOptions options;
    TERN_TRY(options.add_generation_prompt, take_bool(variables, "add_generation_prompt"));
    TERN_TRY(options.enable_thinking, take_bool(variables, "enable_thinking"));
    if (const auto tools = take(variables, "tools"); !tools.is_null())
      options.tools_json = json::serialize(tools);
    const auto messages = take(variables, "messages");
    if (!variables.empty()) options.variables_json = json::serialize(variables);
    return chat.render(messages.get_array(), options);
  }

  static Result<std::string> render_file(const std::string& path, const json::object& variables) {
    TERN_TRY(const auto source, read_text_file(path, text::TemplateLimits{}.source_bytes));
    if (source.empty()) return fail(ErrorCode::corrupt, "an empty template", path);
    TERN_TRY(const auto chat_template, text::ChatTemplate::parse(source, path));
    return chat_template.render(variables);
  }

  static json::value take(json::object& object, std::string_view key) {
    auto* found = object.if_contains(key);
    if (found == nullptr) return nullptr;
    auto value = std::move(*found);
    object.erase(key);
    return value;
  }

  /// True when it is absent.
  static Result<bool> take_bool(json::object& object, std::string_view key) {
    TERN_TRY(const bool value, get_bool_or(object, key, true, "variables"));
    object.erase(key);
    return value;
  }

  ModelOptions model_;
  std::optional<std::string> template_, messages_, tools_;
  bool no_generation_prompt_ = false, think_ = false, no_think_ = false;
};

}  // namespace

std::unique_ptr<Command> make_template() {
  return std::make_unique<Template>();
}

}  // namespace tern::cli
