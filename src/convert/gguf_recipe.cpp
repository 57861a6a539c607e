#include "convert/gguf_recipe.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace tern::convert {
namespace {

constexpr std::array kRecipes = {
    GgufRecipe{"f32", 0, DType::f32},        GgufRecipe{"f16", 1, DType::f16},
    GgufRecipe{"bf16", 32, DType::bf16},     GgufRecipe{"q8_0", 7, DType::q8_0},
    GgufRecipe{"q6_k", 18, DType::q6_k},     GgufRecipe{"q5_k_m", 17, DType::q5_k},
    GgufRecipe{"q5_k_s", 16, DType::q5_k},   GgufRecipe{"q5_1", 9, DType::q5_1},
    GgufRecipe{"q5_0", 8, DType::q5_0},      GgufRecipe{"q4_k_m", 15, DType::q4_k},
    GgufRecipe{"q4_k_s", 14, DType::q4_k},   GgufRecipe{"q4_1", 3, DType::q4_1},
    GgufRecipe{"q4_0", 2, DType::q4_0},      GgufRecipe{"iq4_nl", 25, DType::iq4_nl},
    GgufRecipe{"iq4_xs", 30, DType::iq4_xs}, GgufRecipe{"mxfp4_moe", 38, DType::mxfp4},
    GgufRecipe{"q3_k_l", 13, DType::q3_k},   GgufRecipe{"q3_k_m", 12, DType::q3_k},
    GgufRecipe{"q3_k_s", 11, DType::q3_k},   GgufRecipe{"q2_k", 10, DType::q2_k},
};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

/// Of `count` layers, the first and the last eighth and every third between.
bool wants_more_bits(std::size_t layer, std::size_t count) {
  return layer < count / 8 || layer >= 7 * count / 8 || (layer - count / 8) % 3 == 2;
}

/// 12 of "blk.12.ffn_down.weight".
std::size_t layer_of(std::string_view gguf) {
  std::size_t layer = 0;
  constexpr std::string_view kPrefix = "blk.";
  if (gguf.starts_with(kPrefix))
    std::from_chars(gguf.data() + kPrefix.size(), gguf.data() + gguf.size(), layer);
  return layer;
}

/// Matrices; all else, and routers and convolutions, keeps its floats.
bool is_quantized(std::string_view gguf, const Shape& shape) {
  return shape.size() >= 2 && gguf.ends_with("weight") && !contains(gguf, "_norm.weight") &&
         !contains(gguf, "ffn_gate_inp.weight") && !contains(gguf, "ssm_conv1d");
}

}  // namespace

std::span<const GgufRecipe> gguf_recipes() {
  return kRecipes;
}

const GgufRecipe* find_gguf_recipe(std::string_view name) {
  const auto found = std::ranges::find(kRecipes, name, &GgufRecipe::name);
  return found == kRecipes.end() ? nullptr : &*found;
}

DType gguf_fallback(DType type, std::uint64_t cols) {
  const auto fits = [&](DType candidate) { return cols % block_layout(candidate).elements == 0; };
  if (fits(type)) return type;
  DType other = type;
  switch (type) {
    case DType::iq4_xs:
      other = DType::iq4_nl;
      break;
    case DType::q2_k:
    case DType::q3_k:
      other = DType::q4_0;
      break;
    case DType::q4_k:
      other = DType::q5_0;
      break;
    case DType::q5_k:
      other = DType::q5_1;
      break;
    case DType::q6_k:
      other = DType::q8_0;
      break;
    default:
      break;
  }
  return fits(other) ? other : DType::f16;
}

GgufTypes::GgufTypes(const GgufRecipe& recipe, const model::Config& config, bool importance)
    : recipe_(recipe),
      importance_(importance),
      tied_(config.tie_word_embeddings),
      layers_(config.layers.size()),
      attention_layers_(config.count(model::LayerKind::attention)),
      experts_(config.moe.experts),
      query_groups_(!config.layers.empty() && config.layers.front() == model::LayerKind::attention
                        ? config.attention.num_heads / config.attention.num_kv_heads
                        : 0) {}

