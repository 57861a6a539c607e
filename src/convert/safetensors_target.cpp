#include "convert/safetensors_target.h"

#include <algorithm>
#include <charconv>

#include "base/printable.h"
#include "convert/config_text.h"
#include "convert/media.h"
#include "convert/mlx_format.h"
#include "convert/recipe.h"
#include "convert/shards.h"
#include "convert/side_files.h"
#include "quant/turbo_weights.h"

namespace tern::convert {
namespace {

using quant::MlxFormat;
using quant::Scheme;

constexpr std::string_view kTower = "language_model.";

/// Whether a vector keeps its type when the rest of a model is cast: routing and decay depend on
/// its last digits. As mlx-lm.
bool keeps_type(const SourceTensor& tensor) {
  return tensor.role == model::Role::decay || tensor.hf.ends_with(".gate.e_score_correction_bias");
}

/// Names and shapes of one way to lay a model out in safetensors, and the tensors so far.
class Layout {
 public:
  Layout(const Source& source, const PlanOptions& options, bool mlx)
      : source_(source),
        options_(options),
        mlx_(mlx),
        omni_(!source.media().empty() && !options.text_only),
        prefix_(omni_ && source.has_tower_prefix() ? kTower : "") {}

  bool omni() const { return omni_; }
  bool drops_media() const { return !source_.media().empty() && options_.text_only; }

  /// The name in the file. Experts: of the stack in MLX, else with "*".
  std::string name(const SourceTensor& tensor) const {
    std::string text = std::string(prefix_) + tensor.hf;
    if (tensor.role != model::Role::experts || !mlx_) return text;
    const std::size_t experts = text.find(".experts.*.");
    return text.substr(0, experts) + (text.ends_with(".up_proj.weight") ? ".switch_mlp.fc1.weight"
                                                                        : ".switch_mlp.fc2.weight");
  }

  /// One matrix, or all experts, in `format`.
  Result<void> code(const SourceTensor& tensor, const RowFormatPtr& format) {
    const std::string full = name(tensor);
    if (tensor.role != model::Role::experts || mlx_) {
      TERN_TRY(auto planned, plan_coding(tensor, format, module_of(full), options_));
      tensors_.push_back(std::move(planned));
      return {};
    }
    for (std::size_t e = 0; e < tensor.matrices.size(); ++e) {
      std::string one(module_of(full));
      one.replace(one.find('*'), 1, std::to_string(e));
      TERN_TRY(auto planned, plan_coding(tensor, format, one, options_, e));
      tensors_.push_back(std::move(planned));
    }
    return {};
  }

  /// A vector, norm, decay or convolution, cast to `type` unless it keeps its own; none: as it is.
  void vector(const SourceTensor& tensor, std::optional<DType> type) {
    Shape shape = tensor.shape;
    if (tensor.role == model::Role::conv)  // [channels, kernel] in memory either way
      shape.insert(shape.begin() + (mlx_ ? 2 : 1), 1);
    const Tensor& stored = *tensor.stored;
    const bool converted = tensor.role == model::Role::decay && tensor.from_gguf;
    const DType to = !type || keeps_type(tensor) ? stored.type : *type;
    if (to == stored.type && !converted) {
      PlannedTensor planned = plan_copy(stored, name(tensor));
      planned.outputs.front().shape = shape;
      tensors_.push_back(std::move(planned));
      return;
    }
    tensors_.push_back(
        plan_values(tensor.values(), to, name(tensor), shape,
                    std::string(tern::name(stored.type)) + " to " + std::string(tern::name(to))));
  }

  void media() {
    if (!omni_) return;
    const MediaLayout from = media_layout(source_.media());
    for (const Tensor* tensor : source_.media())
      if (auto planned =
              plan_media(*tensor, from, mlx_ ? MediaLayout::mlx : MediaLayout::hugging_face))
        tensors_.push_back(std::move(*planned));
  }

  std::vector<PlannedTensor> take() { return std::move(tensors_); }

