// tern tokenize: turn text into token ids, or back.
#include <fmt/format.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/model_files.h"
#include "cli/model_options.h"
#include "cli/token_ids.h"
#include "text/utf8.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  tern tokenize -m demo \"Hello, world\"\n"
    "  tern tokenize --tokenizer tokenizer.json --count --file book.txt\n"
    "  tern tokenize -m demo --pieces \"naive cafe\"\n"
    "  echo '[1, 2, 3]' | tern tokenize -m demo --decode -\n";

class Tokenize : public Command {
 public:
  void declare(Options& options) override {
    options.group("Tokenizer");
    options.text("-m,--model", "MODEL", model_.model,
                 "a folder, a .gguf file, a name, or \"demo\"; only its tokenizer is read; "
                 "default: $TERN_MODEL",
                 ValueKind::model);
    declare_finding(options, model_);
    options.text("--tokenizer", "FILE", tokenizer_, "a tokenizer.json, or a folder with one",
                 ValueKind::file);
    options.exclusive({"--model", "--tokenizer"});
    options.group("Input");
    options.text("TEXT", "TEXT", text_, "the text; \"-\" reads standard input");
    options.text("-f,--file", "FILE", file_, "read the text from a file", ValueKind::file);
    options.exclusive({"TEXT", "--file"});
    options.flag("--no-special", no_special_,
                 "take <|im_end|> and its like for ordinary text, as in what users type");
    options.flag("--decode", decode_, "the input is a JSON array of ids; print its text");
    options.group("Output (default: ids, separated by spaces)");
    options.flag("--json", json_, "ids as a JSON array; with --decode the text as a JSON string");
    options.flag("--pieces", pieces_, "one token on each line: id, a tab, its bytes as JSON text");
    options.flag("--count", count_, "only the number of tokens");
    options.exclusive({"--json", "--pieces", "--count"});
    options.exclusive({"--decode", "--no-special"});
    options.exclusive({"--decode", "--count"});
    options.exclusive({"--decode", "--pieces"});
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!text_ && !file_)
      return fail(ErrorCode::usage, "no text", "TEXT", "give a text, \"-\" or --file");
    TERN_TRY(const auto tokenizer, open(context));
    TERN_TRY(const auto input, read_text());
    return decode_ ? decode(tokenizer, input, context) : encode(tokenizer, input, context);
  }

 private:
  Result<text::Tokenizer> open(Context& context) const {
    if (tokenizer_) return open_tokenizer(*tokenizer_);
    TERN_TRY(const auto name, model_name(model_));
    auto tokenizer = open_tokenizer(name, find_options(model_, context));
    context.progress.clear();
    return tokenizer;
  }

  Result<std::string> read_text() const {
    if (file_) return read_input(*file_);
    return *text_ == "-" ? read_input("-") : *text_;
  }

  Result<int> encode(const text::Tokenizer& tokenizer, const std::string& input,
                     Context& context) const {
    const auto specials = no_special_ ? text::Specials::ignore : text::Specials::parse;
    const auto ids = tokenizer.encode(input, specials);
    if (count_)
      context.out.write(fmt::format("{}\n", ids.size()));
    else if (json_)
      context.out.write(to_json(ids) + "\n");
    else if (pieces_)
      for (const auto id : ids)
        context.out.write(fmt::format("{}\t{}\n", id, quoted(tokenizer.token_bytes(id))));
    else
      context.out.write(fmt::format("{}\n", fmt::join(ids, " ")));
    return 0;
  }

  Result<int> decode(const text::Tokenizer& tokenizer, const std::string& input,
                     Context& context) const {
    const auto where = file_ ? *file_ : *text_ == "-" ? "standard input" : "TEXT";
    TERN_TRY(const auto ids, parse_token_ids(input, where, tokenizer.vocabulary_size()));
    const auto text = tokenizer.decode(ids);
    if (json_)
      context.out.write(quoted(text) + "\n");
    else  // exactly the bytes, except on a terminal
      context.out.write(context.terminal.out ? printable(text) + "\n" : text);
    return 0;
  }

  /// A JSON string; bytes that are no UTF-8 (part of a character) as \xHH, which JSON lacks.
  static std::string quoted(std::string_view bytes) {
    std::string text = "\"";
    while (!bytes.empty()) {
      const auto step = text::utf8_step(bytes);
      const auto character = bytes.substr(0, step.bytes);
      if (!step.valid)
        for (const char byte : character)
          text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
      else if (step.code < ' ' || step.code == '"' || step.code == '\\')
        text += escaped(bytes[0]);
      else
        text += character;
      bytes.remove_prefix(step.bytes);
    }
    return text + "\"";
  }

  static std::string escaped(char byte) {
    switch (byte) {
      case '\n':
        return "\\n";
      case '\t':
        return "\\t";
      case '\r':
        return "\\r";
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      default:
        return fmt::format("\\u{:04x}", static_cast<unsigned char>(byte));
    }
  }

  ModelOptions model_;
  std::optional<std::string> tokenizer_, text_, file_;
  bool no_special_ = false, decode_ = false, json_ = false, pieces_ = false, count_ = false;
};

}  // namespace

std::unique_ptr<Command> make_tokenize() {
  return std::make_unique<Tokenize>();
}

}  // namespace tern::cli
