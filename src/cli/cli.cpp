#include "cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

#include <clocale>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/suggest.h"
#include "cli/command.h"
#include "cli/help.h"
#include "cli/interrupts.h"

namespace tern::cli {
namespace {

constexpr int kReaderGone = 141;  // as a shell reports SIGPIPE

constexpr CommandEntry kCommands[] = {
    {"generate", "answer one prompt", make_generate},
    {"chat", "talk to a model", make_chat},
    {"info", "say what a model file holds and how much memory it needs", make_info},
    {"tokenize", "turn text into token ids, or back", make_tokenize},
    {"template", "print the prompt that a conversation becomes", make_template},
    {"logits", "write the logits of given token ids to a NumPy file", make_logits},
    {"convert", "write a model in another format", make_convert},
    {"imatrix", "measure on a text which weights matter, for convert", make_imatrix},
    {"quantize", "write a model with TurboQuant weights", make_quantize},
    {"variants", "list the models of the family: sizes, memory, what is here", make_variants},
    {"pull", "download a model", make_pull},
    {"list", "list the models that are downloaded", make_list},
    {"rm", "remove a downloaded model", make_rm},
    {"bench", "measure prompt and generation speed", make_bench},
    {"fold", "move the cache's rotations into the weights", make_fold},
    {"eval ppl", "measure the perplexity of a text", make_eval_ppl},
    {"eval kld", "compare predictions with saved ones", make_eval_kld},
    {"eval needle", "look for facts hidden in long texts", make_eval_needle},
    {"eval distortion", "measure what the codecs lose on vectors", make_eval_distortion},
    {"eval kv", "compare cache types: size, quality, answers", make_eval_kv},
    {"completion", "print the completion script of a shell", make_completion},
    {"version", "print the version and what this computer can run", make_version},
    {"help", "explain a command", make_help},
};

/// A file that is opened later must not become descriptor 1 because the caller closed it.
void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // Opened the wrong way round, so that using it is an error and not silence.
    const int opened = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    if (opened >= 0 && opened != fd) ::close(opened);
  }
}

Result<int> run_command(const CommandEntry& entry, std::span<const char* const> arguments,
                        Context& context) {
  auto command = entry.make();
  Options options("tern " + std::string(entry.name), std::string(entry.summary));
  command->declare(options);
  options.close();
  TERN_TRY_VOID(options.parse(arguments));
  if (options.help_requested()) {
    context.out.write(command_help(options, context.terminal.width));
    return 0;
  }
  return command->run(context);
}

/// "tern eval ppl ...": the second word chooses.
Result<int> dispatch_group(std::string_view group, std::span<const char* const> arguments,
                           Context& context) {
  const std::string_view member = arguments.empty() ? "" : arguments.front();
  if (member == "--help" || member == "-h") {
    context.out.write(group_help(group, context.terminal.width));
    return 0;
  }
  if (member.empty()) {
    context.err.write(group_help(group, context.terminal.width));
    return exit_status(ErrorCode::usage);
  }
  const std::string name = std::string(group) + " " + std::string(member);
  if (const auto* entry = find_command(name))
    return run_command(*entry, arguments.subspan(1), context);
  return no_such_command(name);
}

Result<int> dispatch(std::span<const char* const> arguments, Context& context) {
  if (arguments.empty()) {
    context.err.write(program_help(context.terminal.width));
    return exit_status(ErrorCode::usage);
  }
  std::string_view name = arguments.front();
  if (name == "--help" || name == "-h") name = "help";
  if (name == "--version" || name == "-V") name = "version";
  if (const auto* entry = find_command(name))
    return run_command(*entry, arguments.subspan(1), context);
  if (is_group(name)) return dispatch_group(name, arguments.subspan(1), context);
  return no_such_command(name);
}

}  // namespace

std::string error_text(const Error& error) {
  std::string text = "tern: error: ";
  if (!error.where.empty()) text += error.where + ": ";
  text += error.what + "\n";
  if (!error.hint.empty()) text += "hint: " + error.hint + "\n";
  return printable(text);
}

std::span<const CommandEntry> commands() {
  return kCommands;
}

const CommandEntry* find_command(std::string_view name) {
  for (const auto& entry : kCommands) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

bool is_group(std::string_view name) {
  return !group_members(name).empty();
}

std::vector<std::string> group_members(std::string_view group) {
  std::vector<std::string> members;
  const std::string prefix = std::string(group) + " ";
  for (const auto& entry : kCommands)
    if (entry.name.starts_with(prefix)) members.emplace_back(entry.name.substr(prefix.size()));
  return members;
}

std::unexpected<Error> no_such_command(std::string_view name) {
  std::vector<std::string> names;
  for (const auto& entry : kCommands) names.emplace_back(entry.name);
  const auto near = nearest(name, names);
  return fail(ErrorCode::usage, name.starts_with('-') ? "no such option" : "no such command",
              std::string(name),
              near ? "did you mean \"tern " + *near + "\"?" : "tern --help lists the commands");
}

int run(int argc, char** argv) {
  occupy_standard_streams();
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");

  Context context{detect_terminal(), Output(STDOUT_FILENO, "standard output"),
                  Output(STDERR_FILENO, "standard error")};
  Interrupts::install(context.terminal.styled_out);
  const auto out_of_memory = [] {
    return fail(ErrorCode::no_memory, "out of memory", {},
                "a smaller --ctx, a smaller model, or fewer other programs");
  };
  Result<int> result = 0;
  try {
    const std::vector<const char*> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
    result = dispatch(arguments, context);
  } catch (const std::bad_alloc&) {
    result = out_of_memory();
  } catch (const std::length_error&) {
    result = out_of_memory();
  } catch (const std::exception& exception) {
    result = fail(ErrorCode::internal, exception.what(), {}, "please report this");
  }
  context.progress.clear();
  context.out.flush();
  if (result && *result == 0 && !context.out.status())
    result = std::unexpected(context.out.status().error());
  if (!result) {
    if (result.error().code != ErrorCode::cancelled) context.err.write(error_text(result.error()));
    context.err.flush();
    const int signal = Interrupts::received();
    if (result.error().code == ErrorCode::cancelled && signal != 0) return 128 + signal;
    return exit_status(result.error().code);
  }
  context.err.flush();
  return *result == 0 && context.out.closed() ? kReaderGone : *result;
}

}  // namespace tern::cli
