#include "cli/answer_printer.h"

#include <algorithm>

namespace tern::cli {

Thinking thinking_style(const Terminal& terminal, bool hide, bool show) {
  if (hide) return Thinking::hidden;
  if (terminal.styled_out && !show) return Thinking::dimmed;
  if (terminal.out || show) return Thinking::tagged;
  return Thinking::apart;
}

Output& AnswerPrinter::reasoning_output() {
  return thinking_ == Thinking::apart ? context_->err : context_->out;
}

bool AnswerPrinter::dims_reasoning() const {
  return thinking_ == Thinking::dimmed ||
         (thinking_ == Thinking::apart && context_->terminal.styled_err);
}

void AnswerPrinter::emit(Output& out, bool terminal, std::string_view text) {
  if (terminal)
    out.write(printable(text));  // the model must not steer the terminal
  else
    out.write(text);
  out.flush();
}

void AnswerPrinter::begin_reasoning() {
  reasoning_ = true;
  if (thinking_ == Thinking::hidden) return;
  auto& out = reasoning_output();
  if (dims_reasoning()) out.write(kDim);
  if (thinking_ == Thinking::tagged) out.write("<think>\n");
}

void AnswerPrinter::end_reasoning() {
  if (!reasoning_) return;
  reasoning_ = false;
  if (thinking_ == Thinking::hidden) return;
  auto& out = reasoning_output();
  if (reasoning_open_) out.write("\n");
  reasoning_open_ = false;
  if (thinking_ == Thinking::tagged) out.write("</think>\n");
  if (dims_reasoning()) out.write(kReset);
  if (thinking_ != Thinking::apart || context_->terminal.err) out.write("\n");
  out.flush();
}

Continue AnswerPrinter::print(const Piece& piece) {
  context_->progress.clear();
  auto text = piece.text;
  if (piece.reasoning) {
    if (!reasoning_) {
      text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
      if (text.empty()) return Continue::yes;
      begin_reasoning();
    }
    if (thinking_ != Thinking::hidden) {
      auto& out = reasoning_output();
      emit(out, thinking_ == Thinking::apart ? context_->terminal.err : context_->terminal.out,
           text);
      reasoning_open_ = text.back() != '\n';
    }
  } else {
    end_reasoning();
    // The line break between </think> and the answer belongs to neither.
    if (!answered_) text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    if (text.empty()) return Continue::yes;
    answered_ = true;
    emit(context_->out, context_->terminal.out, text);
    line_open_ = text.back() != '\n';
  }
  return context_->out.failed() ? Continue::no : Continue::yes;
}

void AnswerPrinter::finish() {
  context_->progress.clear();
  end_reasoning();
  if (line_open_) context_->out.write("\n");
  line_open_ = false;
  context_->out.flush();
}

}  // namespace tern::cli