 private:
  const Source& source_;
  const PlanOptions& options_;
  bool mlx_, omni_;
  std::string_view prefix_;
  std::vector<PlannedTensor> tensors_;
};

/// The files, the small files and the warnings that all of these targets share.
Result<Plan> finish(const Source& source, const Target& target, Layout& layout,
                    const PlanOptions& options, ConfigChanges changes,
                    std::string_view format_word) {
  Plan plan{.target = std::string(target.name)};
  layout.media();
  TERN_TRY_VOID(
      add_shards(plan, layout.take(), options.shard_bytes, {{"format", std::string(format_word)}}));
  changes.text_only = !layout.omni();
  TERN_TRY(auto config, config_text(source, changes));
  plan.small_files.push_back({"config.json", std::move(config)});
  TERN_TRY(auto files, side_files(source));
  for (SmallFile& file : files) plan.small_files.push_back(std::move(file));
  warn_of_requantizing(source, plan);
  if (!source.unknown().empty())
    plan.warnings.push_back("left out: " + std::to_string(source.unknown().size()) +
                            " tensors that the text model does not use, the first " +
                            printable(source.unknown().front()));
  if (layout.drops_media())
    plan.warnings.push_back("left out: " + std::to_string(source.media().size()) +
                            " tensors of the image and sound encoders (--text-only)");
  if (source.is_gguf() && files.empty())
    plan.warnings.push_back("the GGUF file has no tokenizer: the folder has none either");
  return plan;
}

/// Matrices left plain, as one line.
void warn_of_plain(Plan& plan, const std::vector<std::string>& names, std::string_view why) {
  if (!names.empty())
    plan.warnings.push_back("left in bf16: " + std::to_string(names.size()) + " matrices, " +
                            std::string(why) + "; the first " + names.front());
}

Result<void> no_turbo_options(const PlanOptions& options, const Target& target) {
  if (!options.head_bits && options.rotation_seed == 0) return {};
  return fail(ErrorCode::usage,
              "--head-bits and --seed are for turboquant, not for " + std::string(target.name));
}

std::optional<std::uint32_t> number(std::string_view word) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

constexpr std::string_view kMlxWords = "2, 3, 4, 5, 6 or 8 bits, mxfp4, mxfp8, nvfp4, bf16 or f16";

/// "4", "4bit", "mxfp4" as a format of MLX; none for "bf16" and "f16", which stay plain.
Result<std::optional<MlxFormat>> mlx_word(std::string_view word, std::uint32_t group) {
  if (word == "bf16" || word == "f16") return std::nullopt;
  if (word == "mxfp4") return MlxFormat{Scheme::mlx_mxfp4, 4, 32};
  if (word == "mxfp8") return MlxFormat{Scheme::mlx_mxfp8, 8, 32};
  if (word == "nvfp4") return MlxFormat{Scheme::mlx_nvfp4, 4, 16};
  std::string_view digits = word;
  if (digits.ends_with("bit")) digits.remove_suffix(3);
  const auto bits = number(digits);
  if (bits && *bits >= 2 && *bits <= 8 && *bits != 7)
    return MlxFormat{Scheme::mlx_affine, *bits, group};
  return fail(ErrorCode::usage, "unknown format " + printable(word), "--override",
              "known are " + std::string(kMlxWords));
}

json::object mlx_entry(const MlxFormat& format) {
  const std::string_view mode = quant::name(format.scheme).substr(4);  // after "mlx "
  return {{"group_size", format.group}, {"bits", format.bits}, {"mode", mode}};
}

/// Plans the matrices of an MLX target.
class MlxPlanner {
 public:
  MlxPlanner(const Source& source, const PlanOptions& options, MlxFormat main)
      : options_(options),
        main_(main),
        overrides_(options.overrides),
        layout_(source, options, true),
        map_(mlx_entry(main)) {}

