#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"

namespace tern::cli {
namespace {

constexpr std::size_t kColumn = 30;  // where the explanations start
constexpr std::size_t kMaxWidth = 100;

std::string left_side(const OptionInfo& info) {
  if (info.positional()) return info.names.front();
  std::string text = info.names.size() > 1             ? info.names[0] + ", " + info.names[1]
                     : info.names[0].starts_with("--") ? "    " + info.names[0]
                                                       : info.names[0];
  if (!info.value.empty()) text += " " + info.value;
  return text;
}

std::string entry(std::string_view left, std::string_view right, std::size_t width) {
  std::string line = fmt::format("  {}", left);
  if (line.size() + 2 > kColumn)
    line += "\n" + std::string(kColumn, ' ');
  else
    line.append(kColumn - line.size(), ' ');
  return line + wrap(right, kColumn, width > kColumn ? width - kColumn : 1) + "\n";
}

constexpr std::string_view kExitStatuses =
    "Exit status: 0 done, 64 wrong usage, 65 bad or unfit data, 66 not found, 68 no hub,\n"
    "  69 over a limit, 70 fault inside, 71 out of memory, 74 read or write failed, 75 busy,\n"
    "  77 no access at the hub, 78 the hub is forbidden (HF_HUB_OFFLINE), 130 interrupted.\n";

}  // namespace

std::string wrap(std::string_view text, std::size_t indent, std::size_t width) {
  std::string wrapped;
  std::size_t used = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, end);
    if (used > 0 && used + 1 + word.size() > width) {
      wrapped += "\n" + std::string(indent, ' ');
      used = 0;
    }
    if (used > 0) wrapped += ' ';
    wrapped += word;
    used += word.size() + (used > 0 ? 1 : 0);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return wrapped;
}

std::string command_help(const Options& options, std::size_t width) {
  width = std::min(width, kMaxWidth);
  std::string usage = "Usage: " + options.command() + " [OPTIONS]";
  for (const auto& info : options.infos()) {
    if (info.positional()) usage += " [" + info.names.front() + "]";
  }
  std::string text = options.command() + ": " + options.summary() + "\n\n" + usage + "\n";
  std::string_view group;
  for (const auto& info : options.infos()) {
    if (info.group != group) text += fmt::format("\n{}:\n", info.group);
    group = info.group;
    text += entry(left_side(info), info.help, width);
  }
  if (!options.footer().empty()) text += "\n" + options.footer();
  text += "\n";
  text += kExitStatuses;
  return text;
}

std::string group_help(std::string_view group, std::size_t width) {
  width = std::min(width, kMaxWidth);
  std::string text = fmt::format("Usage: tern {} COMMAND [OPTIONS]\n\nCommands:\n", group);
  const std::string prefix = std::string(group) + " ";
  for (const auto& command : commands())
    if (command.name.starts_with(prefix)) text += entry(command.name, command.summary, width);
  return text + fmt::format("\ntern help {} COMMAND explains one.\n", group);
}

std::string program_help(std::size_t width) {
  width = std::min(width, kMaxWidth);
  std::string text =
      "tern runs models of the Nemotron-3-Nano-Omni family on this computer.\n\n"
      "Usage: tern COMMAND [OPTIONS]\n\nCommands:\n";
  for (const auto& command : commands()) text += entry(command.name, command.summary, width);
  text +=
      "\nA model is a folder of safetensors, a .gguf file, the name of one (\"tern variants\" "
      "lists "
      "the\nfamily, \"tern pull\" downloads it), or \"demo\", the small one inside the program.\n\n"
      "Try:\n"
      "  tern chat demo\n"
      "  tern generate -m demo -p \"Solve: 17 * 23\"\n"
      "  tern help generate\n\n"
      "Environment:\n";
  text += entry("TERN_MODEL", "the model when none is named", width);
  text += entry("TERN_ISA", "scalar, neon, avx2, avx512 or amx: forces an instruction set", width);
  text += entry("HF_HOME, HF_HUB_CACHE",
                "where downloaded models are; default: ~/.cache/huggingface", width);
  text +=
      entry("HF_TOKEN, HF_ENDPOINT", "access token, and another hub than huggingface.co", width);
  text += entry("HF_HUB_OFFLINE", "1: never ask the hub", width);
  text += entry("NO_COLOR", "when not empty: no escape sequences", width);
  text += "\n";
  text += kExitStatuses;
  return text;
}

}  // namespace tern::cli
