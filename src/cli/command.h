// What a command is: a line in the table of commands, its options, and what it does.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/context.h"
#include "cli/options.h"

namespace tern::cli {

/// One use of a command: made, asked for its options, and, when they are parsed, run.
class Command {
 public:
  virtual ~Command() = default;
  virtual void declare(Options& options) = 0;
  /// @return the exit status
  virtual Result<int> run(Context& context) = 0;
};

struct CommandEntry {
  std::string_view name;  ///< as it is typed; "eval ppl" for a command of a group
  std::string_view summary;
  std::unique_ptr<Command> (*make)();
};

/// Every command, in the order of the help text.
std::span<const CommandEntry> commands();
/// Null when there is none of that name.
const CommandEntry* find_command(std::string_view name);
/// Whether commands of that group exist: "eval".
bool is_group(std::string_view name);
/// The commands of a group, without its name: "ppl", "kld"...
std::vector<std::string> group_members(std::string_view group);
/// "no such command", with the nearest known one as a hint.
std::unexpected<Error> no_such_command(std::string_view name);

/// "tern: error: WHERE: WHAT", and a line with the hint if there is one.
std::string error_text(const Error& error);

std::unique_ptr<Command> make_generate();
std::unique_ptr<Command> make_chat();
std::unique_ptr<Command> make_info();
std::unique_ptr<Command> make_tokenize();
std::unique_ptr<Command> make_template();
std::unique_ptr<Command> make_logits();
std::unique_ptr<Command> make_convert();
std::unique_ptr<Command> make_imatrix();
std::unique_ptr<Command> make_quantize();
std::unique_ptr<Command> make_variants();
std::unique_ptr<Command> make_pull();
std::unique_ptr<Command> make_list();
std::unique_ptr<Command> make_rm();
std::unique_ptr<Command> make_bench();
std::unique_ptr<Command> make_fold();
std::unique_ptr<Command> make_eval_ppl();
std::unique_ptr<Command> make_eval_kld();
std::unique_ptr<Command> make_eval_needle();
std::unique_ptr<Command> make_eval_distortion();
std::unique_ptr<Command> make_eval_kv();
std::unique_ptr<Command> make_completion();
std::unique_ptr<Command> make_version();
std::unique_ptr<Command> make_help();

}  // namespace tern::cli
