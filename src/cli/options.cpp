#include "cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>

#include "base/suggest.h"

namespace tern::cli {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string join(std::span<const std::string> words, std::string_view separator) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : std::string(separator)) + word;
  return text;
}

}  // namespace

struct Options::Parser {
  CLI::App app;
};

Options::Options(std::string command, std::string summary)
    : command_(std::move(command)),
      summary_(std::move(summary)),
      parser_(std::make_unique<Parser>()) {
  parser_->app.set_help_flag();
  parser_->app.allow_extras();
}

Options::~Options() = default;

void Options::group(std::string title) {
  group_ = std::move(title);
}

void Options::footer(std::string text) {
  footer_ = std::move(text);
}

void Options::add(OptionInfo info, bool repeatable, Store store) {
  info.group = group_;
  const std::string name = info.name();
  const auto keep = [this, name, store = std::move(store)](const std::vector<std::string>& values) {
    for (const auto& value : values) {
      const auto stored = store(value);
      if (stored || bad_value_) continue;
      bad_value_ = stored.error();
      bad_value_->where = name;
    }
    return true;
  };
  const std::string names = join(info.names, ",");
  if (info.value.empty()) {
    parser_->app.add_flag_callback(names, [keep] { keep({""}); });
  } else {
    parser_->app.add_option(names, keep)
        ->allow_extra_args(false)
        ->multi_option_policy(repeatable ? CLI::MultiOptionPolicy::TakeAll
                                         : CLI::MultiOptionPolicy::TakeLast);
  }
  infos_.push_back(std::move(info));
}

void Options::flag(std::string_view names, bool& target, std::string help) {
  add({split(names, ','), "", std::move(help), "", ValueKind::none}, false,
      [&target](const std::string&) -> Result<void> {
        target = true;
        return {};
      });
}

void Options::text(std::string_view names, std::string value, std::optional<std::string>& target,
                   std::string help, ValueKind kind) {
  add({split(names, ','), std::move(value), std::move(help), "", kind}, false,
      [&target](const std::string& typed) -> Result<void> {
        target = typed;
        return {};
      });
}

void Options::texts(std::string_view names, std::string value, std::vector<std::string>& target,
                    std::string help, ValueKind kind) {
  add({split(names, ','), std::move(value), std::move(help), "", kind}, true,
      [&target](const std::string& typed) -> Result<void> {
        target.push_back(typed);
        return {};
      });
}

void Options::custom(std::string_view names, std::string value, std::string help, Store store) {
  add({split(names, ','), std::move(value), std::move(help), "", ValueKind::text}, true,
      std::move(store));
}

void Options::integer(std::string_view names, std::optional<std::uint64_t>& target,
                      IntegerRange range, std::string help) {
  add({split(names, ','), "N", std::move(help), "", ValueKind::text}, false,
      [&target, range](const std::string& typed) -> Result<void> {
        TERN_TRY(target, parse_integer(typed, range));
        return {};
      });
}

void Options::integer(std::string_view names, std::uint64_t& target, IntegerRange range,
                      std::string help) {
  add({split(names, ','), "N", std::move(help), "", ValueKind::text}, false,
      [&target, range](const std::string& typed) -> Result<void> {
        TERN_TRY(target, parse_integer(typed, range));
        return {};
      });
}

void Options::integers(std::string_view names, std::vector<std::uint64_t>& target,
                       IntegerRange range, std::string help) {
  add({split(names, ','), "N[,N]", std::move(help), "", ValueKind::text}, false,
      [&target, range](const std::string& typed) -> Result<void> {
        target.clear();
        for (const auto& part : split(typed, ',')) {
          TERN_TRY(const auto value, parse_integer(part, range));
          target.push_back(value);
        }
        return {};
      });
}

void Options::real(std::string_view names, std::optional<float>& target, RealRange range,
                   std::string help) {
  add({split(names, ','), "X", std::move(help), "", ValueKind::text}, false,
      [&target, range](const std::string& typed) -> Result<void> {
        TERN_TRY(const double value, parse_real(typed, range));
        target = static_cast<float>(value);
        return {};
      });
}

