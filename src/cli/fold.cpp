// tern fold: move the rotations of the attention cache into the weights.
#include "convert/fold.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "engine/engine.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "The cache types turbo, planar and iso rotate every key and value before they are coded. This\n"
    "writes a copy of the model whose projections do it already: its outputs stay the same, and a\n"
    "cache of that kind has nothing left to rotate. The model must not be quantized. DST is a new\n"
    "folder; it appears when all of it is written, and any program reads it as a plain model.\n\n"
    "Examples:\n"
    "  tern fold model/ model-folded/\n"
    "  tern fold demo folded/ --rotation iso\n";

class FoldCommand : public Command {
 public:
  void declare(Options& options) override {
    options.group("Folders");
    options.text("SRC", "SRC", source_, "the model: a folder of safetensors, a name, or \"demo\"",
                 ValueKind::model);
    options.text("DST", "DST", destination_, "the folder to write", ValueKind::file);
    declare_finding(options, finding_);
    options.group("Rotation");
    options.choice("--rotation", kind_,
                   {{"hadamard", model::RotationKind::hadamard},
                    {"planar", model::RotationKind::planar},
                    {"iso", model::RotationKind::iso}},
                   "that of turbo caches, planar ones or iso ones; default: hadamard");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!source_) return fail(ErrorCode::usage, "no model to fold", "SRC");
    if (!destination_) return fail(ErrorCode::usage, "no folder to write", "DST");
    const auto find = find_options(finding_, context);
    TERN_TRY(const auto found, engine::find_model(*source_, find));
    TERN_TRY(const auto checkpoint, engine::open_checkpoint(*source_, find));
    convert::FoldTask task{.fold = {kind_, kind_}, .folder = {}, .destination = *destination_};
    std::error_code ignored;
    if (!found.path.empty())
      task.folder = std::filesystem::is_directory(found.path, ignored) ? found.path
                                                                       : found.path.parent_path();
    if (task.folder && task.folder->empty()) task.folder = ".";
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    TERN_TRY(const auto result, convert::fold(
                                    checkpoint, task,
                                    [&](std::uint64_t done, std::uint64_t total) {
                                      context.progress.update("folding", done, total);
                                    },
                                    [&] { return cancel.requested(); }));
    context.progress.clear();
    context.out.write(fmt::format(
        "{}: {} tensors rotated, {} copied, {} in {} file{}\n", *destination_, result.folded,
        result.copied, human_bytes(result.bytes), result.files, result.files == 1 ? "" : "s"));
    return 0;
  }

 private:
  std::optional<std::string> source_, destination_;
  ModelOptions finding_;
  model::RotationKind kind_ = model::RotationKind::hadamard;
};

}  // namespace

std::unique_ptr<Command> make_fold() {
  return std::make_unique<FoldCommand>();
}

}  // namespace tern::cli
