#include "convert/gguf_metadata.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/printable.h"
#include "model/fold.h"

namespace tern::convert {
namespace {

using formats::GgufKey;
using formats::GgufRaw;
using model::LayerKind;

constexpr std::uint32_t kQuantizationVersion = 2;  // of ggml's block types

std::uint32_t u32(std::size_t value) {
  return static_cast<std::uint32_t>(value);
}

/// Sizes of the model.
class ArchitectureKeys {
 public:
  explicit ArchitectureKeys(const model::Config& config)
      : config_(config), prefix_(gguf_architecture(config) + ".") {}

  std::vector<GgufKey> take() {
    const model::Config& c = config_;
    add("block_count", u32(c.layers.size()));
    if (c.max_position_embeddings > 0) add("context_length", u32(c.max_position_embeddings));
    add("embedding_length", u32(c.hidden_size));
    add("vocab_size", u32(c.vocab_size));
    add("feed_forward_length", for_each_layer([&](LayerKind kind) {
          return kind == LayerKind::moe   ? c.moe.intermediate
                 : kind == LayerKind::mlp ? c.mlp.intermediate
                                          : 0;
        }));
    add("attention.layer_norm_rms_epsilon", c.norm_eps);
    add("attention.layer_norm_epsilon", c.norm_eps);
    attention();
    mamba();
    if (c.count(LayerKind::moe) > 0) experts();
    return std::move(keys_);
  }

 private:
  template <class T>
  void add(std::string_view key, T value) {
    keys_.push_back({prefix_ + std::string(key), std::move(value)});
  }

  template <class Value>
  std::vector<std::int32_t> for_each_layer(const Value& value) const {
    std::vector<std::int32_t> values;
    for (const LayerKind kind : config_.layers)
      values.push_back(static_cast<std::int32_t>(value(kind)));
    return values;
  }

  /// The rotary keys mean nothing to this family, but readers of GGUF expect them.
  void attention() {
    const model::AttentionConfig& c = config_.attention;
    add("attention.head_count", u32(c.num_heads));
    add("attention.head_count_kv", for_each_layer([&](LayerKind kind) {
          return kind == LayerKind::attention ? c.num_kv_heads : 0;
        }));
    if (c.num_heads == 0) return;
    add("attention.key_length", u32(c.head_dim));
    add("attention.value_length", u32(c.head_dim));
    add("rope.dimension_count", u32(config_.hidden_size / c.num_heads));
    add("rope.freq_base", 10000.0f);
    add("rope.scaling.finetuned", false);
  }

  void mamba() {
    const model::MambaConfig& c = config_.mamba;
    add("ssm.conv_kernel", u32(c.conv_kernel));
    add("ssm.state_size", u32(c.state_size));
    add("ssm.group_count", u32(c.n_groups));
    add("ssm.inner_size", u32(c.d_inner()));
    add("ssm.time_step_rank", u32(c.num_heads));
  }

  void experts() {
    const model::MoeConfig& c = config_.moe;
    add("expert_count", u32(c.experts));
    add("expert_used_count", u32(c.top_k));
    add("expert_shared_count", u32(c.shared > 0 ? 1 : 0));
    add("expert_group_count", u32(c.n_group));
    add("expert_group_used_count", u32(c.topk_group));
    add("expert_feed_forward_length", u32(c.intermediate));
    add("expert_shared_feed_forward_length", u32(c.shared));
    add("expert_weights_norm", c.norm_topk_prob);
    add("expert_weights_scale", c.routed_scaling_factor);
    if (c.latent > 0) add("moe_latent_size", u32(c.latent));
  }

  const model::Config& config_;
  std::string prefix_;
  std::vector<GgufKey> keys_;
};

/// "license: other" and the like, in the lines between "---" at the head of a model card.
std::string card_entry(std::string_view card, std::string_view key) {
  if (!card.starts_with("---\n")) return {};
  card.remove_prefix(4);
  card = card.substr(0, card.find("\n---"));
  while (!card.empty()) {
    std::string_view line = card.substr(0, card.find('\n'));
    card.remove_prefix(std::min(card.size(), line.size() + 1));
    if (!line.starts_with(key) || line.substr(key.size()).substr(0, 1) != ":") continue;
    line.remove_prefix(key.size() + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '"')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '"' || line.back() == '\r'))
      line.remove_suffix(1);
    return std::string(line);
  }
  return {};
}

/// What the types of the new file decide, and what is only true of the old one.
bool is_replaced(std::string_view key) {
  return key == "general.file_type" || key == "general.quantization_version" ||
         key == "general.alignment" || key.starts_with("split.") ||
         key.starts_with("quantize.imatrix.");
}

void warn_of_what_is_lost(const model::Config& config, std::vector<std::string>& warnings) {
  constexpr float kNoLimit = 1e29f;
  const model::MambaConfig& mamba = config.mamba;
  if (config.count(LayerKind::mamba) > 0 && (mamba.dt_min > 0 || mamba.dt_max < kNoLimit))
    warnings.push_back("time_step_limit of config.json has no place in a GGUF file");
}

}  // namespace

std::string gguf_architecture(const model::Config& config) {
  return config.count(LayerKind::moe) > 0 ? "nemotron_h_moe" : "nemotron_h";
}

Result<std::vector<GgufKey>> general_keys(const Source& source, std::string architecture,
                                          std::string type) {
  const formats::Checkpoint& checkpoint = source.checkpoint();
  std::vector<GgufKey> keys = {{"general.architecture", std::move(architecture)},
                               {"general.type", std::move(type)}};
  std::filesystem::path path(checkpoint.display_name());
  if (!path.has_filename()) path = path.parent_path();
  keys.push_back({"general.name", path.filename().string()});
  TERN_TRY(const auto card, checkpoint.side_file("README.md"));
  if (card)
    for (const auto& [entry, key] : {std::pair("license", "general.license"),
                                     std::pair("license_name", "general.license.name"),
                                     std::pair("license_link", "general.license.link")})
      if (std::string text = card_entry(*card, entry); !text.empty())
        keys.push_back({key, std::move(text)});
  return keys;
}

Result<std::vector<GgufKey>> gguf_metadata(const Source& source, const GgufRecipe& recipe,
                                           std::vector<std::string>& warnings) {
  std::vector<GgufKey> keys;
  if (source.is_gguf()) {
    for (const auto& entry : source.checkpoint().metadata().entries())
      if (!is_replaced(entry.key)) keys.push_back({std::string(entry.key), GgufRaw{entry.raw}});
  } else {
    TERN_TRY(keys, general_keys(source, gguf_architecture(source.config()), "model"));
    for (GgufKey& key : ArchitectureKeys(source.config()).take()) keys.push_back(std::move(key));
    TERN_TRY(auto tokenizer, gguf_tokenizer(source.checkpoint(), source.config()));
    if (tokenizer.empty()) {
      warnings.push_back("no tokenizer.json beside the weights: the file has no tokenizer");
      keys.push_back({"tokenizer.ggml.model", std::string("no_vocab")});  // llama.cpp wants a word
    }
    for (GgufKey& key : tokenizer) keys.push_back(std::move(key));
    warn_of_what_is_lost(source.config(), warnings);
    TERN_TRY(const model::Fold fold, model::read_fold(source.checkpoint()));
    if (fold != model::Fold{})
      keys.push_back({std::string(model::kFoldKey), model::fold_text(fold)});
  }
  keys.push_back({"general.file_type", recipe.file_type});
  if (is_block_type(recipe.base))
    keys.push_back({"general.quantization_version", kQuantizationVersion});
  return keys;
}

}  // namespace tern::convert
