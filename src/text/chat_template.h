// Chat templates: a sandboxed interpreter of the Jinja that Hugging Face templates are written in.
#pragma once
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace tern::text {

struct TemplateLimits {
  std::size_t source_bytes = 1u << 20;
  /// Evaluated nodes and loop passes; four bytes allocated, copied or searched count as one more,
  /// so that this bounds time and memory alike (20 million: about a second, 80 MB of values).
  std::size_t steps = 20'000'000;
  std::size_t output_bytes = 64u << 20;
  std::size_t depth = 200;  ///< nesting of expressions, blocks and macro calls
};

/// A parsed template. Immutable; safe to share between threads.
///
/// Semantics: Python's Jinja2 in its ImmutableSandboxedEnvironment with Hugging Face's settings:
/// trim_blocks and lstrip_blocks on, no auto-escaping, `raise_exception`, `strftime_now`, tojson
/// as json.dumps(ensure_ascii=False), loop controls (break, continue), {% generation %} blocks.
class ChatTemplate {
 public:
  /// @error corrupt      syntax error, with line. @error unsupported  a tag, filter or test that
  /// this interpreter does not have. @error too_large  over a limit.
  static Result<ChatTemplate> parse(std::string_view source, std::string_view where,
                                    const TemplateLimits& limits = {});

  /// Renders with the given variables (messages, tools, add_generation_prompt, enable_thinking,
  /// and whatever else the template reads).
  /// @error usage      raise_exception(...) was called: its message; an undefined variable used
  ///                   where Jinja2 raises. @error too_large  a limit was hit, saying which.
  Result<std::string> render(const json::object& variables) const;
  /// The same at a given time, which strftime_now(...) shows (local time zone).
  Result<std::string> render(const json::object& variables, std::time_t now) const;

  struct Program;

 private:
  explicit ChatTemplate(std::shared_ptr<const Program> program) : program_(std::move(program)) {}
  std::shared_ptr<const Program> program_;
};

}  // namespace tern::text
