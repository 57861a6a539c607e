#include "cli/eval_common.h"

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "cli/files.h"
#include "eval/conversation.h"

namespace tern::cli {
namespace {

constexpr std::uint64_t kConversations = 16;

}  // namespace

void declare_text(Options& options, TextOptions& target) {
  declare_whole_text(options, target);
  options.integer("--stride", target.stride, {0, 1u << 20},
                  "windows begin every N tokens and score what is new in them; 0 (default): the "
                  "second half of windows side by side, as llama-perplexity");
}

void declare_whole_text(Options& options, TextOptions& target) {
  options.text("-f,--file", "FILE", target.file,
               "the text; \"-\" reads standard input; default: conversations that the program "
               "makes up, with questions about facts in them",
               ValueKind::file);
  options.integer("-c,--ctx", target.context, {2, 1u << 20},
                  "tokens of a window, each read from an empty state; default: " +
                      std::to_string(target.context));
  options.integer("--windows", target.windows, {0, 1u << 20},
                  "read so many windows at most; default: all, or 16 made-up conversations");
  options.flag("--special", target.special,
               "take <|im_start|> and its like in the text for control tokens");
  options.integer("--seed", target.seed, {}, "of what is made up; default: 1");
}

Result<std::string> read_text(const TextOptions& options) {
  if (!options.file) return std::string();
  TERN_TRY(auto text, read_input(*options.file));
  if (text.empty()) return fail(ErrorCode::usage, "the text is empty", input_name(*options.file));
  return text;
}

Result<std::vector<eval::Window>> make_windows(const engine::Engine& engine,
                                               const TextOptions& options,
                                               const std::string& text) {
  if (auto fits = eval::check_context(engine, options.context); !fits) {
    fits.error().where = "--ctx";
    return std::unexpected(fits.error());
  }
  if (!options.file)
    return eval::recall_windows(engine, options.context,
                                options.windows == 0 ? kConversations : options.windows,
                                options.seed);
  const auto tokens = engine.vocabulary().tokenizer.encode(
      text, options.special ? text::Specials::parse : text::Specials::ignore);
  auto windows = eval::cut(
      tokens, {.context = options.context, .stride = options.stride, .windows = options.windows},
      input_name(*options.file));
  if (!windows && (windows.error().where == "context" || windows.error().where == "stride"))
    windows.error().where = windows.error().where == "context" ? "--ctx" : "--stride";
  return windows;
}

std::string text_label(const TextOptions& options) {
  if (options.file) return input_name(*options.file);
  return fmt::format("made-up conversations, seed {}", options.seed);
}

Result<std::unique_ptr<engine::Engine>> load_engine(const ModelOptions& options,
                                                    std::size_t context, Context& context_) {
  TERN_TRY(const auto model, model_name(options));
  TERN_TRY_VOID(choose_isa(options));
  TERN_TRY_VOID(fetch(model, options, context_));
  TERN_TRY(auto load, load_options(options, context_));
  load.context = context;
  const StartThreadsWithoutSignals quiet;
  auto loaded = engine::Engine::load(model, load);
  context_.progress.clear();
  return loaded;
}

Measurement::Measurement(const ModelOptions& options, Context& context) : context_(&context) {
  const StartThreadsWithoutSignals quiet;
  pool_ = std::make_unique<ThreadPool>(options.threads.value_or(0));
  watch_.cancel = &cancel_;
  watch_.progress = [&context](std::string_view what, std::size_t done, std::size_t total) {
    context.progress.update(what, done, total);
  };
}

std::string with_error(const eval::Estimate& estimate, int decimals, double factor) {
  return fmt::format("{:.{}f} \u00b1 {:.{}f}", estimate.value * factor, decimals,
                     estimate.error * factor, decimals);
}

json::object to_json(const eval::Estimate& estimate) {
  return {{"value", estimate.value}, {"error", estimate.error}};
}

json::object to_json(const eval::Divergence& d) {
  return {{"tokens", d.tokens},
          {"kld",
           {{"mean", d.mean.value},
            {"error", d.mean.error},
            {"median", d.median},
            {"p90", d.p90},
            {"p99", d.p99},
            {"p99.9", d.p999},
            {"max", d.max}}},
          {"same_top", to_json(d.same_top)},
          {"delta_p_mean", to_json(d.delta_p)},
          {"delta_p_rms", to_json(d.delta_p_rms)},
          {"base_perplexity", to_json(d.base_perplexity)},
          {"perplexity", to_json(d.perplexity)},
          {"perplexity_ratio", to_json(d.perplexity_ratio)}};
}

std::string kv_text(const state::KvConfig& config) {
  std::string text = engine::kv_label(config);
  if (config.quantized_start > 0) text += fmt::format(", from {}", config.quantized_start);
  return text + fmt::format(", {} sinks, {} recent", config.sinks, config.recent);
}

json::object kv_json(const state::KvConfig& config) {
  return {{"keys", quant::name(config.keys)},
          {"values", quant::name(config.values)},
          {"sinks", config.sinks},
          {"recent", config.recent},
          {"quantized_start", config.quantized_start}};
}

Result<void> write_file(const std::string& path, std::string_view text) {
  TERN_TRY_VOID(check_output(path));
  TERN_TRY(auto file, AtomicFile::create(path));
  TERN_TRY_VOID(file.write(text));
  return file.commit();
}

std::string json_line(const json::value& value) {
  return json::serialize(value) + "\n";
}

}  // namespace tern::cli