DType GgufTypes::choose(std::string_view gguf, const Shape& shape) {
  if (!is_quantized(gguf, shape)) return DType::f32;
  if (!is_block_type(recipe_.base)) return recipe_.base;
  return gguf_fallback(mixed(gguf, shape), shape.back());
}

DType GgufTypes::mixed(std::string_view gguf, const Shape& shape) {
  const bool mxfp4 = recipe_.base == DType::mxfp4;
  if (gguf == "output.weight" || (tied_ && gguf == "token_embd.weight")) return of_output(shape);
  if (mxfp4) return shape.size() > 2 && shape.front() > 1 ? DType::mxfp4 : DType::q8_0;
  if (contains(gguf, "attn_v.weight")) return of_attention_v();
  if (contains(gguf, "attn_k.weight")) return experts_ == 8 ? DType::q8_0 : recipe_.base;
  if (contains(gguf, "ffn_down")) return of_ffn_down(gguf);
  if (contains(gguf, "attn_output.weight")) return of_attention_output();
  return recipe_.base;
}

/// Q6_K unless the rows are no whole number of the recipe's own blocks.
DType GgufTypes::of_output(const Shape& shape) const {
  if (recipe_.base == DType::mxfp4 || recipe_.base == DType::q8_0) return DType::q8_0;
  return shape.back() % block_layout(recipe_.base).elements != 0 ? DType::q8_0 : DType::q6_k;
}

DType GgufTypes::of_attention_v() {
  const std::size_t seen = values_seen_++;
  const std::string_view name = recipe_.name;
  if (experts_ == 8) return DType::q8_0;
  if (name == "q2_k") return query_groups_ >= 4 ? DType::q4_k : DType::q3_k;
  if (name == "q3_k_m") return seen < 2 ? DType::q5_k : DType::q4_k;
  if (name == "q3_k_l") return DType::q5_k;
  if ((name == "iq4_nl" || name == "iq4_xs") && query_groups_ >= 4) return DType::q5_k;
  if ((name == "q4_k_m" || name == "q5_k_m") && wants_more_bits(seen, attention_layers_))
    return DType::q6_k;
  if (name == "q4_k_s" && seen < 4) return DType::q5_k;
  return recipe_.base;
}

DType GgufTypes::of_ffn_down(std::string_view gguf) {
  // Models of experts count layers by name, others by the matrices so far.
  const std::size_t layer = experts_ > 1 ? layer_of(gguf) : downs_seen_;
  ++downs_seen_;
  const std::string_view name = recipe_.name;
  const bool early = layer < layers_ / 8;
  if (name == "q2_k") return DType::q3_k;
  if (name == "q3_k_m") return layer < layers_ / 16 ? DType::q5_k : DType::q4_k;
  if (name == "q3_k_l") return DType::q5_k;
  if (name == "q4_k_m" || name == "q5_k_m")
    return wants_more_bits(layer, layers_) ? DType::q6_k : recipe_.base;
  if ((name == "iq4_nl" || name == "iq4_xs") && early && !importance_) return DType::q5_k;
  if (name == "q4_k_s" && early) return DType::q5_k;
  if (name == "q4_0" && early && importance_) return DType::q4_1;
  if (name == "q5_0" && early && importance_) return DType::q5_1;
  return recipe_.base;
}

DType GgufTypes::of_attention_output() const {
  const std::string_view name = recipe_.name;
  if (experts_ == 8) {
    constexpr std::array<std::string_view, 7> kRaised = {"q2_k",   "q3_k_s", "q3_k_m", "iq4_nl",
                                                         "q4_k_s", "q4_k_m", "iq4_xs"};
    return std::ranges::find(kRaised, name) != kRaised.end() ? DType::q5_k : recipe_.base;
  }
  if (name == "q2_k") return DType::q3_k;
  if (name == "q3_k_m") return DType::q4_k;
  if (name == "q3_k_l") return DType::q5_k;
  return recipe_.base;
}

}  // namespace tern::convert
