#include "cli/model_options.h"

#include <cstdlib>

#include "base/cpu.h"
#include "cli/interrupts.h"

namespace tern::cli {

void declare_model(Options& options, ModelOptions& target) {
  options.text("-m,--model", "MODEL", target.model,
               "a folder, a .gguf file, or \"demo\"; default: $TERN_MODEL", ValueKind::model);
  options.text("MODEL", "MODEL", target.positional, "the same without -m", ValueKind::model);
  options.exclusive({"--model", "MODEL"});
}

void declare_compute(Options& options, ModelOptions& target) {
  options.integer("-t,--threads", target.threads, {1, 1024},
                  "threads; default: one for each CPU that the process may use");
  options.choice("--kv", target.kv,
                 {{"f32", KvType::f32}, {"f16", KvType::f16}, {"bf16", KvType::bf16}},
                 "number format of the attention cache; default: " + std::string(name(target.kv)));
  options.text("--isa", "NAME", target.isa,
               "instruction set: scalar, neon, avx2, avx512 or amx; default: $TERN_ISA, or the "
               "best that this CPU has");
}

void declare_runtime(Options& options, ModelOptions& target) {
  declare_compute(options, target);
  options.integer("-c,--ctx", target.context, {0, 1u << 24},
                  "tokens that the conversation may hold; 0 (default): the model's own limit");
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
  auto isa = select_isa(options.isa.value_or(""));
  if (isa) return {};
  if (isa.error().where.empty()) isa.error().where = options.isa ? "--isa" : "TERN_ISA";
  return std::unexpected(isa.error());
}

Result<Model> load_model(const ModelOptions& options, Context& context) {
  TERN_TRY(const auto model, model_name(options));
  TERN_TRY_VOID(choose_isa(options));
  LoadOptions load;
  load.threads = options.threads.value_or(0);
  load.context = options.context;
  load.kv_type = options.kv;
  load.prefill_chunk = options.prefill_chunk;
  load.progress = [&context](std::string_view what, std::size_t done, std::size_t total) {
    context.progress.update(what, done, total);
  };
  const StartThreadsWithoutSignals quiet;
  auto loaded = Model::load(model, load);
  context.progress.clear();
  return loaded;
}

std::string_view name(KvType type) {
  switch (type) {
    case KvType::f32:
      return "f32";
    case KvType::f16:
      return "f16";
    case KvType::bf16:
      return "bf16";
  }
  return "f16";
}

}  // namespace tern::cli
