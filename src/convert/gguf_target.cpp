#include "convert/gguf_target.h"

#include <algorithm>

#include "base/check.h"
#include "base/printable.h"
#include "convert/gguf_file.h"
#include "convert/gguf_format.h"
#include "convert/gguf_metadata.h"
#include "convert/gguf_recipe.h"
#include "convert/recipe.h"

namespace tern::convert {
namespace {

using model::Role;

constexpr std::string_view kPrefix = "gguf-";

/// The type that a word of --override names.
Result<DType> type_of(std::string_view word) {
  for (std::size_t i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    if (name(type) == word && quant::can_encode_gguf(type)) return type;
  }
  return fail(ErrorCode::usage, "unknown type " + printable(word), "--override",
              "known are f32, f16, bf16, q8_0, q6_k, q5_k, q4_k, q3_k, q2_k, q5_1, q5_0, q4_1, "
              "q4_0, iq4_nl, iq4_xs and mxfp4");
}

/// As llama.cpp's converter shapes vectors: one row for each group, or each head.
Shape gguf_shape(const SourceTensor& tensor, const model::Config& config) {
  if (tensor.gguf.ends_with(".ssm_a") || tensor.gguf.ends_with(".ssm_d"))
    return {tensor.shape.front(), 1};
  if (tensor.gguf.ends_with(".ssm_norm.weight"))
    return {config.mamba.n_groups, tensor.shape.front() / config.mamba.n_groups};
  return tensor.shape;
}

/// Plans the tensors of a GGUF file, in the order of the model.
class GgufPlanner {
 public:
  GgufPlanner(const Source& source, const GgufRecipe& recipe, const PlanOptions& options)
      : source_(source),
        options_(options),
        fit_(options.reference ? quant::GgufFit::reference : quant::GgufFit::searched),
        types_(recipe, source.config(), options.importance != nullptr),
        overrides_(options.overrides) {}

  Result<void> add(const SourceTensor& tensor) {
    if (!tensor.is_matrix()) {
      vector(tensor);
      return {};
    }
    DType type = types_.choose(tensor.gguf, tensor.shape);
    if (!is_router(tensor))
      if (const auto word = overrides_.find({tensor.gguf, tensor.hf}); !word.empty()) {
        TERN_TRY(type, type_of(word));
      }
    TERN_TRY(const RowFormatPtr format, gguf_format(type, fit_));
    TERN_TRY(auto planned, plan_coding(tensor, format, module_of(tensor.gguf), options_));
    tensors_.push_back(std::move(planned));
    return {};
  }

  Result<Plan> finish(const Target& target, const GgufRecipe& recipe) {
    TERN_TRY_VOID(overrides_.check());
    Plan plan{.target = std::string(target.name)};
    TERN_TRY(const auto metadata, gguf_metadata(source_, recipe, plan.warnings));
    TERN_TRY_VOID(add_gguf_file(plan, "model.gguf", std::move(tensors_), metadata));
    warn_of_requantizing(source_, plan);
    if (!source_.media().empty() && !options_.text_only)
      plan.warnings.push_back(
          "left out: " + std::to_string(source_.media().size()) +
          " tensors of the image and sound encoders, which GGUF keeps in a file "
          "of their own");
    if (!source_.unknown().empty())
      plan.warnings.push_back("left out: " + std::to_string(source_.unknown().size()) +
                              " tensors that the text model does not use, the first " +
                              printable(source_.unknown().front()));
    return plan;
  }

 private:
  /// Always f32. A model without biases of its convolutions gets zeros, which GGUF's readers want.
  void vector(const SourceTensor& tensor) {
    const std::vector<float> values = tensor.gguf_values();
    tensors_.push_back(plan_values(values, DType::f32, tensor.gguf,
                                   gguf_shape(tensor, source_.config()),
                                   tensor.type_name() + " to f32"));
    if (tensor.role != Role::conv || source_.config().mamba.conv_bias) return;
    const std::vector<float> zeros(tensor.shape.front());
    std::string bias = tensor.gguf;
    bias.replace(bias.rfind(".weight"), 7, ".bias");
    tensors_.push_back(plan_values(zeros, DType::f32, bias, {zeros.size()}, "zeros"));
  }

  const Source& source_;
  const PlanOptions& options_;
  quant::GgufFit fit_;
  GgufTypes types_;
  Overrides overrides_;
  std::vector<PlannedTensor> tensors_;
};

Result<void> check_options(const Target& target, const PlanOptions& options) {
  if (options.group_size || options.head_bits || options.rotation_seed != 0)
    return fail(ErrorCode::usage,
                std::string(target.name) + " takes no --group-size, --head-bits or --seed",
                std::string(target.name), "blocks of GGUF have the size of their type");
  return {};
}

}  // namespace

Result<Plan> plan_gguf(const Source& source, const Target& target, const PlanOptions& options) {
  TERN_TRY_VOID(check_options(target, options));
  const GgufRecipe* recipe = find_gguf_recipe(target.name.substr(kPrefix.size()));
  TERN_CHECK(recipe != nullptr);  // a row of targets() names no other
  GgufPlanner planner(source, *recipe, options);
  for (const SourceTensor& tensor : source.tensors()) TERN_TRY_VOID(planner.add(tensor));
  return planner.finish(target, *recipe);
}

}  // namespace tern::convert
