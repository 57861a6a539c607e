// tern completion: scripts that teach a shell the commands and their options.
#include <fmt/format.h>

#include "cli/command.h"
#include "hub/family.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  source <(tern completion bash)\n"
    "  tern completion zsh > \"${fpath[1]}/_tern\"\n"
    "  tern completion fish > ~/.config/fish/completions/tern.fish\n";

struct Described {
  std::string_view name, summary;
  std::vector<OptionInfo> options;
};

std::vector<Described> described_commands() {
  std::vector<Described> all;
  for (const auto& entry : commands()) {
    const auto command = entry.make();
    Options options("tern " + std::string(entry.name), std::string(entry.summary));
    command->declare(options);
    options.close();
    all.push_back({entry.name, entry.summary, options.infos()});
  }
  return all;
}

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

/// What can be typed first: commands, and each group once.
std::vector<Described> first_words() {
  std::vector<Described> words;
  for (const auto& entry : commands()) {
    const auto space = entry.name.find(' ');
    const auto word = entry.name.substr(0, space);
    if (!words.empty() && words.back().name == word) continue;
    words.push_back(
        {word, space == std::string_view::npos ? entry.summary : "measure quality", {}});
  }
  return words;
}

std::vector<std::string> groups() {
  std::vector<std::string> names;
  for (const auto& word : first_words())
    if (is_group(word.name)) names.emplace_back(word.name);
  return names;
}

std::string command_names() {
  std::vector<std::string> names;
  for (const auto& word : first_words()) names.emplace_back(word.name);
  return joined(names, " ");
}

/// For a single-quoted word.
std::string quoted(std::string_view text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

/// What stands for a model and is no file.
std::string model_names() {
  std::vector<std::string> names = {"demo"};
  for (const hub::Variant& variant : hub::family())
    if (!variant.parent.empty()) names.push_back(variant.name);
  return joined(names, " ");
}

std::string bash_command(const Described& command) {
  std::string values, names;
  bool takes_model = false;
  for (const auto& option : command.options) {
    if (option.positional()) {
      takes_model |= option.kind == ValueKind::model;
      continue;
    }
    names += (names.empty() ? "" : " ") + joined(option.names, " ");
    const auto pattern = joined(option.names, "|");
    if (option.kind == ValueKind::choice)
      values +=
          fmt::format("        {}) COMPREPLY=($(compgen -W \"{}\" -- \"$word\")); return ;;\n",
                      pattern, joined(option.choices, " "));
    else if (option.kind == ValueKind::model)
      values += fmt::format(
          "        {}) COMPREPLY=($(compgen -W \"$models\" -- \"$word\") $(compgen -f -- "
          "\"$word\")); return ;;\n",
          pattern);
    else if (option.kind == ValueKind::file)
      values +=
          fmt::format("        {}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", pattern);
    else if (option.kind == ValueKind::text)
      values += fmt::format("        {}) return ;;\n", pattern);
  }
  std::string text = fmt::format("    \"{}\")\n", command.name);
  if (!values.empty()) text += "      case \"$last\" in\n" + values + "      esac\n";
  text += fmt::format("      options=\"{}\"\n", names);
  if (takes_model) text += "      words=$models\n";
  if (command.name == "help") text += fmt::format("      words=\"{}\"\n", command_names());
  if (command.name == "completion") text += "      words=\"bash zsh fish\"\n";
  return text + "      ;;\n";
}

std::string bash_script() {
  std::string text =
      "# bash completion for tern\n"
      "_tern() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]} options= words=\n"
      "  local models=\"" +
      model_names() +
      "\"\n"
      "  COMPREPLY=()\n"
      "  if [[ $COMP_CWORD -eq 1 ]]; then\n";
  text += fmt::format(
      "    COMPREPLY=($(compgen -W \"{} --help --version\" -- \"$word\"))\n    return\n  fi\n",
      command_names());
  text += "  local command=${COMP_WORDS[1]}\n  case \"$command\" in\n";
  for (const auto& group : groups())
    text += fmt::format(
        "    {0})\n"
        "      if [[ $COMP_CWORD -eq 2 ]]; then\n"
        "        COMPREPLY=($(compgen -W \"{1} --help\" -- \"$word\"))\n        return\n"
        "      fi\n"
        "      command=\"{0} ${{COMP_WORDS[2]}}\" ;;\n",
        group, joined(group_members(group), " "));
  text += "  esac\n  case \"$command\" in\n";
  for (const auto& command : described_commands()) text += bash_command(command);
  text +=
      "  esac\n"
      "  if [[ $word == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
      "  else\n"
      "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\") $(compgen -f -- \"$word\"))\n"
      "  fi\n"
      "}\n"
      "complete -o filenames -F _tern tern\n";
  return text;
}

/// "[help text]" of an _arguments specification.
std::string zsh_help(const OptionInfo& option) {
  std::string help;
  for (const char c : option.help) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') help += '\\';
    help += c;
  }
  return "[" + help + "]";
}

