// Which model, and how to load it: the options that most commands share.
#pragma once
#include <optional>
#include <string>
#include <tern/tern.hpp>

#include "cli/context.h"
#include "cli/options.h"

namespace tern::cli {

struct ModelOptions {
  std::optional<std::string> model, positional;
  std::optional<std::uint64_t> threads;
  std::uint64_t context = 0;
  KvType kv = KvType::f16;
  std::uint64_t prefill_chunk = 512;
  std::optional<std::string> isa;
};

/// Declares "-m,--model" and the positional MODEL.
void declare_model(Options& options, ModelOptions& target);
/// Declares how it computes: threads, KV cache, instruction set.
void declare_compute(Options& options, ModelOptions& target);
/// The same, and how much is held and read: context, prefill chunk.
void declare_runtime(Options& options, ModelOptions& target);

/// The model that was named, or TERN_MODEL. @error usage  none.
Result<std::string> model_name(const ModelOptions& options);

/// Takes --isa, or TERN_ISA, or the best. @error usage, unsupported
Result<void> choose_isa(const ModelOptions& options);

/// Chooses the instruction set and loads the model, with a progress line on a terminal.
Result<Model> load_model(const ModelOptions& options, Context& context);

std::string_view name(KvType type);

}  // namespace tern::cli
