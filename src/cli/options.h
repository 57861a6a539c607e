// The options of a command: declared once, for parsing, for the help text and for the shells.
//
// CLI11 splits the command line; what a value may be is decided here, so that every message names
// the option, what was typed, and what would have been right.
#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/numbers.h"

namespace tern::cli {

/// What completes a value in a shell.
enum class ValueKind : std::uint8_t { none, text, file, model, choice };

struct OptionInfo {
  std::vector<std::string> names;  ///< "-p", "--prompt"; one without dashes for a positional
  std::string value;               ///< "TEXT"; empty for a flag
  std::string help;
  std::string group;
  ValueKind kind = ValueKind::none;
  std::vector<std::string> choices = {};

  bool positional() const { return !names.front().starts_with('-'); }
  /// The name to speak of it by: the long one.
  const std::string& name() const { return names.back(); }
};

class Options {
 public:
  /// @param command  as it is typed: "tern generate"
  Options(std::string command, std::string summary);
  ~Options();
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  /// Title of the options that are declared next.
  void group(std::string title);
  /// Text under the options in the help: examples.
  void footer(std::string text);

  /// `names` are separated by commas: "-p,--prompt". When an option is repeated the last value
  /// counts, except for `texts`.
  void flag(std::string_view names, bool& target, std::string help);
  void text(std::string_view names, std::string value, std::optional<std::string>& target,
            std::string help, ValueKind kind = ValueKind::text);
  void texts(std::string_view names, std::string value, std::vector<std::string>& target,
             std::string help, ValueKind kind = ValueKind::text);
  void integer(std::string_view names, std::optional<std::uint64_t>& target, IntegerRange range,
               std::string help);
  void integer(std::string_view names, std::uint64_t& target, IntegerRange range, std::string help);
  /// Several, separated by commas: "512,2048".
  void integers(std::string_view names, std::vector<std::uint64_t>& target, IntegerRange range,
                std::string help);
  void real(std::string_view names, std::optional<float>& target, RealRange range,
            std::string help);
  void real(std::string_view names, float& target, RealRange range, std::string help);
  template <class T>
  void choice(std::string_view names, T& target,
              std::initializer_list<std::pair<std::string_view, T>> choices, std::string help) {
    std::vector<std::string> words;
    std::vector<T> values;
    for (const auto& [word, value] : choices) {
      words.emplace_back(word);
      values.push_back(value);
    }
    choice(names, std::move(words), std::move(help),
           [&target, values](std::size_t index) { target = values[index]; });
  }
  /// Anything else: `store` takes each value in turn and says what is wrong with it.
  void custom(std::string_view names, std::string value, std::string help,
              std::function<Result<void>(const std::string&)> store);

  /// The same for a value that is usually one of `words`, which the shells complete.
  void words(std::string_view names, std::string value, std::vector<std::string> words,
             std::string help, std::function<Result<void>(const std::string&)> store);

  /// Another program's spelling, for the fingers: taken for `name`, not listed.
  void alias(std::string typed, std::string name);

  /// At most one of these may be given.
  void exclusive(std::initializer_list<std::string_view> names);

  /// Adds --help. Nothing is declared after it.
  void close();

  /// Of a closed one.
  /// @error usage  an unknown option (with the nearest name as a hint), a bad value, a missing one.
  Result<void> parse(std::span<const char* const> arguments);

  bool given(std::string_view name) const;
  bool help_requested() const { return help_; }

  const std::string& command() const { return command_; }
  const std::string& summary() const { return summary_; }
  const std::string& footer() const { return footer_; }
  const std::vector<OptionInfo>& infos() const { return infos_; }

 private:
  struct Parser;
  using Store = std::function<Result<void>(const std::string&)>;

  void choice(std::string_view names, std::vector<std::string> words, std::string help,
              std::function<void(std::size_t)> store);
  void add(OptionInfo info, bool repeatable, Store store);
  Result<void> check(std::vector<std::string> extras) const;

  std::string command_, summary_, footer_, group_ = "Options";
  std::vector<OptionInfo> infos_;
  std::vector<std::vector<std::string>> exclusive_;
  std::vector<std::pair<std::string, std::string>> aliases_;
  std::optional<Error> bad_value_;  // the first one
  bool help_ = false;
  std::unique_ptr<Parser> parser_;
};

}  // namespace tern::cli
