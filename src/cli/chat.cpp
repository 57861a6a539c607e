// tern chat: talk to a model.
#include <fmt/format.h>

#include <array>
#include <csignal>

#include "base/atomic_file.h"
#include "base/suggest.h"
#include "cli/answer_printer.h"
#include "cli/chat_input.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/files.h"
#include "cli/generation_options.h"
#include "cli/interrupts.h"
#include "cli/line_reader.h"
#include "cli/model_options.h"
#include "cli/stats.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "At the prompt, /help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.\n"
    "Without a terminal each line of standard input is one turn.\n\n"
    "Examples:\n"
    "  tern chat demo\n"
    "  tern chat -m model.gguf --system \"Answer in one sentence.\" --no-think\n"
    "  printf 'Solve: 17 * 23\\nSolve: 6 * 7\\n' | tern chat demo\n";

constexpr std::string_view kHelp =
    "  /think on|off     think before answering, or not\n"
    "  /system TEXT      set the system message; without TEXT show it\n"
    "  /regen            answer the last message again\n"
    "  /reset            forget the conversation, keep the system message\n"
    "  /save FILE        write the conversation as JSON messages\n"
    "  /load FILE        go on with a saved conversation\n"
    "  /stats            speed and memory of the last answer\n"
    "  /help             this text\n"
    "  /exit             leave; so does Ctrl-D\n"
    "A line that ends in \\ goes on in the next one; \"\"\" begins and ends a block of lines.\n"
    "// at the start stands for a single slash. Ctrl-C stops an answer.\n";

/// The conversation, and everything that a turn or a command can do to it.
class Chat {
 public:
  Chat(const Model& model, std::size_t prefill_chunk, const GenerationOptions& options,
       std::string tools, Context& context)
      : model_(&model),
        prefill_chunk_(prefill_chunk),
        session_(model.new_session()),
        options_(options.resolved()),
        tools_(std::move(tools)),
        context_(&context),
        thinking_(options.enable_thinking()),
        style_(thinking_style(context.terminal, options.hide_thinking, options.show_thinking)) {}

  Conversation& conversation() { return conversation_; }

  std::string greeting() const {
    const auto info = model_->info();
    return printable(fmt::format("{}, context of {} tokens\n", info.name, info.context));
  }

  /// One turn. A turn that fails leaves the conversation as it was.
  Result<void> say(std::string_view text) {
    TERN_TRY_VOID(check_utf8(text, "message"));
    conversation_.add_user(text);
    auto answered = answer();
    if (!answered) conversation_.drop_last();
    return answered;
  }

  /// @return false to leave the chat
  Result<bool> command(const ChatCommand& command) {
    for (const auto& entry : kCommands) {
      if (command.name == entry.name) return (this->*entry.run)(command.argument);
    }
    std::vector<std::string> names;
    for (const auto& entry : kCommands) names.emplace_back(entry.name);
    const auto near = nearest(command.name, names);
    return fail(ErrorCode::usage, "no such command", "/" + command.name,
                near ? "did you mean /" + *near + "?" : "/help lists the commands");
  }

 private:
  struct Entry {
    std::string_view name;
    Result<bool> (Chat::*run)(const std::string&);
  };
  static const std::array<Entry, 12> kCommands;

  void note(std::string_view text) {
    context_->err.write(text);
    context_->err.flush();
  }

  Result<void> answer() {
    ChatTemplateOptions options;
    options.enable_thinking = thinking_;
    options.tools_json = tools_;
    TERN_TRY(const auto prompt, model_->apply_chat_template_json(conversation_.to_json(), options));
    const auto tokens = model_->tokenize(prompt);
    if (tokens.size() > session_.position() + prefill_chunk_)
      context_->progress.begin("reading the prompt", tokens.size() - session_.position());
    Cancel cancel;
    Interrupts::forget();
    const CancelOnInterrupt on_interrupt(cancel);
    AnswerPrinter printer(*context_, style_);
    const auto on_piece = [&](const Piece& piece) { return printer.print(piece); };
    auto generation = session_.generate(tokens, options_, on_piece, &cancel);
    printer.finish();
    if (!generation) return std::unexpected(generation.error());
    if (Interrupts::received() == SIGINT) Interrupts::forget();  // it stopped the answer
    if (generation->finish == FinishReason::cancelled) note("[stopped]\n");
    conversation_.add_assistant(generation->content, generation->reasoning);
    last_ = std::move(*generation);
    return {};
  }

