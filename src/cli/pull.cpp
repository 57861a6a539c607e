// tern pull: download a model into the cache that Hugging Face's tools share.
#include "hub/pull.h"

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "cli/table.h"
#include "hub/environment.h"
#include "hub/family.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "NAME is one of \"tern variants\", or owner/model of any hub; owner/model:Q4_K_M takes one "
    "GGUF of\n"
    "several. Only the files that the model needs are downloaded, four at once; what was "
    "interrupted\n"
    "goes on where it stopped, and every file is checked before it gets its name.\n\n"
    "The cache is $HF_HUB_CACHE, $HF_HOME/hub or ~/.cache/huggingface/hub. HF_TOKEN is the access "
    "token\n"
    "for gated and private models, HF_ENDPOINT another hub.\n\n"
    "Examples:\n"
    "  tern pull TurboQuant-MLX-4bit\n"
    "  tern pull TurboQuant-GGUF-Q4_K_M-TQ-KV --dry-run\n"
    "  tern pull nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16 --revision main\n";

class Pull : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    options.text("NAME", "NAME", name_, "the name of a model", ValueKind::model);
    options.custom("--revision", "REV", "branch, tag or commit; default: main",
                   [this](const std::string& typed) -> Result<void> {
                     revision_ = typed;
                     return {};
                   });
    options.flag("--dry-run", dry_run_, "only say what would be downloaded");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!name_)
      return fail(ErrorCode::usage, "no model named", "NAME", "\"tern variants\" lists some");
    TERN_TRY(const auto name, hub::parse_model_name(*name_));
    if (!name)
      return fail(ErrorCode::usage, "no name of a model", *name_,
                  "a name is owner/model, or one that \"tern variants\" lists");
    TERN_TRY(const auto environment, hub::read_environment());
    TERN_TRY(const auto plan, hub::plan_pull(environment, *name, revision_));
    if (dry_run_) {
      context.out.write(plan_text(plan, environment));
      return 0;
    }
    context.err.write(fmt::format("tern: {} at {}: {} in {} files, {} to download\n",
                                  plan.repository, plan.commit.substr(0, 12),
                                  human_bytes(plan.bytes), plan.files.size(),
                                  human_bytes(plan.to_fetch)));
    context.err.flush();
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    const auto model = hub::pull(environment, plan, [&](const hub::PullProgress& progress) {
      show_download(progress, context.progress);
      return !cancel.requested();
    });
    context.progress.clear();
    if (!model && model.error().code == ErrorCode::cancelled)
      context.err.write("tern: stopped; the same command goes on from here\n");
    if (!model) return std::unexpected(model.error());
    context.out.write(model->path.string() + "\n");
    return 0;
  }

 private:
  static std::string plan_text(const hub::PullPlan& plan, const hub::Environment& environment) {
    using enum Table::Align;
    Table table({{"file", left}, {"bytes", right}});
    for (const auto& file : plan.files) table.add({file.path, std::to_string(file.size)});
    return fmt::format("{} at {}\n\n{}\n{} bytes, {} of them to download into {}\n",
                       plan.repository, plan.commit, table.markdown(), plan.bytes, plan.to_fetch,
                       environment.cache.string());
  }

  std::optional<std::string> name_;
  std::string revision_{hub::kMainRevision};
  bool dry_run_ = false;
};

}  // namespace

std::unique_ptr<Command> make_pull() {
  return std::make_unique<Pull>();
}

}  // namespace tern::cli
