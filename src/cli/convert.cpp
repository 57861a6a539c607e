// tern convert: write a model in another format.
#include "convert/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/json.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/model_options.h"
#include "cli/stats.h"
#include "convert/imatrix.h"
#include "convert/target.h"
#include "engine/engine.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "SRC is any model that tern runs: plain (BF16, F16, F32), MLX, TurboQuant or GGUF. DST is new "
    "and\n"
    "appears when all of it is written; until then everything lies in DST.partial, and --resume "
    "goes\n"
    "on with what an interrupted run left there. Numbers that the formats share are copied bit "
    "for\n"
    "bit; a quantized source loses once more, and a warning says so. docs/convert.md has the "
    "details.\n"
    "\n"
    "Examples:\n"
    "  tern convert model-bf16 model-4bit --to mlx-4bit\n"
    "  tern convert demo demo-mixed --to mlx-4bit --override 'switch_mlp.fc2=6'\n"
    "  tern convert model-bf16 out --to mlx-mxfp4 --dry-run\n"
    "  tern convert model-bf16 model.gguf --to gguf-q4_k_m --imatrix imatrix.gguf\n"
    "  tern convert omni-bf16 mmproj-F16.gguf --to mmproj-f16\n";

std::string duration(double seconds) {
  if (seconds < 1) return "under a second";
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  return fmt::format("{:.0f} min", seconds / 60);
}

/// "12 min (coding 10 min, reading 90 s, writing 30 s)": parts that take a tenth of it.
std::string estimated(const convert::Estimate& estimate) {
  const double all = estimate.seconds();
  std::string parts;
  const auto add = [&](std::string_view what, double seconds) {
    if (all < 10 || seconds < all / 10) return;
    parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", what, duration(seconds));
  };
  add("coding", estimate.coding);
  add("reading", estimate.reading);
  add("writing", estimate.writing);
  return "estimated " + duration(all) + (parts.empty() ? "" : " (" + parts + ")");
}

std::string gigabytes(std::uint64_t bytes) {
  return bytes < 1'000'000'000 ? fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6)
                               : fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

/// "5G" or "500M": powers of 1024, as mlx-lm and Hugging Face count shards.
Result<std::uint64_t> parse_size(const std::string& text) {
  std::uint64_t value = 0;
  std::size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && value < 1'000'000; ++i)
    value = 10 * value + static_cast<std::uint64_t>(text[i] - '0');
  const std::string unit = text.substr(i);
  const int shift = unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : 0;
  if (i == 0 || value == 0 || shift == 0)
    return fail(ErrorCode::usage, "expected a size such as 5G, 500M or 64K, found \"" + text + "\"",
                "--shard-size");
  return value << shift;
}