  Result<bool> think(const std::string& argument) {
    if (!argument.empty() && argument != "on" && argument != "off")
      return fail(ErrorCode::usage, "\"" + argument + "\" is neither on nor off", "/think");
    if (!argument.empty()) thinking_ = argument == "on";
    note(thinking_ ? "Thinking is on.\n" : "Thinking is off.\n");
    return true;
  }

  Result<bool> no_think(const std::string&) { return think("off"); }

  Result<bool> system(const std::string& argument) {
    if (argument.empty()) {
      note(conversation_.system().value_or("No system message; /system TEXT sets one.") + "\n");
    } else {
      conversation_.set_system(argument);
      note("System message set.\n");
    }
    return true;
  }

  Result<bool> regenerate(const std::string&) {
    if (!conversation_.drop_last_answer())
      return fail(ErrorCode::usage, "nothing to answer again", "/regen");
    // With a fixed seed the same answer would come again.
    const auto random = SamplingOptions{}.seed;
    if (options_.sampling.seed != random)
      options_.sampling.seed = (options_.sampling.seed + 1) % random;
    TERN_TRY_VOID(answer());
    return true;
  }

  Result<bool> reset(const std::string&) {
    conversation_.clear();
    session_.reset();
    last_.reset();
    note("Conversation forgotten.\n");
    return true;
  }

  Result<bool> save(const std::string& path) {
    if (path.empty()) return fail(ErrorCode::usage, "needs a file name", "/save");
    TERN_TRY_VOID(check_output(path));
    TERN_TRY(auto file, AtomicFile::create(path));
    TERN_TRY_VOID(file.write(conversation_.to_json()));
    TERN_TRY_VOID(file.commit());
    note(fmt::format("{} messages saved to {}.\n", conversation_.size(), path));
    return true;
  }

  Result<bool> load(const std::string& path) {
    if (path.empty()) return fail(ErrorCode::usage, "needs a file name", "/load");
    TERN_TRY(const auto text, read_input(path == "-" ? "./-" : path));
    TERN_TRY(conversation_, Conversation::from_json(text, path));
    last_.reset();
    note(fmt::format("{} messages loaded from {}.\n", conversation_.size(), path));
    return true;
  }

  Result<bool> stats(const std::string&) {
    if (!last_) return fail(ErrorCode::usage, "no answer yet", "/stats");
    note(stats_text(*last_));
    note(fmt::format("Context: {} of {} tokens\n", session_.position(), model_->info().context));
    return true;
  }

  Result<bool> help(const std::string&) {
    note(kHelp);
    return true;
  }

  Result<bool> leave(const std::string&) { return false; }

  const Model* model_;
  std::size_t prefill_chunk_;
  Session session_;
  GenerateOptions options_;
  std::string tools_;
  Context* context_;
  Conversation conversation_;
  std::optional<Generation> last_;
  bool thinking_;
  Thinking style_;
};

constexpr std::array<Chat::Entry, 12> Chat::kCommands = {{
    {"think", &Chat::think},
    {"no_think", &Chat::no_think},
    {"system", &Chat::system},
    {"regen", &Chat::regenerate},
    {"reset", &Chat::reset},
    {"save", &Chat::save},
    {"load", &Chat::load},
    {"stats", &Chat::stats},
    {"help", &Chat::help},
    {"?", &Chat::help},
    {"exit", &Chat::leave},
    {"quit", &Chat::leave},
}};

