// Shows an answer as it comes: what the model thinks apart from what it says.
#pragma once
#include <string>
#include <string_view>
#include <tern/tern.hpp>

#include "cli/context.h"

namespace tern::cli {

enum class Thinking : std::uint8_t {
  dimmed,  ///< on the terminal, between the same lines as the answer but fainter
  tagged,  ///< on standard output, between <think> and </think>
  apart,   ///< on standard error
  hidden,
};

/// What suits the streams unless the user said otherwise.
Thinking thinking_style(const Terminal& terminal, bool hide, bool show);

class AnswerPrinter {
 public:
  AnswerPrinter(Context& context, Thinking thinking) : context_(&context), thinking_(thinking) {}

  /// @return no, when nobody reads any more
  Continue print(const Piece& piece);
  /// Ends the last line.
  void finish();

 private:
  void begin_reasoning();
  void end_reasoning();
  Output& reasoning_output();
  bool dims_reasoning() const;
  void emit(Output& out, bool terminal, std::string_view text);

  Context* context_;
  Thinking thinking_;
  bool reasoning_ = false;       // inside <think>
  bool answered_ = false;        // something that is not white space was said
  bool line_open_ = false;       // the answer's last character was no newline
  bool reasoning_open_ = false;  // the same for the thoughts
};

}  // namespace tern::cli
