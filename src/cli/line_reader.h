// Lines that a person types, or that come through a pipe.
#pragma once
#include <cstdio>
#include <memory>
#include <string>

#include "base/error.h"

namespace tern::cli {

class LineReader {
 public:
  enum class Status : std::uint8_t {
    line,
    end,          ///< end of input; Ctrl-D on an empty line
    interrupted,  ///< Ctrl-C (or another noted signal); what was typed is gone
    failed,       ///< read error, or a line over 64 MiB
  };

  virtual ~LineReader() = default;
  /// The next line without its newline. `prompt` is shown on terminals only.
  virtual Status next(const std::string& prompt, std::string& line) = 0;
  /// Whether `line` in the last `interrupted` had held text.
  virtual bool interrupted_text() const { return false; }
  /// Remembers a line for the arrow keys and the next run.
  virtual void remember(const std::string&) {}
};

/// Standard input as it comes.
std::unique_ptr<LineReader> plain_lines();

/// Line editing on the terminal, by libedit: arrow keys, history, the user's ~/.editrc.
/// @param terminal  where the prompt and the line are shown: stdout or stderr
/// @param history   file to load from and save to (mode 0600); "" for none
std::unique_ptr<LineReader> edited_lines(std::FILE* terminal, std::string history);

/// $XDG_STATE_HOME/tern/chat_history, or under ~/.local/state; "" without a home.
std::string default_history_file();

}  // namespace tern::cli