class ChatProgram : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    declare_runtime(options, model_);
    options.group("Conversation");
    options.text("-p,--prompt", "TEXT", prompt_, "first message; the chat goes on after it");
    options.text("-s,--system", "TEXT", system_, "system message");
    options.text("--messages", "FILE", messages_,
                 "go on with a conversation: a JSON array of OpenAI-shaped messages, as /save "
                 "writes it",
                 ValueKind::file);
    options.text("--tools", "FILE", tools_, "JSON array of OpenAI-shaped tools to offer",
                 ValueKind::file);
    options.exclusive({"--system", "--messages"});
    options.text("--history", "FILE", history_,
                 "where typed lines are remembered, \"\" for nowhere; default: "
                 "$XDG_STATE_HOME/tern/chat_history",
                 ValueKind::file);
    declare_generation(options, generation_);
    options.group("Output");
    options.flag("-v,--verbose", verbose_, "print speed and memory after each answer");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    std::string tools;
    if (tools_) {
      TERN_TRY(tools, read_input(*tools_));
    }
    Conversation conversation;
    if (messages_) {
      TERN_TRY(const auto text, read_input(*messages_));
      TERN_TRY(conversation, Conversation::from_json(text, input_name(*messages_)));
    }
    if (prompt_) TERN_TRY_VOID(check_utf8(*prompt_, "--prompt"));
    if (system_) TERN_TRY_VOID(check_utf8(*system_, "--system"));
    TERN_TRY(const auto model, load_model(model_, context));
    Chat chat(model, model_.prefill_chunk, generation_, std::move(tools), context);
    chat.conversation() = std::move(conversation);
    if (system_) chat.conversation().set_system(*system_);
    return converse(chat, context);
  }

 private:
  Result<int> converse(Chat& chat, Context& context) {
    const NoteInterrupt noted;
    const Terminal& terminal = context.terminal;
    const bool interactive = terminal.in && (terminal.out || terminal.err);
    auto lines = interactive ? edited_lines(terminal.out ? stdout : stderr,
                                            history_.value_or(default_history_file()))
                             : plain_lines();
    if (interactive) show(context, chat.greeting() + "/help lists the commands, Ctrl-D leaves.\n");
    if (prompt_) {
      if (interactive) show(context, ">>> " + printable(*prompt_) + "\n");
      finish_turn(chat.say(*prompt_), chat, context);
      if (!terminal.in) leave_ = true;
    }
    MessageLines message;
    int interrupts = 0;  // in a row, with nothing typed
    std::string line;
    while (!leave_ && !context.out.closed()) {
      Interrupts::forget();
      switch (lines->next(message.open() ? "... " : ">>> ", line)) {
        case LineReader::Status::failed:
          return fail(ErrorCode::io, "cannot read", "standard input");
        case LineReader::Status::end:
          if (message.open()) finish_turn(chat.say(message.take()), chat, context);
          if (interactive) show(context, "\n");
          return status_;
        case LineReader::Status::interrupted: {
          const int signal = Interrupts::received();
          if (signal == 0) continue;  // a signal that is none of ours
          const bool dropped = message.open() || lines->interrupted_text();
          message.take();
          interrupts = dropped ? 0 : interrupts + 1;
          const bool leave = !interactive || signal != SIGINT || interrupts == 2;
          if (interactive)
            show(context, dropped || leave ? "\n" : "\nCtrl-C again or Ctrl-D leaves.\n");
          if (leave) return 128 + signal;
          continue;
        }
        case LineReader::Status::line:
          interrupts = 0;
          lines->remember(line);
          take_line(line, message, chat, context);
      }
    }
    return status_;
  }

  static void show(Context& context, std::string_view text) {
    auto& output = context.terminal.out ? context.out : context.err;
    output.write(text);
    output.flush();
  }

  void take_line(const std::string& line, MessageLines& message, Chat& chat, Context& context) {
    if (!message.open()) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) return;
      if (const auto command = parse_chat_command(line)) {
        const auto stay = chat.command(*command);
        if (!stay) report(stay.error(), context);
        if (stay && !*stay) leave_ = true;
        return;
      }
    }
    const auto text = message.add(line);
    if (text && text->find_first_not_of(" \t\r\n") != std::string::npos)
      finish_turn(chat.say(*text), chat, context);
  }

  void finish_turn(const Result<void>& result, Chat& chat, Context& context) {
    if (!result) report(result.error(), context);
    if (result && verbose_) static_cast<void>(chat.command({"stats", ""}));
    if (const int signal = Interrupts::received(); signal != 0 && signal != SIGINT) {
      status_ = 128 + signal;
      leave_ = true;
    }
  }

  /// Says what went wrong; the chat goes on, and without a terminal its exit status remembers.
  void report(const Error& error, Context& context) {
    if (!context.terminal.in && status_ == 0) status_ = exit_status(error.code);
    context.progress.clear();
    context.err.write(error_text(error));
    context.err.flush();
  }

  ModelOptions model_;
  GenerationOptions generation_;
  std::optional<std::string> prompt_, system_, messages_, tools_, history_;
  bool verbose_ = false;
  bool leave_ = false;
  int status_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_chat() {
  return std::make_unique<ChatProgram>();
}

}  // namespace tern::cli
