// Config from a Hugging Face config.json.
#include <array>
#include <cmath>

#include "base/printable.h"
#include "model/config_limits.h"

namespace tern::model {
namespace {

/// Reads keys that have more than one spelling, and remembers where.
class Keys {
 public:
  Keys(const json::object& object, std::string where) : object_(object), where_(std::move(where)) {}

  const std::string& where() const { return where_; }

  const json::value* find(std::string_view key) const {
    const json::value* value = object_.if_contains(key);
    return value != nullptr && !value->is_null() ? value : nullptr;
  }

  /// Whether the key is there and says null.
  bool is_null(std::string_view key) const {
    const json::value* value = object_.if_contains(key);
    return value != nullptr && value->is_null();
  }

  /// The one that is present of several spellings; they must agree when more than one is.
  Result<std::string_view> spelling(std::span<const std::string_view> keys) const {
    std::string_view found;
    for (const std::string_view key : keys) {
      const json::value* value = find(key);
      if (value == nullptr) continue;
      if (!found.empty() && *find(found) != *value)
        return fail(ErrorCode::mismatch,
                    printable(found) + " is " + json::serialize(*find(found)) + ", but " +
                        printable(key) + " is " + json::serialize(*value),
                    where_);
      if (found.empty()) found = key;
    }
    return found;
  }

  using Spellings = std::initializer_list<std::string_view>;

  Result<void> uint(std::size_t& out, Spellings keys) const {
    TERN_TRY(const std::string_view key, spelling({keys.begin(), keys.size()}));
    if (key.empty())
      return fail(ErrorCode::not_found, "no key " + printable(*keys.begin()), where_);
    TERN_TRY(out, get_uint(object_, key, where_));
    return {};
  }

  Result<void> uint_or(std::size_t& out, std::size_t fallback, Spellings keys) const {
    TERN_TRY(const std::string_view key, spelling({keys.begin(), keys.size()}));
    out = fallback;
    if (!key.empty()) {
      TERN_TRY(out, get_uint(object_, key, where_));
    }
    return {};
  }

  Result<void> number_or(float& out, double fallback, Spellings keys) const {
    TERN_TRY(const std::string_view key, spelling({keys.begin(), keys.size()}));
    double value = fallback;
    if (!key.empty()) {
      TERN_TRY(value, get_number(object_, key, where_));
    }
    out = static_cast<float>(value);
    return {};
  }

  Result<void> flag_or(bool& out, bool fallback, std::string_view key) const {
    TERN_TRY(out, get_bool_or(object_, key, fallback, where_));
    return {};
  }

  /// Refuses a value of `key` other than `known`; absent is fine.
  Result<void> only(std::string_view key, std::string_view known) const {
    if (find(key) == nullptr) return {};
    TERN_TRY(const std::string_view value, get_string(object_, key, where_));
    if (value == known) return {};
    return fail(
        ErrorCode::unsupported,
        printable(key) + " is " + printable(value) + "; this family uses " + printable(known),
        where_);
  }

