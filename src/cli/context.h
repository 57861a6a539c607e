// What a command may use of the world: its output, the terminal's manners, and a progress line.
#pragma once
#include <utility>

#include "cli/output.h"
#include "cli/progress.h"
#include "cli/terminal.h"

namespace tern::cli {

struct Context {
  Context(const Terminal& streams, Output results, Output messages)
      : terminal(streams),
        out(std::move(results)),
        err(std::move(messages)),
        progress(err, streams.err && streams.styled_err, streams.width) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Terminal terminal;
  Output out;  ///< results
  Output err;  ///< everything else
  ProgressLine progress;
};

}  // namespace tern::cli
