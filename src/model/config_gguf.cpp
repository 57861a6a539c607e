// Config from GGUF metadata of the architectures nemotron_h and nemotron_h_moe.
#include <algorithm>

#include "base/printable.h"
#include "model/config_limits.h"

namespace tern::model {
namespace {

/// Real files say 1048576, which is no length that the family was trained for.
constexpr std::size_t kTrainedContext = 262144;

class Keys {
 public:
  Keys(const formats::GgufMetadata& metadata, std::string_view architecture, std::string_view where)
      : metadata_(metadata), prefix_(std::string(architecture) + "."), where_(where) {}

  const std::string& where() const { return where_; }
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }
  bool has(std::string_view key) const { return metadata_.find(full(key)) != nullptr; }

  Result<void> uint(std::size_t& out, std::string_view key) const {
    TERN_TRY(out, located(metadata_.get_uint(full(key))));
    return {};
  }
  Result<void> uint_or(std::size_t& out, std::size_t fallback, std::string_view key) const {
    out = fallback;
    return has(key) ? uint(out, key) : Result<void>{};
  }
  Result<void> number(float& out, std::string_view key) const {
    TERN_TRY(const double value, located(metadata_.get_number(full(key))));
    out = static_cast<float>(value);
    return {};
  }
  Result<void> flag_or(bool& out, bool fallback, std::string_view key) const {
    out = fallback;
    if (!has(key)) return {};
    TERN_TRY(out, located(metadata_.get_bool(full(key))));
    return {};
  }

  /// One number for each layer; a scalar stands for all of them.
  Result<std::vector<std::uint64_t>> per_layer(std::string_view key, std::size_t layers) const {
    TERN_TRY(auto values, located(metadata_.get_uints(full(key))));
    if (values.size() == 1) values.resize(layers, values[0]);
    if (values.size() != layers)
      return fail(ErrorCode::mismatch,
                  printable(full(key)) + " has " + std::to_string(values.size()) +
                      " values, but block_count is " + std::to_string(layers),
                  where_);
    return values;
  }

 private:
  template <class T>
  Result<T> located(Result<T> result) const {
    if (!result && result.error().where.empty()) result.error().where = where_;
    return result;
  }

  const formats::GgufMetadata& metadata_;
  std::string prefix_;
  std::string where_;
};

/// The one value that all layers of a kind share.
Result<void> shared_value(std::size_t& out, std::uint64_t value, std::size_t layer,
                          std::string_view key, const Keys& keys) {
  if (out == 0 || out == value) {
    out = value;
    return {};
  }
  return fail(ErrorCode::unsupported,
              printable(keys.full(key)) + " differs between layers: " + std::to_string(out) +
                  ", and " + std::to_string(value) + " in layer " + std::to_string(layer),
              keys.where());
}

/// Layer kinds are not stored: KV heads mean attention, else a feed-forward width means experts or
/// a dense layer (told apart by its router), else Mamba.
Result<void> read_layers(const Keys& keys, const formats::TensorTable& tensors, Config& config) {
  std::size_t count = 0;
  TERN_TRY_VOID(keys.uint(count, "block_count"));
  if (count == 0 || count > kMaxLayers)
    return fail(ErrorCode::too_large,
                printable(keys.full("block_count")) + " is " + std::to_string(count) +
                    ", expected 1 to " + std::to_string(kMaxLayers),
                keys.where());
  TERN_TRY(const auto kv_heads, keys.per_layer("attention.head_count_kv", count));
  TERN_TRY(const auto widths, keys.per_layer("feed_forward_length", count));
  std::size_t expert_width = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (kv_heads[i] > 0) {
      config.layers.push_back(LayerKind::attention);
      TERN_TRY_VOID(shared_value(config.attention.num_kv_heads, kv_heads[i], i,
                                 "attention.head_count_kv", keys));
    } else if (widths[i] == 0) {
      config.layers.push_back(LayerKind::mamba);
    } else {
      const std::string block = "blk." + std::to_string(i);
      const bool dense = config.architecture == "nemotron_h" ||
                         (tensors.find(block + ".ffn_gate_inp.weight") == nullptr &&
                          tensors.find(block + ".ffn_up.weight") != nullptr);
      config.layers.push_back(dense ? LayerKind::mlp : LayerKind::moe);
      TERN_TRY_VOID(shared_value(dense ? config.mlp.intermediate : expert_width, widths[i], i,
                                 "feed_forward_length", keys));
    }
  }
  config.moe.intermediate = expert_width;
  return {};
}

Result<void> read_mamba(const Keys& keys, MambaConfig& c) {
  std::size_t inner = 0;
  TERN_TRY_VOID(keys.uint(c.num_heads, "ssm.time_step_rank"));
  TERN_TRY_VOID(keys.uint(inner, "ssm.inner_size"));
  TERN_TRY_VOID(keys.uint(c.n_groups, "ssm.group_count"));
  TERN_TRY_VOID(keys.uint(c.state_size, "ssm.state_size"));
  TERN_TRY_VOID(keys.uint(c.conv_kernel, "ssm.conv_kernel"));
  if (c.num_heads == 0 || inner % c.num_heads != 0)
    return fail(ErrorCode::mismatch,
                "ssm.inner_size " + std::to_string(inner) +
                    " is no multiple of ssm.time_step_rank " + std::to_string(c.num_heads),
                keys.where());
  c.head_dim = inner / c.num_heads;
  return {};
}