  Result<void> add(const SourceTensor& tensor) {
    if (!tensor.is_matrix()) {
      layout_.vector(tensor, DType::bf16);
      return {};
    }
    const std::string name = layout_.name(tensor);
    const bool router = is_router(tensor);
    const std::string_view word =
        router ? std::string_view() : overrides_.find({name, tensor.hf, tensor.gguf});
    std::optional<MlxFormat> format = main_;
    if (!word.empty()) {
      TERN_TRY(format, mlx_word(word, options_.group_size.value_or(64)));
    }
    const RowFormatPtr rows =
        router || !format ? plain_format(word == "f16" ? DType::f16 : DType::bf16)
                          : mlx_format(*format, options_.reference ? quant::Encoder::reference
                                                                   : quant::Encoder::searched);
    const bool fitting = fits(tensor, *rows);
    if (!fitting) plain_.push_back(name);
    if (!router && (!format || !fitting))
      map_[module_of(name)] = false;
    else if (!router && !word.empty())
      map_[module_of(name)] = mlx_entry(*format);
    return layout_.code(tensor, fitting ? rows : plain_format(DType::bf16));
  }

  Result<Plan> finish(const Source& source, const Target& target) {
    TERN_TRY_VOID(overrides_.check());
    TERN_TRY(Plan plan,
             convert::finish(source, target, layout_, options_, {.quantization = map_}, "mlx"));
    warn_of_plain(plan, plain_,
                  "their rows are no multiple of the group size " + std::to_string(main_.group));
    return plan;
  }

 private:
  const PlanOptions& options_;
  MlxFormat main_;
  Overrides overrides_;
  Layout layout_;
  json::object map_;  ///< "quantization" of config.json
  std::vector<std::string> plain_;
};

/// Embeddings and lm_head.
bool is_head(const SourceTensor& tensor) {
  return tensor.hf == "lm_head.weight" || tensor.role == model::Role::embedding;
}

/// The format that `word`, or else the target, asks for; null: as it is.
Result<RowFormatPtr> turbo_word(std::string_view word, std::uint32_t bits,
                                const PlanOptions& options) {
  if (word == "bf16" || word == "f16" || word == "plain") return RowFormatPtr{};
  if (!word.empty()) {
    const auto own = number(word);
    if (!own || *own < 2 || *own > 5)
      return fail(ErrorCode::usage, "unknown format " + printable(word), "--override",
                  "turboquant has 2, 3, 4 or 5 bits, or plain");
    bits = *own;
  }
  return turbo_format(bits, options.rotation_seed);
}

/// A matrix in the type that it has; floats of a quantized one as bf16.
RowFormatPtr own_format(const SourceTensor& tensor) {
  const Scheme scheme = tensor.matrices.front().scheme;
  return plain_format(scheme == Scheme::f32   ? DType::f32
                      : scheme == Scheme::f16 ? DType::f16
                                              : DType::bf16);
}

/// Plans the matrices of a turboquant target.
class TurboPlanner {
 public:
  TurboPlanner(const Source& source, const PlanOptions& options, std::uint32_t bits)
      : options_(options),
        bits_(bits),
        head_bits_(options.head_bits.value_or(std::min(bits + 1, 5u))),
        overrides_(options.overrides),
        layout_(source, options, false),
        map_{{"mode", "turboquant"},
             {"bits", bits},
             {"group_size", quant::kTurboGroup},
             {"rotation", "rht64"},
             {"rotation_seed", options.rotation_seed},
             {"version", 1}} {}

  Result<void> add(const SourceTensor& tensor) {
    if (!tensor.is_matrix()) {
      layout_.vector(tensor, {});
      return {};
    }
    if (is_router(tensor)) return layout_.code(tensor, own_format(tensor));
    const std::string_view word = overrides_.find({layout_.name(tensor), tensor.hf, tensor.gguf});
    const std::uint32_t bits = number(word).value_or(is_head(tensor) ? head_bits_ : bits_);
    TERN_TRY(const RowFormatPtr format, turbo_word(word, bits, options_));
    if (format == nullptr) return layout_.code(tensor, own_format(tensor));
    if (!fits(tensor, *format)) {
      plain_.push_back(tensor.hf);
      return layout_.code(tensor, own_format(tensor));
    }
    if (bits != bits_) note(tensor, bits);
    return layout_.code(tensor, format);
  }

