// tern eval kld: how predictions differ from saved ones.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/eval_common.h"
#include "cli/files.h"
#include "cli/table.h"
#include "eval/perplexity.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "First save the predictions of a reference, then compare: another cache, other weights of the\n"
    "same model, another version. The text is inside the saved file, which takes 2 bytes for each\n"
    "entry of the vocabulary and scored token (4 with --exact). KLD is in nats; ratio and errors\n"
    "are those of paired tokens. Compared with itself a model shows 0 with --exact, else less\n"
    "than 2e-8.\n\n"
    "Examples:\n"
    "  tern eval kld -m model/ -f text.txt --save-base base.tern\n"
    "  tern eval kld -m model/ --base base.tern --kv turbo4\n"
    "  tern eval kld -m model-4bit/ --base base.tern --json\n";

class EvalKld : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    declare_compute(options, model_);
    declare_fold(options, model_);
    options.group("Reference");
    options.text("--save-base", "FILE", save_, "save the predictions of this model and cache",
                 ValueKind::file);
    options.text("--base", "FILE", base_, "compare with these", ValueKind::file);
    options.flag("--exact", exact_, "save all 32 bits of every logit");
    options.group("Text, with --save-base");
    declare_text(options, text_);
    options.group("Output");
    options.flag("--json", json_, "print one JSON object");
    options.exclusive({"--save-base", "--base"});
    for (const char* option :
         {"--exact", "--file", "--ctx", "--stride", "--windows", "--seed", "--special"})
      options.exclusive({"--base", option});
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (save_) return save(context);
    if (base_) return compare(context);
    return fail(ErrorCode::usage, "nothing to compare with", "--base",
                "first save a reference with --save-base FILE");
  }

 private:
  Result<int> save(Context& context) {
    TERN_TRY_VOID(check_output(*save_));
    TERN_TRY(const auto text, read_text(text_));
    TERN_TRY(const auto engine, load_engine(model_, text_.context, context));
    TERN_TRY(auto windows, make_windows(*engine, text_, text));
    const eval::BaseHeader header{.model = engine->checkpoint().display_name(),
                                  .kv = kv_text(engine->kv_config()),
                                  .vocabulary = engine->vocabulary().size,
                                  .tokenizer = eval::tokenizer_hash(engine->vocabulary()),
                                  .format = exact_ ? eval::BaseFormat::f32 : eval::BaseFormat::u16,
                                  .windows = std::move(windows)};
    TERN_TRY(auto writer, eval::BaseWriter::create(*save_, header));
    Measurement measurement(model_, context);
    TERN_TRY(const auto score, eval::save_base(*engine, header.windows, writer, measurement.pool(),
                                               measurement.watch()));
    TERN_TRY_VOID(writer.commit());
    context.progress.clear();
    if (json_)
      context.out.write(json_line(json::object{{"model", header.model},
                                               {"kv", kv_json(engine->kv_config())},
                                               {"text", text_label(text_)},
                                               {"saved", *save_},
                                               {"tokens", score.tokens},
                                               {"perplexity", to_json(score.perplexity)}}));
    else
      context.out.write(fmt::format("{}: predictions of {} tokens, perplexity {}\n", *save_,
                                    score.tokens, with_error(score.perplexity, 4)));
    return 0;
  }

  Result<int> compare(Context& context) {
    TERN_TRY(auto base, eval::BaseReader::open(*base_));
    std::size_t longest = 0;
    for (const auto& window : base.header().windows)
      longest = std::max(longest, window.tokens.size());
    TERN_TRY(const auto engine, load_engine(model_, longest, context));
    Measurement measurement(model_, context);
    TERN_TRY(const auto divergence,
             eval::compare_with_base(*engine, base, measurement.pool(), measurement.watch()));
    context.progress.clear();
    if (json_) {
      json::object report = to_json(divergence);
      report["model"] = engine->checkpoint().display_name();
      report["kv"] = kv_json(engine->kv_config());
      report["base"] = json::object{{"model", base.header().model}, {"kv", base.header().kv}};
      context.out.write(json_line(report));
    } else {
      context.out.write(table(*engine, base.header(), divergence));
    }
    return 0;
  }

  static std::string table(const engine::Engine& engine, const eval::BaseHeader& base,
                           const eval::Divergence& d) {
    using enum Table::Align;
    Table table({{"", left}, {"value", right}});
    const auto add = [&](const char* what, std::string value) {
      table.add({what, std::move(value)});
    };
    add("reference", fmt::format("{} ({})", base.model, base.kv));
    add("compared",
        fmt::format("{} ({})", engine.checkpoint().display_name(), kv_text(engine.kv_config())));
    add("scored tokens", std::to_string(d.tokens));
    add("KLD, mean", with_error(d.mean, 6));
    add("KLD, median", fmt::format("{:.6f}", d.median));
    add("KLD, 90 %", fmt::format("{:.6f}", d.p90));
    add("KLD, 99 %", fmt::format("{:.6f}", d.p99));
    add("KLD, 99.9 %", fmt::format("{:.6f}", d.p999));
    add("KLD, largest", fmt::format("{:.6f}", d.max));
    add("same top token, %", with_error(d.same_top, 3, 100));
    add("change of p, mean, %", with_error(d.delta_p, 3, 100));
    add("change of p, RMS, %", with_error(d.delta_p_rms, 3, 100));
    add("perplexity, reference", with_error(d.base_perplexity, 4));
    add("perplexity, compared", with_error(d.perplexity, 4));
    add("perplexity, ratio", with_error(d.perplexity_ratio, 6));
    return table.markdown();
  }

  ModelOptions model_;
  TextOptions text_;
  std::optional<std::string> save_, base_;
  bool exact_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_eval_kld() {
  return std::make_unique<EvalKld>();
}

}  // namespace tern::cli