void Options::real(std::string_view names, float& target, RealRange range, std::string help) {
  add({split(names, ','), "X", std::move(help), "", ValueKind::text}, false,
      [&target, range](const std::string& typed) -> Result<void> {
        TERN_TRY(const double value, parse_real(typed, range));
        target = static_cast<float>(value);
        return {};
      });
}

void Options::choice(std::string_view names, std::vector<std::string> words, std::string help,
                     std::function<void(std::size_t)> store) {
  const std::string value = join(words, "|");
  add({split(names, ','), value, std::move(help), "", ValueKind::choice, words}, false,
      [words, store = std::move(store)](const std::string& typed) -> Result<void> {
        const auto found = std::ranges::find(words, typed);
        if (found == words.end()) {
          const auto near = nearest(typed, words);
          return fail(ErrorCode::usage, "\"" + typed + "\" is none of " + join(words, ", "), {},
                      near ? "did you mean " + *near + "?" : "");
        }
        store(static_cast<std::size_t>(std::distance(words.begin(), found)));
        return {};
      });
}

void Options::words(std::string_view names, std::string value, std::vector<std::string> words,
                    std::string help, std::function<Result<void>(const std::string&)> store) {
  add({split(names, ','), std::move(value), std::move(help), "", ValueKind::choice,
       std::move(words)},
      false, std::move(store));
}

void Options::alias(std::string typed, std::string name) {
  aliases_.emplace_back(std::move(typed), std::move(name));
}

void Options::exclusive(std::initializer_list<std::string_view> names) {
  exclusive_.emplace_back(names.begin(), names.end());
}

bool Options::given(std::string_view name) const {
  const auto* option = parser_->app.get_option_no_throw(std::string(name));
  return option != nullptr && option->count() > 0;
}

Result<void> Options::check(std::vector<std::string> extras) const {
  // "--" says that no options follow; CLI11 leaves it there.
  if (const auto mark = std::ranges::find(extras, "--"); mark != extras.end()) extras.erase(mark);
  for (const auto& extra : extras) {
    if (!extra.starts_with('-') || extra == "-") continue;
    std::vector<std::string> names;
    for (const auto& info : infos_) {
      if (!info.positional()) std::ranges::copy(info.names, std::back_inserter(names));
    }
    const auto typed = extra.substr(0, extra.find('='));
    const auto near = nearest(typed, names);
    return fail(ErrorCode::usage, "no such option", typed,
                near ? "did you mean " + *near + "?" : command_ + " --help lists the options");
  }
  if (!extras.empty())
    return fail(ErrorCode::usage, "one argument too many", extras.front(),
                "put text with spaces in quotes; " + command_ + " --help says what is expected");
  if (bad_value_) return std::unexpected(*bad_value_);
  for (const auto& names : exclusive_) {
    const std::string* first = nullptr;
    for (const auto& name : names) {
      if (!given(name)) continue;
      if (first != nullptr)
        return fail(ErrorCode::usage, "cannot be combined with " + *first, name);
      first = &name;
    }
  }
  return {};
}

void Options::close() {
  group("Other");
  flag("-h,--help", help_, "print this help and exit");
}

Result<void> Options::parse(std::span<const char* const> arguments) {
  std::vector<std::string> words(arguments.begin(), arguments.end());
  for (const auto& [typed, name] : aliases_) std::ranges::replace(words, typed, name);
  std::ranges::reverse(words);  // as CLI11 takes them
  try {
    parser_->app.parse(words);
  } catch (const CLI::ArgumentMismatch& mismatch) {
    const std::string what = mismatch.what();  // "--name: 1 required TEXT missing"
    return fail(ErrorCode::usage, "needs a value", what.substr(0, what.find(':')));
  } catch (const CLI::ParseError& error) {
    return fail(ErrorCode::usage, error.what());
  }
  if (help_) return {};
  return check(parser_->app.remaining());
}

}  // namespace tern::cli
