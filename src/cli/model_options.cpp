#include "cli/model_options.h"

#include <fmt/format.h>

#include <cstdlib>
#include <functional>
#include <ranges>

#include "base/cpu.h"
#include "cli/interrupts.h"
#include "cli/stats.h"

namespace tern::cli {
void declare_model(Options& options, ModelOptions& target) {
  options.text("-m,--model", "MODEL", target.model,
               "a folder, a .gguf file, a name such as TurboQuant-MLX-4bit or owner/model (see "
               "tern variants), or \"demo\"; default: $TERN_MODEL",
               ValueKind::model);
  options.text("MODEL", "MODEL", target.positional, "the same without -m", ValueKind::model);
  options.exclusive({"--model", "MODEL"});
  declare_finding(options, target);
}

void declare_finding(Options& options, ModelOptions& target) {
  options.flag(
      "--pull", target.pull,
      "download a named model that is not in the cache; on a terminal that happens anyway");
  options.custom("--revision", "REV", "branch, tag or commit of a named model; default: main",
                 [&target](const std::string& typed) -> Result<void> {
                   target.revision = typed;
                   return {};
                 });
}

void declare_kv(Options& options, ModelOptions& target, std::vector<std::string>* several) {
  const auto types = [](std::optional<std::string>& to) {
    return [&to](const std::string& typed) -> Result<void> {
      TERN_TRY_VOID(engine::parse_kv(typed));
      to = typed;
      return {};
    };
  };
  const auto names = engine::kv_names();
  const auto list = [several](const std::string& typed) -> Result<void> {
    std::vector<std::string> all;
    for (const auto part : std::views::split(typed, ',')) {
      all.emplace_back(part.begin(), part.end());
      TERN_TRY_VOID(engine::parse_kv(all.back()));
    }
    *several = std::move(all);
    return {};
  };
  options.words(
      "--kv", several == nullptr ? "TYPE[:TYPE]" : "TYPE[:TYPE][,...]", names,
      "type of the attention cache, or of its keys and values: f16, q8_0, turbo4, "
      "turbo4:turbo3, iso4, ...; default: " +
          target.kv_default + ", or what a model's name promises (-TQ-KV: turbo4, -RQ-KV: iso4)",
      several == nullptr ? std::function<Result<void>(const std::string&)>(types(target.kv))
                         : list);
  options.words("--cache-type-k", "TYPE", names, "type of the keys alone", types(target.kv_keys));
  options.words("--cache-type-v", "TYPE", names, "type of the values alone",
                types(target.kv_values));
  options.text("--kv-bits", "BITS", target.kv_bits,
               "the same as a number of bits: 4, or 3.5 for keys of 3 and values of 4");
  options.choice(
      "--kv-quant-scheme", target.kv_scheme,
      {{"turboquant", "turboquant"}, {"rotorquant", "rotorquant"}, {"uniform", "uniform"}},
      "what --kv-bits means; default: uniform, turboquant for a fraction");
  options.integer("--kv-group-size", target.kv_group, {1, 1024},
                  "values that share a scale, of --kv-quant-scheme uniform; default: 64");
  options.integer("--kv-sinks", target.kv_sinks, {0, 1u << 24},
                  "first tokens that stay 16-bit; default: 4");
  options.integer("--kv-recent", target.kv_recent, {0, 1u << 24},
                  "last tokens that are still 16-bit; default: 128");
  options.integer("--quantized-kv-start", target.kv_start, {0, 1u << 24},
                  "nothing is quantized before so many tokens; default: 0");
  options.integers("--kv-f16-layers", target.kv_full_layers, {0, 1023},
                   "attention layers that stay f16, counted from 0");
  options.alias("-ctk", "--cache-type-k");
  options.alias("-ctv", "--cache-type-v");
  options.exclusive({"--kv", "--kv-bits", "--cache-type-k"});
  options.exclusive({"--kv", "--kv-bits", "--cache-type-v"});
}

void declare_fold(Options& options, ModelOptions& target) {
  options.flag("--fold", target.fold,
               "move the rotation of the cache type into the projections, in float32, while "
               "loading; not for TurboQuant weights");
}

void declare_compute(Options& options, ModelOptions& target) {
  options.integer("-t,--threads", target.threads, {1, 1024},
                  "threads; default: one for each CPU that the process may use");
  declare_kv(options, target);
  options.text("--isa", "NAME", target.isa,
               "instruction set: scalar, neon, avx2, avx512 or amx; default: $TERN_ISA, or the "
               "best that this CPU has");
}

void declare_runtime(Options& options, ModelOptions& target) {
  declare_compute(options, target);
  declare_fold(options, target);
  options.integer("-c,--ctx", target.context, {0, 1u << 24},
                  "tokens that the conversation may hold; 0 (default): the model's own limit");
  options.choice(
      "--state-codec", target.state_codec,
      {{"f32", "f32"}, {"lossless", "lossless"}, {"q8", "q8"}, {"q6", "q6"}, {"q4", "q4"}},
      "how recurrent state is kept to go back to; default: f32");
  options.integer("--prefill-chunk", target.prefill_chunk, {1, 1u << 16},
                  "prompt tokens that are read together; default: 512");
}

Result<std::string> model_name(const ModelOptions& options) {
  const auto& typed = options.model ? options.model : options.positional;
  if (typed && !typed->empty()) return *typed;
  if (const char* variable = std::getenv("TERN_MODEL"); variable != nullptr && *variable != '\0')
    return std::string(variable);
  return fail(ErrorCode::usage, "no model named", "--model",
              "give a folder or a .gguf file, or try the one inside the program: -m demo");
}

Result<void> choose_isa(const ModelOptions& options) {
  if (options.isa && options.isa->empty())
    return fail(ErrorCode::usage, "no instruction set named", "--isa");
  auto isa = select_isa(options.isa.value_or(""));
  if (isa) return {};
  if (isa.error().where.empty()) isa.error().where = options.isa ? "--isa" : "TERN_ISA";
  return std::unexpected(isa.error());
}

namespace {

Result<KvOptions> kv_options(const ModelOptions& options) {
  KvOptions kv;
  if (options.kv) kv.keys = *options.kv;
  if (options.kv_bits) {
    auto types = engine::parse_kv_bits(*options.kv_bits, options.kv_scheme, options.kv_group);
    if (!types) {
      types.error().where = "--" + types.error().where;
      return std::unexpected(types.error());
    }
    kv.keys = quant::name(types->keys);
    kv.values = quant::name(types->values);
  }
  if (options.kv_keys) kv.keys = *options.kv_keys;
  if (options.kv_values) kv.values = *options.kv_values;
  if (options.kv_keys.has_value() != options.kv_values.has_value())  // the other side is f16
    (options.kv_keys ? kv.values : kv.keys) = "f16";
  kv.sinks = options.kv_sinks;
  kv.recent = options.kv_recent;
  kv.quantized_start = options.kv_start;
  kv.full_layers.assign(options.kv_full_layers.begin(), options.kv_full_layers.end());
  return kv;
}

}  // namespace

void show_download(const hub::PullProgress& pull, ProgressLine& progress) {
  std::vector<ProgressLine::Part> files;
  for (const auto& file : pull.running) files.push_back({file.path, file.done, file.size});
  progress.update_parts(files, pull.waiting ? "waiting for another process" : "downloading",
                        pull.done, pull.total);
}

engine::FindOptions find_options(const ModelOptions& options, Context& context) {
  const auto progress = [&context](std::string_view what, std::size_t done, std::size_t total) {
    context.progress.update(what, done, total);
  };
  const auto show = [&context, told = false](const hub::PullProgress& pull) mutable {
    if (!std::exchange(told, true)) {
      context.err.write("tern: downloading " + human_bytes(pull.total) +
                        " (Ctrl-C stops, the same command goes on)\n");
      context.err.flush();
    }
    show_download(pull, context.progress);
  };
  return {.pull = options.pull || context.terminal.err,
          .revision = options.revision,
          .progress = progress,
          .on_pull = show};
}

Result<void> fetch(const std::string& model, const ModelOptions& options, Context& context) {
  TERN_TRY_VOID(engine::find_model(model, find_options(options, context)));
  context.progress.clear();
  return {};
}

Result<LoadOptions> load_options(const ModelOptions& options, Context& context) {
  LoadOptions load;
  load.threads = options.threads.value_or(0);
  load.context = options.context;
  load.fold = options.fold;
  TERN_TRY(load.kv, kv_options(options));
  load.state_codec = options.state_codec;
  load.prefill_chunk = options.prefill_chunk;
  const auto find = find_options(options, context);
  load.pull = find.pull;
  load.revision = find.revision;
  load.progress = find.progress;
  return load;
}

namespace {

/// What a user may not expect of a model that was loaded.
void tell(const ModelInfo& info, Context& context) {
  if (info.kv_from_name)
    context.err.write("tern: the cache is " + info.kv_keys +
                      ", as the model's name asks for (--kv f16 turns it off)\n");
  if (info.trained_context != 0 && info.context > info.trained_context)
    context.err.write(fmt::format(
        "tern: warning: a context of {} tokens, the model was made for {}: beyond them answers "
        "may make no sense\n",
        info.context, info.trained_context));
  context.err.flush();
}

}  // namespace

Result<Model> load_model(const ModelOptions& options, Context& context) {
  TERN_TRY(const auto model, model_name(options));
  TERN_TRY_VOID(choose_isa(options));
  TERN_TRY_VOID(fetch(model, options, context));
  TERN_TRY(const auto load, load_options(options, context));
  const StartThreadsWithoutSignals quiet;
  auto loaded = Model::load(model, load);
  context.progress.clear();
  if (loaded) tell(loaded->info(), context);
  return loaded;
}

Result<engine::KvChoice> kv_choice(const ModelOptions& options, std::string_view model) {
  TERN_TRY(const auto kv, kv_options(options));
  TERN_TRY(const auto fallback, engine::parse_kv(options.kv_default));
  return engine::resolve_kv(kv, model, fallback);
}

}  // namespace tern::cli
