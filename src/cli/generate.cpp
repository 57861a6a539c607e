// tern generate: answer one prompt.
#include <algorithm>

#include "base/json.h"
#include "cli/answer_printer.h"
#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/files.h"
#include "cli/generation_options.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "cli/stats.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  tern generate -m demo -p \"Solve: 17 * 23\"\n"
    "  tern generate -m model.gguf -p - --no-think < question.txt\n"
    "  tern generate -m model/ --messages chat.json --tools tools.json --json\n"
    "  tern generate -m demo -p \"The capital of\" --raw -n 20 --temp 0\n";

class Generate : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    declare_runtime(options, model_);
    options.group("Prompt");
    options.text("-p,--prompt", "TEXT", prompt_, "what to answer; \"-\" reads standard input");
    options.text("-s,--system", "TEXT", system_, "system message before it");
    options.flag("--raw", raw_, "give the prompt to the model as it is, without chat template");
    options.text("--messages", "FILE", messages_,
                 "answer a conversation instead: a JSON array of OpenAI-shaped messages; \"-\" "
                 "reads standard input",
                 ValueKind::file);
    options.text("--tools", "FILE", tools_, "JSON array of OpenAI-shaped tools to offer",
                 ValueKind::file);
    options.exclusive({"--prompt", "--messages"});
    options.exclusive({"--system", "--messages", "--raw"});
    options.exclusive({"--tools", "--raw"});
    options.exclusive({"--think", "--raw"});
    options.exclusive({"--no-think", "--raw"});
    declare_generation(options, generation_);
    options.group("Output");
    options.flag("--json", json_, "print one JSON object when the answer is complete");
    options.flag("-v,--verbose", verbose_, "print speed and memory on standard error");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!prompt_ && !messages_)
      return fail(ErrorCode::usage, "no prompt", "--prompt",
                  "for example: tern generate -m demo -p \"Solve: 17 * 23\"");
    TERN_TRY(const auto name, model_name(model_));
    // Inputs first: a wrong path should not cost the loading of a model.
    TERN_TRY(const auto input, read_input_texts());
    TERN_TRY(const auto model, load_model(model_, context));
    TERN_TRY(const auto prompt, render(model, input));
    return answer(model, name, prompt, context);
  }

 private:
  struct Input {
    std::string prompt;  // or the messages' JSON
    std::string tools;   // JSON
  };

  Result<Input> read_input_texts() const {
    Input input;
    if (tools_) {
      TERN_TRY(input.tools, read_input(*tools_));
      TERN_TRY(const auto value, parse_json(input.tools, input_name(*tools_)));
      if (!value.is_array())
        return fail(ErrorCode::corrupt, "expected a JSON array of tools", input_name(*tools_));
    }
    if (messages_) {
      TERN_TRY(input.prompt, read_input(*messages_));
      TERN_TRY_VOID(Conversation::from_json(input.prompt, input_name(*messages_)));
    } else if (*prompt_ == "-") {
      TERN_TRY(input.prompt, read_input("-"));
    } else {
      input.prompt = *prompt_;
    }
    if (!messages_)
      TERN_TRY_VOID(check_utf8(input.prompt, *prompt_ == "-" ? input_name("-") : "--prompt"));
    if (system_) TERN_TRY_VOID(check_utf8(*system_, "--system"));
    return input;
  }

  Result<std::string> render(const Model& model, const Input& input) const {
    if (raw_) return input.prompt;
    ChatTemplateOptions options;
    options.enable_thinking = generation_.enable_thinking();
    options.tools_json = input.tools;
    if (messages_) return model.apply_chat_template_json(input.prompt, options);
    std::vector<Message> messages;
    if (system_) messages.push_back({"system", *system_});
    messages.push_back({"user", input.prompt});
    return model.apply_chat_template(messages, options);
  }

  Result<int> answer(const Model& model, const std::string& name, const std::string& prompt,
                     Context& context) const {
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    AnswerPrinter printer(context, thinking_style(context.terminal, generation_.hide_thinking,
                                                  generation_.show_thinking));
    OnPiece on_piece;
    if (!json_) on_piece = [&](const Piece& piece) { return printer.print(piece); };
    const auto tokens = model.tokenize(prompt);
    if (tokens.size() > model_.prefill_chunk)
      context.progress.begin("reading the prompt", tokens.size());
    auto session = model.new_session();
    const auto generation = session.generate(tokens, generation_.resolved(), on_piece, &cancel);
    printer.finish();
    if (!generation) return std::unexpected(generation.error());
    if (json_) context.out.write(to_json(*generation, name) + "\n");
    if (verbose_) context.err.write(stats_text(*generation));
    const int signal = Interrupts::received();
    return generation->finish == FinishReason::cancelled && signal != 0 ? 128 + signal : 0;
  }

  static std::string to_json(const Generation& generation, const std::string& name) {
    const std::size_t read = generation.prompt_tokens - generation.reused_tokens;
    const std::size_t generated = generation.tokens.size();
    const json::object object{
        {"model", name},
        {"content", generation.content},
        {"reasoning", generation.reasoning},
        {"finish_reason", std::string(tern::name(generation.finish))},
        {"seed", generation.seed},
        {"usage",
         {{"prompt_tokens", generation.prompt_tokens},
          {"completion_tokens", generated},
          {"reasoning_tokens", generation.reasoning_tokens},
          {"total_tokens", generation.prompt_tokens + generated}}},
        {"timings",
         {{"prompt_seconds", generation.prefill_time.count()},
          {"prompt_tokens_per_second", rate(read, generation.prefill_time)},
          {"generation_seconds", generation.decode_time.count()},
          {"generation_tokens_per_second", rate(generated, generation.decode_time)},
          {"peak_memory_bytes", peak_memory()}}}};
    return json::serialize(object);
  }

  ModelOptions model_;
  GenerationOptions generation_;
  std::optional<std::string> prompt_, system_, messages_, tools_;
  bool raw_ = false, json_ = false, verbose_ = false;
};

}  // namespace

std::unique_ptr<Command> make_generate() {
  return std::make_unique<Generate>();
}

}  // namespace tern::cli
