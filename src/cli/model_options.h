// Which model, and how to load it: the options that most commands share.
#pragma once
#include <optional>
#include <string>
#include <tern/tern.hpp>
#include <vector>

#include "cli/context.h"
#include "cli/options.h"
#include "engine/kv_options.h"
#include "engine/model_source.h"

namespace tern::cli {

struct ModelOptions {
  std::optional<std::string> model, positional;
  bool pull = false;
  std::string revision;  // of a named model
  std::optional<std::uint64_t> threads;
  std::uint64_t context = 0;
  std::optional<std::string> kv, kv_keys, kv_values, kv_bits;
  std::string kv_scheme;           // of kv_bits
  std::uint64_t kv_group = 64;     // of kv_bits
  std::string kv_default = "f16";  // unless the model's name asks for another
  std::uint64_t kv_sinks = 4, kv_recent = 128, kv_start = 0;
  std::vector<std::uint64_t> kv_full_layers;
  bool fold = false;
  std::string state_codec = "f32";
  std::uint64_t prefill_chunk = 512;
  std::optional<std::string> isa;
};

/// Declares "-m,--model", the positional MODEL, and how a named one is found.
void declare_model(Options& options, ModelOptions& target);
/// Declares --pull and --revision, for commands that name their model in another way.
void declare_finding(Options& options, ModelOptions& target);
/// Declares the cache: types, windows. With `several`, --kv takes a list of types, which goes
/// there.
void declare_kv(Options& options, ModelOptions& target,
                std::vector<std::string>* several = nullptr);
/// Declares --fold, for commands that load with load_options.
void declare_fold(Options& options, ModelOptions& target);
/// Declares how it computes: threads, KV cache, instruction set.
void declare_compute(Options& options, ModelOptions& target);
/// The same, and how much is held and read: context, prefill chunk.
void declare_runtime(Options& options, ModelOptions& target);

/// The model that was named, or TERN_MODEL. @error usage  none.
Result<std::string> model_name(const ModelOptions& options);

/// Takes --isa, or TERN_ISA, or the best. @error usage, unsupported
Result<void> choose_isa(const ModelOptions& options);

/// Draws a line for each file that is on its way, and one for all.
void show_download(const hub::PullProgress& pull, ProgressLine& progress);

/// How a model is found: one that is not there is downloaded with --pull, and on a terminal.
engine::FindOptions find_options(const ModelOptions& options, Context& context);

/// Downloads the model if that has to be, while Ctrl-C still works; errors as engine::find_model.
Result<void> fetch(const std::string& model, const ModelOptions& options, Context& context);

/// What an engine is to be loaded with: all of `options` but the model; progress on a terminal.
Result<LoadOptions> load_options(const ModelOptions& options, Context& context);

/// Chooses the instruction set and loads the model, with a progress line on a terminal.
Result<Model> load_model(const ModelOptions& options, Context& context);

/// The cache that was asked for, names checked.
Result<engine::KvChoice> kv_choice(const ModelOptions& options, std::string_view model);

}  // namespace tern::cli