 private:
  const json::object& object_;
  std::string where_;
};

Result<LayerKind> kind_of(std::string_view word, const std::string& where) {
  struct Name {
    std::string_view word;
    LayerKind kind;
  };
  constexpr std::array<Name, 10> kNames = {{{"M", LayerKind::mamba},
                                            {"mamba", LayerKind::mamba},
                                            {"linear_attention", LayerKind::mamba},
                                            {"*", LayerKind::attention},
                                            {"attention", LayerKind::attention},
                                            {"full_attention", LayerKind::attention},
                                            {"E", LayerKind::moe},
                                            {"moe", LayerKind::moe},
                                            {"-", LayerKind::mlp},
                                            {"mlp", LayerKind::mlp}}};
  for (const Name& known : kNames)
    if (known.word == word) return known.kind;
  return fail(ErrorCode::unsupported, "unknown kind of layer " + printable(word), where,
              "known: M (mamba), * (attention), E (moe), - (mlp)");
}

/// "MEM*" or a list of words.
Result<std::vector<LayerKind>> layer_list(const Keys& keys, std::string_view key) {
  const json::value& value = *keys.find(key);
  std::vector<LayerKind> layers;
  const auto add = [&](std::string_view word) -> Result<void> {
    if (layers.size() >= kMaxLayers)
      return fail(ErrorCode::too_large,
                  printable(key) + " has more than " + std::to_string(kMaxLayers) + " layers",
                  keys.where());
    TERN_TRY(const LayerKind kind, kind_of(word, keys.where() + ": " + std::string(key) + "[" +
                                                     std::to_string(layers.size()) + "]"));
    layers.push_back(kind);
    return {};
  };
  if (const json::string* text = value.if_string()) {
    for (std::size_t i = 0; i < text->size(); ++i)
      TERN_TRY_VOID(add(std::string_view(*text).substr(i, 1)));
    return layers;
  }
  if (const json::array* list = value.if_array()) {
    for (const json::value& item : *list) {
      const json::string* word = item.if_string();
      if (word == nullptr)
        return fail(ErrorCode::corrupt, printable(key) + ": expected a list of names",
                    keys.where());
      TERN_TRY_VOID(add(*word));
    }
    return layers;
  }
  return fail(ErrorCode::corrupt, printable(key) + ": expected a pattern or a list of names",
              keys.where());
}

Result<std::vector<LayerKind>> read_layers(const Keys& keys) {
  std::vector<LayerKind> layers;
  std::string_view from;
  for (const std::string_view key :
       {"hybrid_override_pattern", "layers_block_type", "layer_types"}) {
    if (keys.find(key) == nullptr) continue;
    TERN_TRY(auto list, layer_list(keys, key));
    if (!from.empty() && list != layers)
      return fail(ErrorCode::mismatch,
                  printable(from) + " and " + printable(key) + " describe different layers",
                  keys.where());
    layers = std::move(list);
    from = key;
  }
  if (from.empty())
    return fail(ErrorCode::not_found, "no key \"hybrid_override_pattern\" or \"layers_block_type\"",
                keys.where());
  std::size_t declared = 0;
  TERN_TRY_VOID(keys.uint_or(declared, layers.size(), {"num_hidden_layers"}));
  if (declared != layers.size())
    return fail(ErrorCode::mismatch,
                "\"num_hidden_layers\" is " + std::to_string(declared) + ", but " +
                    printable(from) + " has " + std::to_string(layers.size()) + " layers",
                keys.where());
  return layers;
}

/// A bound of time_step_limit: a number, or how JSON writers spell infinity.
Result<float> bound(const json::value& value, const std::string& where) {
  const json::value* v = &value;
  if (const json::object* object = v->if_object())  // transformers: {"__float__": "Infinity"}
    if (const json::value* inner = object->if_contains("__float__")) v = inner;
  if (v->is_string() && (v->get_string() == "Infinity" || v->get_string() == "inf"))
    return std::numeric_limits<float>::infinity();
  if (!v->is_number())
    return fail(ErrorCode::corrupt, "\"time_step_limit\": expected two numbers", where);
  const double number = v->to_number<double>();
  // 1e30 and more mean "no limit".
  return number >= 1e30 ? std::numeric_limits<float>::infinity() : static_cast<float>(number);
}

Result<void> read_time_step_limit(const Keys& keys, MambaConfig& mamba) {
  const json::value* limit = keys.find("time_step_limit");
  if (limit == nullptr) return {};
  const json::array* pair = limit->if_array();
  if (pair == nullptr || pair->size() != 2)
    return fail(ErrorCode::corrupt, "\"time_step_limit\": expected two numbers", keys.where());
  TERN_TRY(mamba.dt_min, bound(pair->at(0), keys.where()));
  TERN_TRY(mamba.dt_max, bound(pair->at(1), keys.where()));
  return {};
}

Result<void> read_mamba(const Keys& keys, MambaConfig& c) {
  TERN_TRY_VOID(keys.only("mamba_hidden_act", "silu"));
  TERN_TRY_VOID(keys.uint(c.num_heads, {"mamba_num_heads"}));
  TERN_TRY_VOID(keys.uint(c.head_dim, {"mamba_head_dim"}));
  TERN_TRY_VOID(keys.uint(c.n_groups, {"n_groups", "mamba_n_groups"}));
  TERN_TRY_VOID(keys.uint(c.state_size, {"ssm_state_size"}));
  TERN_TRY_VOID(keys.uint(c.conv_kernel, {"conv_kernel", "mamba_d_conv"}));
  TERN_TRY_VOID(keys.flag_or(c.conv_bias, true, "use_conv_bias"));
  bool use_bias = false;  // transformers reads use_bias, mlx-lm mamba_proj_bias
  TERN_TRY_VOID(keys.flag_or(use_bias, false, "use_bias"));
  TERN_TRY_VOID(keys.flag_or(c.proj_bias, false, "mamba_proj_bias"));
  c.proj_bias = c.proj_bias || use_bias;
  return read_time_step_limit(keys, c);
}

Result<void> read_attention(const Keys& keys, AttentionConfig& c) {
  TERN_TRY_VOID(keys.uint(c.num_heads, {"num_attention_heads"}));
  TERN_TRY_VOID(keys.uint_or(c.num_kv_heads, c.num_heads, {"num_key_value_heads"}));
  TERN_TRY_VOID(keys.uint(c.head_dim, {"head_dim", "attention_head_dim"}));
  return keys.flag_or(c.bias, false, "attention_bias");
}

Result<void> read_moe(const Keys& keys, MoeConfig& c) {
  TERN_TRY_VOID(keys.only("mlp_hidden_act", "relu2"));
  TERN_TRY_VOID(keys.uint(c.experts, {"n_routed_experts", "num_local_experts"}));
  TERN_TRY_VOID(keys.uint(c.top_k, {"num_experts_per_tok"}));
  TERN_TRY_VOID(keys.uint(c.intermediate, {"moe_intermediate_size"}));
  TERN_TRY_VOID(keys.uint_or(c.shared, 0, {"moe_shared_expert_intermediate_size"}));
  std::size_t shared_experts = 0;
  const bool none = c.shared == 0 || keys.is_null("n_shared_experts");
  TERN_TRY_VOID(keys.uint_or(shared_experts, none ? 0 : 1, {"n_shared_experts"}));
  if (shared_experts > 0 && c.shared == 0)
    return fail(ErrorCode::mismatch,
                "\"n_shared_experts\" is " + std::to_string(shared_experts) +
                    ", but \"moe_shared_expert_intermediate_size\" is absent or 0",
                keys.where());
  if (shared_experts == 0) c.shared = 0;
  TERN_TRY_VOID(keys.uint_or(c.latent, 0, {"moe_latent_size"}));
  TERN_TRY_VOID(keys.uint_or(c.n_group, 1, {"n_group"}));
  TERN_TRY_VOID(keys.uint_or(c.topk_group, 1, {"topk_group"}));
  TERN_TRY_VOID(keys.flag_or(c.norm_topk_prob, true, "norm_topk_prob"));
  TERN_TRY_VOID(keys.number_or(c.routed_scaling_factor, 1.0, {"routed_scaling_factor"}));
  return keys.flag_or(c.bias, false, "mlp_bias");
}

Result<void> read_mlp(const Keys& keys, MlpConfig& c) {
  TERN_TRY_VOID(keys.only("mlp_hidden_act", "relu2"));
  TERN_TRY_VOID(keys.uint(c.intermediate, {"intermediate_size"}));
  return keys.flag_or(c.bias, false, "mlp_bias");
}

Result<std::uint32_t> token_id(const json::value& value, std::string_view key,
                               const std::string& where) {
  json::error_code ec;
  const auto id = value.is_number() ? value.to_number<std::uint32_t>(ec) : 0u;
  if (!value.is_number() || ec)
    return fail(ErrorCode::corrupt,
                printable(key) + ": expected a token id, found " + json::serialize(value), where);
  return id;
}

Result<void> read_tokens(const Keys& keys, Config& config) {
  if (const json::value* eos = keys.find("eos_token_id")) {
    if (const json::array* several = eos->if_array()) {
      for (const json::value& one : *several) {
        TERN_TRY(const auto id, token_id(one, "eos_token_id", keys.where()));
        config.eos_token_ids.push_back(id);
      }
    } else {
      TERN_TRY(const auto id, token_id(*eos, "eos_token_id", keys.where()));
      config.eos_token_ids.push_back(id);
    }
  }
  if (const json::value* bos = keys.find("bos_token_id")) {
    TERN_TRY(config.bos_token_id, token_id(*bos, "bos_token_id", keys.where()));
  }
  return {};
}

/// NVIDIA's FP8 and NVFP4 files, GPTQ and the like name their method; MLX's map has none.
Result<void> check_quantization(const Keys& keys) {
  const json::value* value = keys.find("quantization_config");
  const json::object* object = value == nullptr ? nullptr : value->if_object();
  if (object == nullptr) return {};
  for (const std::string_view key : {"quant_method", "quant_algo", "producer"})
    if (const json::value* method = object->if_contains(key);
        method != nullptr && !method->is_null())
      return fail(ErrorCode::unsupported,
                  "the weights are quantized with " + printable(json::serialize(*method)) +
                      ", which this engine does not read",
                  keys.where() + ": quantization_config." + std::string(key),
                  "use the BF16, MLX or GGUF variant of the model");
  return {};
}

}  // namespace

Result<Config> Config::from_json(const json::object& top, std::string_view where) {
  TERN_TRY_VOID(check_quantization(Keys(top, std::string(where))));
  const json::object* text = &top;
  std::string place(where);
  for (const std::string_view nested : {"llm_config", "text_config"})
    if (const json::value* value = top.if_contains(nested);
        value != nullptr && value->is_object()) {
      text = &value->get_object();
      place += ": " + std::string(nested);
      break;
    }
  const Keys keys(*text, place);
  TERN_TRY_VOID(check_quantization(keys));
  TERN_TRY_VOID(keys.only("model_type", "nemotron_h"));

  Config config;
  config.architecture = "nemotron_h";
  TERN_TRY(config.layers, read_layers(keys));
  TERN_TRY_VOID(keys.uint(config.hidden_size, {"hidden_size"}));
  TERN_TRY_VOID(keys.uint(config.vocab_size, {"vocab_size"}));
  TERN_TRY_VOID(keys.number_or(config.norm_eps, 1e-5, {"layer_norm_epsilon", "norm_eps"}));
  TERN_TRY_VOID(keys.flag_or(config.tie_word_embeddings, false, "tie_word_embeddings"));
  TERN_TRY_VOID(keys.uint_or(config.max_position_embeddings, 0, {"max_position_embeddings"}));
  if (config.count(LayerKind::mamba) > 0) TERN_TRY_VOID(read_mamba(keys, config.mamba));
  if (config.count(LayerKind::attention) > 0) TERN_TRY_VOID(read_attention(keys, config.attention));
  if (config.count(LayerKind::moe) > 0) TERN_TRY_VOID(read_moe(keys, config.moe));
  if (config.count(LayerKind::mlp) > 0) TERN_TRY_VOID(read_mlp(keys, config.mlp));
  TERN_TRY_VOID(read_tokens(keys, config));
  TERN_TRY_VOID(check(config, place));
  return config;
}

}  // namespace tern::model
