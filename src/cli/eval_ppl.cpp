// tern eval ppl: the perplexity of a text.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/eval_common.h"
#include "cli/table.h"
#include "eval/perplexity.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Without --stride the convention is llama-perplexity's, so that figures can be compared;\n"
    "--stride 512 with --ctx 1024 is that of the transformers guide, --stride equal to --ctx\n"
    "that of mlx_lm.perplexity. The error is a standard error over tokens.\n\n"
    "Examples:\n"
    "  tern eval ppl -m model.gguf -f wiki.test.raw\n"
    "  tern eval ppl -m model/ -f text.txt --ctx 1024 --stride 512 --kv q8_0 --json\n";

class EvalPpl : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    declare_compute(options, model_);
    declare_fold(options, model_);
    options.group("Text");
    declare_text(options, text_);
    options.group("Output");
    options.flag("--json", json_, "print one JSON object");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    TERN_TRY(const auto text, read_text(text_));
    TERN_TRY(const auto engine, load_engine(model_, text_.context, context));
    TERN_TRY(const auto windows, make_windows(*engine, text_, text));
    Measurement measurement(model_, context);
    TERN_TRY(const auto score,
             eval::measure_perplexity(*engine, windows, measurement.pool(), measurement.watch()));
    context.progress.clear();
    context.out.write(json_ ? json_line(report(*engine, score)) : table(*engine, score));
    return 0;
  }

 private:
  json::object report(const engine::Engine& engine, const eval::TextScore& score) const {
    return {{"model", engine.checkpoint().display_name()},
            {"kv", kv_json(engine.kv_config())},
            {"text", text_label(text_)},
            {"ctx", text_.context},
            {"stride", text_.stride},
            {"windows", score.windows},
            {"tokens", score.tokens},
            {"nll", to_json(score.nll)},
            {"perplexity", to_json(score.perplexity)},
            {"seconds", score.seconds}};
  }

  std::string table(const engine::Engine& engine, const eval::TextScore& score) const {
    using enum Table::Align;
    Table table({{"model", left},
                 {"cache", left},
                 {"text", left},
                 {"windows", right},
                 {"scored tokens", right},
                 {"perplexity", right}});
    table.add({engine.checkpoint().display_name(), engine::kv_label(engine.kv_config()),
               text_label(text_), fmt::format("{} of {}", score.windows, text_.context),
               std::to_string(score.tokens), with_error(score.perplexity, 4)});
    return table.markdown();
  }

  ModelOptions model_;
  TextOptions text_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_eval_ppl() {
  return std::make_unique<EvalPpl>();
}

}  // namespace tern::cli