std::string zsh_action(const OptionInfo& option) {
  switch (option.kind) {
    case ValueKind::none:
      return "";
    case ValueKind::choice:
      return ":" + option.name() + ":(" + joined(option.choices, " ") + ")";
    case ValueKind::model:
      return ":model:{_alternative 'models:model:(" + model_names() + ")' 'files:file:_files'}";
    case ValueKind::file:
      return ":file:_files";
    case ValueKind::text:
      return ":value: ";
  }
  return "";
}

std::string zsh_script() {
  std::string text = "#compdef tern\n# zsh completion for tern\n_tern() {\n  local -a commands\n";
  text += "  commands=(\n";
  for (const auto& word : first_words())
    text += fmt::format("    {}\n", quoted(fmt::format("{}:{}", word.name, word.summary)));
  text +=
      "  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local name=${words[2]}\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n";
  for (const auto& group : groups())
    text += fmt::format(
        "  if [[ $name == {0} ]]; then\n"
        "    if (( CURRENT == 2 )); then\n"
        "      _values command {1}\n"
        "      return\n"
        "    fi\n"
        "    name=\"{0} ${{words[2]}}\"\n"
        "    shift words\n"
        "    (( CURRENT-- ))\n"
        "  fi\n",
        group, joined(group_members(group), " "));
  text += "  case $name in\n";
  for (const auto& command : described_commands()) {
    text += fmt::format("    \"{}\")\n      _arguments -S", command.name);
    for (const auto& option : command.options) {
      if (option.positional()) {
        text += " \\\n        " +
                quoted(":" + option.name() +
                       zsh_action(option).substr(std::min<std::size_t>(
                           zsh_action(option).find(':', 1), zsh_action(option).size())));
        continue;
      }
      for (const auto& name : option.names)
        text += " \\\n        " + quoted("*" + name + zsh_help(option) + zsh_action(option));
    }
    text += "\n      ;;\n";
  }
  return text + "  esac\n}\ncompdef _tern tern\n";
}

std::string fish_script() {
  std::string text = "# fish completion for tern\ncomplete -c tern -n __fish_use_subcommand -f\n";
  for (const auto& word : first_words())
    text += fmt::format("complete -c tern -n __fish_use_subcommand -a {} -d {}\n", word.name,
                        quoted(word.summary));
  for (const auto& group : groups()) {
    const auto members = joined(group_members(group), " ");
    text += fmt::format(
        "complete -c tern -n '__fish_seen_subcommand_from {0}; and not "
        "__fish_seen_subcommand_from {1}' -f -a '{1}'\n",
        group, members);
  }
  for (const auto& command : described_commands()) {
    const auto space = command.name.find(' ');
    const auto condition =
        space == std::string_view::npos
            ? fmt::format("__fish_seen_subcommand_from {}", command.name)
            : fmt::format("__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}",
                          command.name.substr(0, space), command.name.substr(space + 1));
    for (const auto& option : command.options) {
      std::string line = fmt::format("complete -c tern -n '{}'", condition);
      if (option.positional()) {
        if (option.kind != ValueKind::model) continue;
        text += line + " -a " + quoted(model_names()) + "\n";
        continue;
      }
      for (const auto& name : option.names)
        line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (option.kind == ValueKind::choice)
        line += " -x -a " + quoted(joined(option.choices, " "));
      else if (option.kind == ValueKind::text)
        line += " -x";
      else if (option.kind != ValueKind::none)
        line += " -r";
      text += line + " -d " + quoted(option.help) + "\n";
    }
  }
  return text;
}

class Completion : public Command {
 public:
  void declare(Options& options) override {
    options.text("SHELL", "SHELL", shell_, "bash, zsh or fish");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (shell_ == "bash")
      context.out.write(bash_script());
    else if (shell_ == "zsh")
      context.out.write(zsh_script());
    else if (shell_ == "fish")
      context.out.write(fish_script());
    else
      return fail(ErrorCode::usage, shell_ ? "\"" + *shell_ + "\" is no known shell" : "no shell",
                  "SHELL", "known: bash, zsh, fish");
    return 0;
  }

 private:
  std::optional<std::string> shell_;
};

}  // namespace

std::unique_ptr<Command> make_completion() {
  return std::make_unique<Completion>();
}

}  // namespace tern::cli
