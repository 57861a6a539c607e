// tern quantize: write a model with TurboQuant weights.
#include <fmt/format.h>

#include <memory>

#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "convert/convert.h"
#include "convert/target.h"
#include "engine/engine.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "MODEL holds plain weights (BF16, F16 or F32, in safetensors). FOLDER is made, and appears "
    "only\n"
    "when all of it is there. Embeddings, output and linear layers are coded: 64 inputs are "
    "rotated\n"
    "together, and a group of 64 weights takes --bits bits each and one 16-bit scale. Routers,\n"
    "convolutions and norms stay as they are. docs/turboquant.md has the format and what it "
    "costs.\n\n"
    "Examples:\n"
    "  tern quantize demo demo-turbo4\n"
    "  tern quantize model-bf16 model-turbo3 --bits 3 --keep lm_head\n";

class Quantize : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    options.text("MODEL", "MODEL", model_, "a folder or the name of a plain model, or \"demo\"",
                 ValueKind::model);
    options.text("FOLDER", "FOLDER", folder_, "the folder to write", ValueKind::file);
    declare_finding(options, finding_);
    options.group("Format");
    options.choice("--mode", mode_, {{"turboquant", Mode::turboquant}},
                   "the weight format; default: turboquant");
    options.integer("--bits", bits_, {2, 5}, "bits of a weight; default: 4");
    options.integer("--head-bits", head_bits_, {2, 5},
                    "bits of embeddings and lm_head; default: one more than --bits, at most 5");
    options.integer("--seed", seed_, {0, (std::uint64_t{1} << 53) - 1},
                    "of the rotation's signs; default: 0");
    options.texts("--keep", "TEXT", keep_,
                  "leave matrices plain whose name contains TEXT; may be repeated");
    options.group("Computation");
    options.integer("-t,--threads", threads_, {1, 1024},
                    "threads; default: one for each CPU that the process may use");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!model_) return fail(ErrorCode::usage, "no model", "MODEL", "name a folder, or \"demo\"");
    if (!folder_) return fail(ErrorCode::usage, "no folder to write", "FOLDER");
    TERN_TRY(const auto checkpoint,
             engine::open_checkpoint(*model_, find_options(finding_, context)));
    TERN_TRY(const auto source, convert::Source::open(checkpoint));
    TERN_TRY_VOID(check_plain(source));
    const auto* const target = convert::find_target("turboquant-" + std::to_string(bits_));
    TERN_TRY(const auto plan, target->plan(source, *target, plan_options()));
    const auto pool = [&] {
      const StartThreadsWithoutSignals quiet;
      return std::make_unique<ThreadPool>(threads_.value_or(0));
    }();
    const auto estimate = convert::estimate(plan, *pool, convert::kAssumedWriteRate);
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    TERN_TRY(const auto report,
             convert::convert(
                 plan, source, *folder_, *pool,
                 {.estimate = &estimate, .progress = [&](const convert::ConvertProgress& now) {
                    context.progress.update_work("coding weights", now.part, now.bytes,
                                                 now.total_bytes, now.seconds_left);
                    return !cancel.requested();
                  }}));
    context.progress.clear();
    context.out.write(summary(report));
    return 0;
  }

 private:
  enum class Mode : std::uint8_t { turboquant };

  convert::PlanOptions plan_options() const {
    convert::PlanOptions options{.rotation_seed = seed_};
    if (head_bits_) options.head_bits = static_cast<std::uint32_t>(*head_bits_);
    for (const std::string& part : keep_) options.overrides.push_back({part, "plain"});
    return options;
  }

  static Result<void> check_plain(const convert::Source& source) {
    for (const convert::SourceTensor& tensor : source.tensors())
      if (tensor.is_matrix() && tensor.matrices.front().scheme > quant::Scheme::bf16)
        return fail(ErrorCode::unsupported, "the model is quantized already",
                    source.checkpoint().display_name(),
                    "use the folder of the BF16 model, or tern convert, which says what it costs");
    return {};
  }

  std::string summary(const convert::ConvertReport& report) const {
    return fmt::format("{}: {:.2f} M weights coded of {:.2f} M; relative error {:.5f}; {:.1f} MB\n",
                       *folder_, static_cast<double>(report.coded) / 1e6,
                       static_cast<double>(report.weights) / 1e6, report.error,
                       static_cast<double>(report.bytes) / 1e6);
  }

  std::optional<std::string> model_, folder_;
  ModelOptions finding_;
  Mode mode_ = Mode::turboquant;
  std::uint64_t bits_ = 4, seed_ = 0;
  std::optional<std::uint64_t> head_bits_;
  std::vector<std::string> keep_;
  std::optional<std::uint64_t> threads_;
};

}  // namespace

std::unique_ptr<Command> make_quantize() {
  return std::make_unique<Quantize>();
}

}  // namespace tern::cli
