#include "text/chat_template.h"

#include <ctime>

#include "text/jinja_interpreter.h"
#include "text/jinja_lexer.h"
#include "text/jinja_parser.h"
#include "text/jinja_text.h"

namespace tern::text {

struct ChatTemplate::Program {
  std::string where;
  std::string source;  ///< normalized; tokens and nodes point into it
  TemplateLimits limits;
  jinja::Arena arena;  ///< of the tree and its constants
  jinja::Parsed parsed;
};

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, std::string_view where,
                                         const TemplateLimits& limits) {
  if (source.size() > limits.source_bytes) {
    return fail(ErrorCode::too_large,
                "chat template of " + std::to_string(source.size()) + " bytes, limit " +
                    std::to_string(limits.source_bytes),
                std::string(where));
  }
  if (!jinja::valid_utf8(source)) {
    return fail(ErrorCode::corrupt, "chat template is not UTF-8", std::string(where));
  }
  auto program = std::make_shared<Program>();
  program->where = where;
  program->limits = limits;
  program->source = jinja::normalize_newlines(source);
  TERN_TRY(std::vector<jinja::Token> tokens,
           jinja::tokenize(program->source, program->arena, program->where));
  jinja::Eval<jinja::Parsed> parsed =
      jinja::Parser(std::move(tokens), program->arena, program->where, limits.depth).run();
  if (!parsed) return std::unexpected(std::move(*parsed.error()));
  program->parsed = *std::move(parsed);
  return ChatTemplate(std::move(program));
}

Result<std::string> ChatTemplate::render(const json::object& variables) const {
  return render(variables, std::time(nullptr));
}

Result<std::string> ChatTemplate::render(const json::object& variables, std::time_t now) const {
  jinja::Interpreter interpreter(program_->limits, program_->where, program_->parsed.names, now);
  jinja::Eval<std::string> text = interpreter.run(program_->parsed.body, variables);
  if (!text) return std::unexpected(std::move(*text.error()));
  return *std::move(text);
}

}  // namespace tern::text
