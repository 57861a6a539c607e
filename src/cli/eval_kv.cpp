// tern eval kv: cache types side by side.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/eval_common.h"
#include "cli/files.h"
#include "cli/table.h"
#include "eval/kv_report.h"
#include "eval/pictures.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Every type is compared with an f16 cache on the same text: perplexity, KL divergence (nats),\n"
    "the share of tokens with the same likeliest one; and on the same prompts: facts found in "
    "long\n"
    "texts, arithmetic. Without -f the text is made up, and its answers are scored. \"codes\" is "
    "the\n"
    "part of all reads of keys and values that were codes: with the default windows (4 first and\n"
    "128 last tokens in 16 bits) a short text reads none, so --kv-sinks 0 --kv-recent 0 shows "
    "what\n"
    "the codes themselves lose.\n\n"
    "Examples:\n"
    "  tern eval kv demo\n"
    "  tern eval kv demo --types q8_0,turbo4,turbo3 --kv-recent 0 --kv-sinks 0 -o report\n"
    "  tern eval kv -m model/ -f text.txt --ctx 8192 --recall-length 8192 --json\n";

const std::vector<std::string> kDefaultTypes = {"f16",    "q8_0",    "q4_0",    "turbo4", "turbo3",
                                                "turbo2", "planar4", "planar3", "iso4",   "iso3"};