class Convert : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    options.text("SRC", "SRC", source_, "the model: a folder, a file, a name, or \"demo\"",
                 ValueKind::model);
    options.text("DST", "DST", destination_, "what to write: a folder, or a file for GGUF",
                 ValueKind::file);
    declare_finding(options, finding_);
    options.group("Format");
    std::vector<std::string> names;
    for (const convert::Target& target : convert::targets()) names.emplace_back(target.name);
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    options.words("--to", "FORMAT", names, "one of " + list, [this](const std::string& word) {
      target_ = convert::find_target(word);
      if (target_ != nullptr) return Result<void>{};
      return Result<void>(fail(ErrorCode::usage, "unknown format \"" + word + "\"", "--to",
                               "tern convert --help lists them"));
    });
    options.integer(
        "--group-size", group_size_, {32, 128},
        "columns that share a scale in MLX's affine formats: 32, 64 or 128; default: 64");
    options.texts(
        "--override", "PATTERN=FORMAT", overrides_,
        "another format for matrices whose name (here, in Hugging Face or in GGUF) contains "
        "PATTERN, where * stands for anything; may be repeated, the last match counts");
    options.text(
        "--imatrix", "FILE", imatrix_,
        "an importance matrix of llama.cpp's GGUF form: columns whose inputs are larger lose "
        "less",
        ValueKind::file);
    options.flag(
        "--reference", reference_,
        "the encoders of MLX and of the package gguf, byte for byte, instead of the search, "
        "which loses less");
    options.integer("--head-bits", head_bits_, {2, 5},
                    "turboquant: bits of embeddings and lm_head; default: one more, at most 5");
    options.integer("--seed", seed_, {0, (std::uint64_t{1} << 53) - 1},
                    "turboquant: of the rotation's signs; default: 0");
    options.flag("--text-only", text_only_, "leave out the encoders of images and sound");
    options.custom("--shard-size", "SIZE", "of a safetensors file, at most; default: 5G",
                   [this](const std::string& text) -> Result<void> {
                     TERN_TRY(shard_bytes_, parse_size(text));
                     return {};
                   });
    options.group("Run");
    options.flag("--dry-run", dry_run_, "print every tensor and its bytes, and write nothing");
    options.flag("--resume", resume_, "go on with what an earlier run of this command left");
    options.flag("--json", json_, "the plan or the report as JSON");
    options.integer("-t,--threads", threads_, {1, 1024},
                    "threads; default: one for each CPU that the process may use");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (!source_) return fail(ErrorCode::usage, "no model", "SRC", "name a folder, or \"demo\"");
    if (!destination_) return fail(ErrorCode::usage, "nothing to write", "DST");
    if (target_ == nullptr)
      return fail(ErrorCode::usage, "no format", "--to", "for example --to mlx-4bit");
    TERN_TRY(const auto found, engine::find_model(*source_, find_options(finding_, context)));
    context.progress.clear();
    TERN_TRY(const auto checkpoint,
             engine::open_checkpoint(found.path.empty() ? found.name : found.path.string()));
    TERN_TRY(const auto source, convert::Source::open(checkpoint));
    TERN_TRY(auto options, plan_options());
    convert::Importance importance;
    if (imatrix_) {
      TERN_TRY(importance, convert::read_imatrix(*imatrix_));
      options.importance = &importance;
    }
    TERN_TRY(const auto plan, target_->plan(source, *target_, options));
    for (const std::string& warning : plan.warnings)
      context.err.write("tern: warning: " + warning + "\n");
    const auto pool = [&] {
      const StartThreadsWithoutSignals quiet;
      return std::make_unique<ThreadPool>(threads_.value_or(0));
    }();
    const auto estimate = convert::estimate(
        plan, *pool,
        dry_run_ ? convert::kAssumedWriteRate  // writes nothing, not even to measure
                 : convert::measure_write_rate(*destination_, plan.bytes()));
    if (dry_run_) {
      context.out.write(json_ ? json_plan(plan, estimate) : text_plan(plan, estimate));
      return 0;
    }
    return write(context, source, plan, estimate, *pool);
  }

 private:
  Result<convert::PlanOptions> plan_options() const {
    convert::PlanOptions options{.reference = reference_,
                                 .shard_bytes = shard_bytes_,
                                 .text_only = text_only_,
                                 .rotation_seed = seed_};
    if (group_size_) options.group_size = static_cast<std::uint32_t>(*group_size_);
    if (head_bits_) options.head_bits = static_cast<std::uint32_t>(*head_bits_);
    for (const std::string& text : overrides_) {
      TERN_TRY(auto parsed, convert::Override::parse(text));
      options.overrides.push_back(std::move(parsed));
    }
    return options;
  }

  Result<int> write(Context& context, const convert::Source& source, const convert::Plan& plan,
                    const convert::Estimate& estimate, ThreadPool& pool) {
    Cancel cancel;
    const CancelOnInterrupt on_interrupt(cancel);
    context.err.write(fmt::format("{}: {} of {}, {}\n", *destination_, gigabytes(plan.bytes()),
                                  plan.target, estimated(estimate)));
    auto report =
        convert::convert(plan, source, *destination_, pool,
                         {.resume = resume_,
                          .estimate = &estimate,
                          .progress = [&](const convert::ConvertProgress& now) {
                            context.progress.update_work("converting", now.part, now.bytes,
                                                         now.total_bytes, now.seconds_left);
                            return !cancel.requested();
                          }});
    context.progress.clear();
    if (!report && report.error().code == ErrorCode::cancelled)
      report.error().hint = "the same command with --resume goes on from here";
    if (!report) return std::unexpected(report.error());
    context.out.write(json_ ? json_report(plan, *report, estimate) : text_report(*report));
    return 0;
  }

  std::string text_plan(const convert::Plan& plan, const convert::Estimate& estimate) const {
    std::string text;
    for (const convert::PlannedFile& file : plan.files) {
      text += fmt::format("{}: {} bytes\n", file.name, file.bytes());
      for (const convert::PlannedTensor& tensor : file.tensors)
        for (const auto& output : tensor.outputs)
          text += fmt::format("  {} {} {}: {}\n", output.name, name(output.type),
                              to_string(output.shape), tensor.how);
    }
    for (const convert::SmallFile& file : plan.small_files)
      text += fmt::format("{}: {} bytes\n", file.name, file.text.size());
    return text + fmt::format(
                      "{}: {} weights, {} bytes of tensors, {} bytes in all ({}); {:.3f} bits "
                      "a weight; {}\n",
                      plan.target, plan.weights(), plan.tensor_bytes(), plan.bytes(),
                      gigabytes(plan.bytes()), bits_each(plan), estimated(estimate));
  }

  static double bits_each(const convert::Plan& plan) {
    return 8 * static_cast<double>(plan.tensor_bytes()) /
           static_cast<double>(std::max<std::uint64_t>(1, plan.weights()));
  }

  static std::string json_plan(const convert::Plan& plan, const convert::Estimate& estimate) {
    json::array files;
    for (const convert::PlannedFile& file : plan.files) {
      json::array tensors;
      for (const convert::PlannedTensor& tensor : file.tensors)
        for (const auto& output : tensor.outputs)
          tensors.push_back({{"name", output.name},
                             {"type", name(output.type)},
                             {"shape", json::array(output.shape.begin(), output.shape.end())},
                             {"how", tensor.how}});
      json::object entry = {{"name", file.name}, {"bytes", file.bytes()}};
      entry["tensors"] = std::move(tensors);
      files.push_back(std::move(entry));
    }
    for (const convert::SmallFile& file : plan.small_files)
      files.push_back({{"name", file.name}, {"bytes", file.text.size()}});
    json::object out = {{"target", plan.target},
                        {"weights", plan.weights()},
                        {"tensor_bytes", plan.tensor_bytes()},
                        {"bytes", plan.bytes()},
                        {"seconds", estimate.seconds()},
                        {"coding_seconds", estimate.coding},
                        {"reading_seconds", estimate.reading},
                        {"writing_seconds", estimate.writing}};
    out["warnings"] = json::array(plan.warnings.begin(), plan.warnings.end());
    out["files"] = std::move(files);
    return json::serialize(out) + "\n";
  }

  std::string text_report(const convert::ConvertReport& report) const {
    std::string text =
        fmt::format("{}: {} tensors, {:.2f} M weights, {}", *destination_, report.tensors,
                    static_cast<double>(report.weights) / 1e6, gigabytes(report.bytes));
    if (report.coded > 0) text += fmt::format("; relative error {:.3g}", report.error);
    if (report.resumed_bytes > 0)
      text += fmt::format("; {} were there", gigabytes(report.resumed_bytes));
    return text + fmt::format("; {:.1f} s\n", report.seconds);
  }

  static std::string json_report(const convert::Plan& plan, const convert::ConvertReport& report,
                                 const convert::Estimate& estimate) {
    json::object out = {{"target", plan.target},
                        {"tensors", report.tensors},
                        {"weights", report.weights},
                        {"bytes", report.bytes},
                        {"coded", report.coded},
                        {"resumed_bytes", report.resumed_bytes},
                        {"relative_error", report.error},
                        {"seconds", report.seconds},
                        {"estimated_seconds", estimate.seconds()}};
    out["warnings"] = json::array(plan.warnings.begin(), plan.warnings.end());
    return json::serialize(out) + "\n";
  }

  std::optional<std::string> source_, destination_, imatrix_;
  ModelOptions finding_;
  const convert::Target* target_ = nullptr;
  std::optional<std::uint64_t> group_size_, head_bits_, threads_;
  std::vector<std::string> overrides_;
  std::uint64_t seed_ = 0, shard_bytes_ = std::uint64_t{5} << 30;
  bool reference_ = false, text_only_ = false, dry_run_ = false, resume_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_convert() {
  return std::make_unique<Convert>();
}

}  // namespace tern::cli
