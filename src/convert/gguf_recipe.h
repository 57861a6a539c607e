// Which type llama.cpp's quantizer gives each tensor of a model of this family: the mixes behind
// names such as Q4_K_M, and what becomes of rows that no block of 256 fits.
//
// Facts from llama.cpp (July 2026), checked against what its quantizer plans for the full model
// (tests/golden/convert/gguf_recipes.json, made by tests/peers/gguf_files.py).
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "model/config.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace tern::convert {

/// A mix of types.
struct GgufRecipe {
  std::string_view name;        ///< as it is typed: "q4_k_m"
  std::uint32_t file_type = 0;  ///< general.file_type
  DType base = DType::f16;      ///< of tensors that no rule is about
};

/// f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_k_s, ... mxfp4_moe.
std::span<const GgufRecipe> gguf_recipes();
/// Null when there is none of that name.
const GgufRecipe* find_gguf_recipe(std::string_view name);

/// Asked once for each tensor, in the order of the layers: some rules count.
class GgufTypes {
 public:
  /// @param importance  whether an importance matrix is used: it makes some exceptions needless
  GgufTypes(const GgufRecipe& recipe, const model::Config& config, bool importance);

  /// @param gguf   "blk.1.ffn_up_exps.weight"
  /// @param shape  outermost first
  DType choose(std::string_view gguf, const Shape& shape);

 private:
  DType mixed(std::string_view gguf, const Shape& shape);
  DType of_output(const Shape& shape) const;
  DType of_attention_v();
  DType of_attention_output() const;
  DType of_ffn_down(std::string_view gguf);

  GgufRecipe recipe_;
  bool importance_, tied_;
  std::size_t layers_, attention_layers_, experts_;
  std::size_t query_groups_;  ///< query heads for each KV head of layer 0; 0 if it has none
  std::size_t values_seen_ = 0, downs_seen_ = 0;
};

/// `type`, or what takes its place for rows of `cols` weights.
DType gguf_fallback(DType type, std::uint64_t cols);

}  // namespace tern::convert