class EvalKv : public Command {
 public:
  void declare(Options& options) override {
    text_.context = 2048;
    options.group("Model");
    declare_model(options, model_);
    options.integer("-t,--threads", model_.threads, {1, 1024},
                    "threads; default: one for each CPU that the process may use");
    options.text("--isa", "NAME", model_.isa,
                 "instruction set: scalar, neon, avx2, avx512 or amx; default: $TERN_ISA, or the "
                 "best that this CPU has");
    options.group("Caches");
    options.custom("--types", "TYPE[,TYPE]",
                   "what to compare, as --kv of other commands names it; default: f16,q8_0,q4_0,"
                   "turbo4,turbo3,turbo2,planar4,planar3,iso4,iso3",
                   [this](const std::string& typed) { return take_types(typed); });
    options.integer("--kv-sinks", model_.kv_sinks, {0, 1u << 24},
                    "first tokens that stay 16-bit; default: 4");
    options.integer("--kv-recent", model_.kv_recent, {0, 1u << 24},
                    "last tokens that are still 16-bit; default: 128");
    options.integer("--quantized-kv-start", model_.kv_start, {0, 1u << 24},
                    "nothing is quantized before so many tokens; default: 0");
    options.group("Text");
    declare_text(options, text_);
    options.group("Questions");
    options.integer("--recall", recall_, {0, 100'000},
                    "prompts with a hidden fact, at depths from beginning to end; default: 20");
    options.integer("--recall-length", recall_length_, {64, 1u << 20},
                    "tokens of these prompts; default: 2048");
    options.integer("--arithmetic", arithmetic_, {0, 100'000},
                    "sums, differences and products to ask; default: 20");
    options.texts("--tasks", "FILE", tasks_,
                  "ask the questions of this file instead, one JSON object a line with messages, "
                  "enable_thinking and expected; may be repeated",
                  ValueKind::file);
    options.exclusive({"--arithmetic", "--tasks"});
    options.group("Output");
    options.text("-o,--output", "PREFIX", output_, "write PREFIX.md, PREFIX.json and PREFIX.svg",
                 ValueKind::file);
    options.flag("--json", json_, "print one JSON object instead of Markdown");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    TERN_TRY(const auto text, read_text(text_));
    std::vector<std::string> tasks;
    for (const auto& path : tasks_) {
      TERN_TRY(auto lines, read_input(path));
      tasks.push_back(std::move(lines));
    }
    const std::size_t room = std::max<std::size_t>(text_.context, recall_length_ + 64);
    TERN_TRY(const auto engine, load_engine(model_, room, context));
    TERN_TRY(const auto task, make_task(*engine, text, tasks));
    Measurement measurement(model_, context);
    TERN_TRY(const auto report,
             eval::compare_caches(*engine, task, measurement.pool(), measurement.watch()));
    context.progress.clear();
    const auto name = engine->checkpoint().display_name();
    const std::string as_markdown = markdown(name, report),
                      as_json = json_line(to_json(name, report));
    if (output_) {
      TERN_TRY_VOID(write_file(*output_ + ".md", as_markdown));
      TERN_TRY_VOID(write_file(*output_ + ".json", as_json));
      TERN_TRY_VOID(write_file(*output_ + ".svg", picture(name, report)));
    }
    context.out.write(json_ ? as_json : as_markdown);
    return 0;
  }

 private:
  Result<void> take_types(const std::string& typed) {
    types_.clear();
    for (std::size_t at = 0; at <= typed.size();) {
      const std::size_t end = std::min(typed.find(',', at), typed.size());
      types_.push_back(typed.substr(at, end - at));
      TERN_TRY_VOID(engine::parse_kv(types_.back()));
      at = end + 1;
    }
    return {};
  }

  Result<eval::KvTask> make_task(const engine::Engine& engine, const std::string& text,
                                 const std::vector<std::string>& tasks) const {
    eval::KvTask task;
    for (const auto& label : types_) {
      TERN_TRY(const auto types, engine::parse_kv(label));
      state::KvConfig config(types.keys, types.values);
      config.sinks = model_.kv_sinks;
      config.recent = model_.kv_recent;
      config.quantized_start = model_.kv_start;
      task.types.push_back({label, std::move(config)});
    }
    TERN_TRY(task.windows, make_windows(engine, text_, text));
    task.needles = {.lengths = {}, .depths = 10, .repeats = (recall_ + 9) / 10, .seed = text_.seed};
    if (recall_ < 10) task.needles.depths = recall_;
    if (recall_ > 0) task.needles.lengths = {recall_length_};
    if (tasks_.empty()) {
      TERN_TRY(task.questions, eval::arithmetic_questions(engine, arithmetic_, text_.seed));
    }
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      TERN_TRY(auto questions, eval::parse_questions(engine, tasks[i], input_name(tasks_[i])));
      std::ranges::move(questions, std::back_inserter(task.questions));
    }
    return task;
  }

  static std::string share(const eval::Accuracy& accuracy) {
    if (accuracy.asked == 0) return "-";
    return fmt::format("{}/{} ({:.1f} %)", accuracy.right, accuracy.asked, 100 * accuracy.share());
  }

  std::string conditions(const eval::KvReport& report) const {
    std::string text = fmt::format("Text: {}, {} windows of {} tokens, {} of them scored. ",
                                   text_label(text_), report.windows, text_.context,
                                   report.rows.empty() ? 0 : report.rows.front().divergence.tokens);
    if (recall_ > 0) text += fmt::format("Facts: in prompts of {} tokens. ", recall_length_);
    text += fmt::format("Of 16 bits: the first {} and the last {} tokens.\n", model_.kv_sinks,
                        model_.kv_recent);
    const auto coded =
        std::ranges::find_if(report.rows, [](const auto& row) { return quantizes(row.config); });
    if (coded == report.rows.end()) return text;
    text += fmt::format("Of all keys and values that were read, codes were {:.0f} % in the text",
                        100 * coded->text_share);
    if (coded->needles.asked > 0)
      text += fmt::format(", {:.0f} % at the ends of the prompts with facts",
                          100 * coded->needle_share);
    if (coded->questions.asked > 0)
      text +=
          fmt::format(", {:.0f} % at those of the other questions", 100 * coded->question_share);
    return text + ".\n";
  }

  static bool quantizes(const state::KvConfig& config) {
    return config.keys > quant::KvScheme::bf16 || config.values > quant::KvScheme::bf16;
  }

  std::string markdown(const std::string& name, const eval::KvReport& report) const {
    using enum Table::Align;
    Table table({{"cache", left},
                 {"bytes a token", right},
                 {"codes", right},
                 {"perplexity", right},
                 {"ratio to f16", right},
                 {"KLD mean", right},
                 {"median", right},
                 {"99 %", right},
                 {"max", right},
                 {"same top, %", right},
                 {"change of p, RMS %", right},
                 {"error of keys", right},
                 {"of values", right},
                 {"facts found", right},
                 {tasks_.empty() ? "arithmetic" : "questions", right}});
    for (const auto& row : report.rows) {
      const auto& d = row.divergence;
      table.add({row.label, std::to_string(row.bytes_per_token),
                 fmt::format("{:.0f} %", 100 * row.text_share), with_error(d.perplexity, 4),
                 with_error(d.perplexity_ratio, 5), with_error(d.mean, 6),
                 fmt::format("{:.6f}", d.median), fmt::format("{:.5f}", d.p99),
                 fmt::format("{:.4f}", d.max), with_error(d.same_top, 2, 100),
                 with_error(d.delta_p_rms, 2, 100), fmt::format("{:.5f}", row.key_error),
                 fmt::format("{:.5f}", row.value_error), share(row.needles), share(row.questions)});
    }
    std::string text = fmt::format("# Cache types of {}\n\n{}", name, conditions(report));
    return text + "\n" + table.markdown();
  }

  json::object to_json(const std::string& name, const eval::KvReport& report) const {
    json::array rows;
    for (const auto& row : report.rows) {
      json::object object = cli::to_json(row.divergence);
      object["type"] = row.label;
      object["kv"] = kv_json(row.config);
      object["bytes_per_token"] = row.bytes_per_token;
      object["codes_read"] = json::object{{"text", row.text_share},
                                          {"recall", row.needle_share},
                                          {"questions", row.question_share}};
      object["coding_error"] = json::object{{"keys", row.key_error}, {"values", row.value_error}};
      object["recall"] = json::object{{"asked", row.needles.asked}, {"right", row.needles.right}};
      object["questions"] =
          json::object{{"asked", row.questions.asked}, {"right", row.questions.right}};
      rows.push_back(std::move(object));
    }
    return {{"model", name},        {"reference", report.reference},   {"text", text_label(text_)},
            {"ctx", text_.context}, {"stride", text_.stride},          {"windows", report.windows},
            {"seed", text_.seed},   {"recall_length", recall_length_}, {"types", std::move(rows)}};
  }

  static std::string picture(const std::string& name, const eval::KvReport& report) {
    std::vector<eval::CachePoint> points;
    for (const auto& row : report.rows)
      points.push_back(
          {row.label, static_cast<double>(row.bytes_per_token), row.divergence.mean.value});
    return eval::cache_picture(points, "Cache types of " + name + ": size and loss");
  }

  ModelOptions model_;
  TextOptions text_;
  std::vector<std::string> types_ = kDefaultTypes, tasks_;
  std::uint64_t recall_ = 20, recall_length_ = 2048, arithmetic_ = 20;
  std::optional<std::string> output_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_eval_kv() {
  return std::make_unique<EvalKv>();
}

}  // namespace tern::cli
