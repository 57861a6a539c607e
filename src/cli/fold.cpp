// tern fold: move the rotations of the attention cache into the weights.
#include "convert/fold.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "convert/convert.h"
#include "engine/engine.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "The cache types turbo, planar and iso rotate every key and value before they are coded. This\n"
    "writes a copy of the model whose projections do it already: its outputs stay the same, and a\n"
    "cache of that kind has nothing left to rotate. DST appears when all of it is written: a new\n"
    "folder, or for GGUF a new file, that any program reads as a model like SRC. Projections of a\n"
    "quantized model are quantized once more, which loses a little (a warning says so), or become\n"
    "BF16; everything else is copied. --fold of the other commands does the same while loading.\n\n"
    "Examples:\n"
    "  tern fold model/ model-folded/\n"
    "  tern fold demo folded/ --rotation iso\n"
    "  tern fold model-Q4_K_M.gguf folded.gguf --projections bf16\n";

class FoldCommand : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    options.text("SRC", "SRC", source_, "the model: a folder, a file, a name, or \"demo\"",
                 ValueKind::model);
    options.text("DST", "DST", destination_, "what to write: a folder, or a file for GGUF",
                 ValueKind::file);
    declare_finding(options, finding_);
    options.group("Rotation");
    options.choice("--rotation", kind_,
                   {{"hadamard", model::RotationKind::hadamard},
                    {"planar", model::RotationKind::planar},
                    {"iso", model::RotationKind::iso}},
                   "that of turbo caches, planar ones or iso ones; default: hadamard");
    options.choice("--projections", bf16_, {{"own", false}, {"bf16", true}},
                   "the type of rotated projections that were quantized: their own again, or "
                   "bf16; default: own");
    options.integer("-t,--threads", threads_, {1, 1024},
                    "threads; default: one for each CPU that the process may use");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!source_) return fail(ErrorCode::usage, "no model to fold", "SRC");
    if (!destination_) return fail(ErrorCode::usage, "nothing to write", "DST");
    const auto find = find_options(finding_, context);
    TERN_TRY(const auto found, engine::find_model(*source_, find));
    TERN_TRY(const auto checkpoint, engine::open_checkpoint(*source_, find));
    TERN_TRY(const auto source, convert::Source::open(checkpoint));
    const auto pool = [&] {
      const StartThreadsWithoutSignals quiet;
      return std::make_unique<ThreadPool>(threads_.value_or(0));
    }();
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    const auto rotating = [&](std::uint64_t done, std::uint64_t total) {
      context.progress.update("rotating", done, total);
      return !cancel.requested();
    };
    const auto writing = [&](const convert::ConvertProgress& now) {
      context.progress.update_bytes("writing", now.bytes, now.total_bytes);
      return !cancel.requested();
    };
    TERN_TRY(const auto folded, convert::plan_fold(source,
                                                   {.fold = {kind_, kind_},
                                                    .bf16 = bf16_,
                                                    .folder = folder_of(found.path),
                                                    .progress = rotating},
                                                   *pool));
    context.progress.clear();
    for (const std::string& warning : folded.plan.warnings)
      context.err.write("tern: warning: " + warning + "\n");
    TERN_TRY(const auto report, convert::convert(folded.plan, source, *destination_, *pool,
                                                 {.keep = false, .progress = writing}));
    context.progress.clear();
    context.out.write(summary(folded, report));
    return 0;
  }

 private:
  /// Of the small files beside the weights; none for the model inside the program.
  static std::optional<std::filesystem::path> folder_of(const std::filesystem::path& model) {
    std::error_code ignored;
    if (model.empty()) return std::nullopt;
    if (std::filesystem::is_directory(model, ignored)) return model;
    return model.has_parent_path() ? model.parent_path() : ".";
  }

  std::string summary(const convert::FoldPlan& folded, const convert::ConvertReport& report) const {
    std::string text = fmt::format("{}: {} tensors rotated, {} copied, {}", *destination_,
                                   folded.folded, folded.copied, human_bytes(report.bytes));
    if (folded.error > 0) text += fmt::format("; relative error {:.3g}", folded.error);
    return text + "\n";
  }

  std::optional<std::string> source_, destination_;
  ModelOptions finding_;
  std::optional<std::uint64_t> threads_;
  bool bf16_ = false;
  model::RotationKind kind_ = model::RotationKind::hadamard;
};

}  // namespace

std::unique_ptr<Command> make_fold() {
  return std::make_unique<FoldCommand>();
}

}  // namespace tern::cli