Result<void> read_attention(const Keys& keys, AttentionConfig& c) {
  TERN_TRY_VOID(keys.uint(c.num_heads, "attention.head_count"));
  TERN_TRY_VOID(keys.uint(c.head_dim, "attention.key_length"));
  std::size_t value_length = 0;
  TERN_TRY_VOID(keys.uint_or(value_length, c.head_dim, "attention.value_length"));
  if (value_length != c.head_dim)
    return fail(ErrorCode::unsupported,
                "attention.key_length is " + std::to_string(c.head_dim) +
                    ", but attention.value_length is " + std::to_string(value_length),
                keys.where());
  return {};
}

Result<void> read_moe(const Keys& keys, MoeConfig& c) {
  TERN_TRY_VOID(keys.uint(c.experts, "expert_count"));
  TERN_TRY_VOID(keys.uint(c.top_k, "expert_used_count"));
  TERN_TRY_VOID(keys.uint_or(c.intermediate, c.intermediate, "expert_feed_forward_length"));
  std::size_t shared_experts = 0;
  TERN_TRY_VOID(keys.uint_or(c.shared, 0, "expert_shared_feed_forward_length"));
  TERN_TRY_VOID(keys.uint_or(shared_experts, c.shared > 0 ? 1 : 0, "expert_shared_count"));
  if (shared_experts > 0 && c.shared == 0)
    return fail(ErrorCode::mismatch,
                "expert_shared_count is " + std::to_string(shared_experts) +
                    ", but expert_shared_feed_forward_length is absent or 0",
                keys.where());
  if (shared_experts == 0) c.shared = 0;
  TERN_TRY_VOID(keys.uint_or(c.latent, 0, "moe_latent_size"));
  TERN_TRY_VOID(keys.uint_or(c.n_group, 1, "expert_group_count"));
  TERN_TRY_VOID(keys.uint_or(c.topk_group, 1, "expert_group_used_count"));
  TERN_TRY_VOID(keys.flag_or(c.norm_topk_prob, true, "expert_weights_norm"));
  if (keys.has("expert_weights_scale"))
    TERN_TRY_VOID(keys.number(c.routed_scaling_factor, "expert_weights_scale"));
  return {};
}

/// The key, or else the list of tokens, or else the rows of the embedding.
Result<void> read_vocabulary(const Keys& keys, const formats::GgufMetadata& metadata,
                             const formats::TensorTable& tensors, Config& config) {
  if (keys.has("vocab_size")) return keys.uint(config.vocab_size, "vocab_size");
  if (const auto tokens = metadata.get_strings("tokenizer.ggml.tokens"))
    config.vocab_size = tokens->size();
  else if (const Tensor* embedding = tensors.find("token_embd.weight");
           embedding != nullptr && embedding->shape.size() == 2)
    config.vocab_size = embedding->shape[0];
  return {};
}

}  // namespace

Result<Config> Config::from_gguf(const formats::GgufMetadata& metadata,
                                 const formats::TensorTable& tensors, std::string_view where) {
  Config config;
  TERN_TRY(const auto architecture, metadata.get_string("general.architecture"));
  if (architecture == "clip")
    return fail(ErrorCode::unsupported,
                "the file holds the encoders of images and sound, no text model",
                std::string(where) + ": general.architecture",
                "name the text model; mmproj files go beside it in programs that take images");
  if (architecture != "nemotron_h" && architecture != "nemotron_h_moe")
    return fail(ErrorCode::unsupported,
                "the model's architecture is " + printable(architecture) +
                    "; this engine runs nemotron_h and nemotron_h_moe",
                std::string(where) + ": general.architecture");
  config.architecture = architecture;
  const Keys keys(metadata, architecture, where);
  TERN_TRY_VOID(read_layers(keys, tensors, config));
  TERN_TRY_VOID(keys.uint(config.hidden_size, "embedding_length"));
  TERN_TRY_VOID(keys.number(config.norm_eps, "attention.layer_norm_rms_epsilon"));
  TERN_TRY_VOID(keys.uint_or(config.max_position_embeddings, 0, "context_length"));
  config.max_position_embeddings = std::min(config.max_position_embeddings, kTrainedContext);
  TERN_TRY_VOID(read_vocabulary(keys, metadata, tensors, config));
  config.tie_word_embeddings = tensors.find("output.weight") == nullptr;
  if (config.count(LayerKind::mamba) > 0) TERN_TRY_VOID(read_mamba(keys, config.mamba));
  if (config.count(LayerKind::attention) > 0) TERN_TRY_VOID(read_attention(keys, config.attention));
  if (config.count(LayerKind::moe) > 0) TERN_TRY_VOID(read_moe(keys, config.moe));
  if (const auto eos = metadata.get_uint("tokenizer.ggml.eos_token_id"))
    config.eos_token_ids.push_back(static_cast<std::uint32_t>(*eos));
  if (const auto bos = metadata.get_uint("tokenizer.ggml.bos_token_id"))
    config.bos_token_id = static_cast<std::uint32_t>(*bos);
  TERN_TRY_VOID(check(config, where));
  return config;
}

}  // namespace tern::model