  Result<Plan> finish(const Source& source, const Target& target) {
    TERN_TRY_VOID(overrides_.check());
    TERN_TRY(Plan plan, convert::finish(source, target, layout_, options_,
                                        {.quantization = map_, .repeated = false}, "pt"));
    warn_of_plain(plan, plain_, "their rows are no multiple of 64");
    return plan;
  }

 private:
  /// Bits of a module's own, in config.json.
  void note(const SourceTensor& tensor, std::uint32_t bits) {
    const std::string name = layout_.name(tensor);
    const bool experts = tensor.role == model::Role::experts;
    for (std::size_t e = 0; e < tensor.matrices.size(); ++e) {
      std::string module(module_of(name));
      if (experts) module.replace(module.find('*'), 1, std::to_string(e));
      map_[module] = {{"mode", "turboquant"}, {"bits", bits}, {"group_size", quant::kTurboGroup}};
    }
  }

  const PlanOptions& options_;
  std::uint32_t bits_, head_bits_;
  Overrides overrides_;
  Layout layout_;
  json::object map_;
  std::vector<std::string> plain_;
};

}  // namespace

Result<Plan> plan_mlx(const Source& source, const Target& target, const PlanOptions& options) {
  TERN_TRY_VOID(no_turbo_options(options, target));
  const std::uint32_t group = options.group_size.value_or(64);
  TERN_TRY(const auto format, mlx_word(target.name.substr(4), group));
  if (options.group_size && format->scheme != Scheme::mlx_affine &&
      *options.group_size != format->group)
    return fail(ErrorCode::usage,
                std::string(target.name) + " has groups of " + std::to_string(format->group),
                "--group-size");
  if (group != 32 && group != 64 && group != 128)
    return fail(ErrorCode::usage, "expected 32, 64 or 128, found " + std::to_string(group),
                "--group-size");
  MlxPlanner planner(source, options, *format);
  for (const SourceTensor& tensor : source.tensors()) TERN_TRY_VOID(planner.add(tensor));
  return planner.finish(source, target);
}

Result<Plan> plan_turbo(const Source& source, const Target& target, const PlanOptions& options) {
  if (options.group_size || options.reference || options.importance != nullptr)
    return fail(
        ErrorCode::usage,
        "turboquant has groups of 64, one encoder, and no use for an importance matrix: the "
        "rotation makes all columns alike");
  const auto bits = number(target.name.substr(target.name.rfind('-') + 1)).value_or(4);
  TurboPlanner planner(source, options, bits);
  for (const SourceTensor& tensor : source.tensors()) TERN_TRY_VOID(planner.add(tensor));
  return planner.finish(source, target);
}

Result<Plan> plan_plain(const Source& source, const Target& target, const PlanOptions& options) {
  TERN_TRY_VOID(no_turbo_options(options, target));
  if (options.group_size || options.reference || options.importance != nullptr ||
      !options.overrides.empty())
    return fail(
        ErrorCode::usage,
        std::string(target.name) + " takes no --group-size, --reference, --imatrix or --override");
  const DType type = target.name == "f16" ? DType::f16 : DType::bf16;
  Layout layout(source, options, false);
  for (const SourceTensor& tensor : source.tensors()) {
    if (tensor.is_matrix()) {
      TERN_TRY_VOID(layout.code(tensor, plain_format(type)));
      continue;
    }
    // GGUF has all vectors in F32; elsewhere the type was a choice.
    const bool chosen = !tensor.from_gguf && tensor.stored->type == DType::f32;
    layout.vector(tensor, chosen ? std::nullopt : std::optional(type));
  }
  return finish(source, target, layout, options,
                {.dtype = type == DType::f16 ? "float16" : "bfloat16"}, "pt");
}

}  // namespace tern::convert
