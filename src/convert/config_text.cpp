#include "convert/config_text.h"

#include <cmath>
#include <limits>

#include "model/fold.h"

namespace tern::convert {
namespace {

constexpr std::string_view kTextKeys[] = {"llm_config", "text_config"};

std::string pattern_of(const model::Config& config) {
  std::string pattern;
  for (const model::LayerKind kind : config.layers)
    pattern += kind == model::LayerKind::mamba       ? 'M'
               : kind == model::LayerKind::attention ? '*'
               : kind == model::LayerKind::moe       ? 'E'
                                                     : '-';
  return pattern;
}

/// 1e-5 rather than 9.99999974737875e-06: the shortest text that gives the same float.
double shortest(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.7g", static_cast<double>(value));
  return std::strtod(text, nullptr);
}

void add_mixers(const model::Config& c, json::object& out) {
  if (c.count(model::LayerKind::mamba) > 0) {
    out["mamba_num_heads"] = c.mamba.num_heads;
    out["mamba_head_dim"] = c.mamba.head_dim;
    out["n_groups"] = c.mamba.n_groups;
    out["ssm_state_size"] = c.mamba.state_size;
    out["conv_kernel"] = c.mamba.conv_kernel;
    out["use_conv_bias"] = c.mamba.conv_bias;
    out["mamba_hidden_act"] = "silu";
  }
  if (c.count(model::LayerKind::attention) > 0) {
    out["num_attention_heads"] = c.attention.num_heads;
    out["num_key_value_heads"] = c.attention.num_kv_heads;
    out["head_dim"] = c.attention.head_dim;
  }
  if (c.count(model::LayerKind::moe) > 0) {
    out["n_routed_experts"] = c.moe.experts;
    out["num_experts_per_tok"] = c.moe.top_k;
    out["moe_intermediate_size"] = c.moe.intermediate;
    out["moe_shared_expert_intermediate_size"] = c.moe.shared;
    out["n_shared_experts"] = c.moe.shared > 0 ? json::value(1) : json::value(nullptr);
    if (c.moe.latent > 0) out["moe_latent_size"] = c.moe.latent;
    out["n_group"] = c.moe.n_group;
    out["topk_group"] = c.moe.topk_group;
    out["norm_topk_prob"] = c.moe.norm_topk_prob;
    out["routed_scaling_factor"] = shortest(c.moe.routed_scaling_factor);
  }
}

/// Whether a bias of that GGUF name's end is stored.
bool has_bias(const Source& source, std::string_view end) {
  for (const SourceTensor& tensor : source.tensors())
    if (tensor.hf.ends_with(end)) return true;
  return false;
}

/// What Hugging Face calls the numbers of GGUF metadata.
json::object config_of_gguf(const Source& source) {
  const model::Config& c = source.config();
  json::object out = {{"architectures", {"NemotronHForCausalLM"}},
                      {"model_type", "nemotron_h"},
                      {"hidden_size", c.hidden_size},
                      {"num_hidden_layers", c.layers.size()},
                      {"hybrid_override_pattern", pattern_of(c)},
                      {"vocab_size", c.vocab_size},
                      {"layer_norm_epsilon", shortest(c.norm_eps)},
                      {"norm_eps", shortest(c.norm_eps)},
                      {"tie_word_embeddings", c.tie_word_embeddings},
                      {"torch_dtype", "bfloat16"}};
  if (c.max_position_embeddings > 0) out["max_position_embeddings"] = c.max_position_embeddings;
  add_mixers(c, out);
  const std::size_t intermediate = c.mlp.intermediate > 0 ? c.mlp.intermediate : c.moe.intermediate;
  out["intermediate_size"] = intermediate;
  out["mlp_hidden_act"] = "relu2";
  out["mlp_bias"] = has_bias(source, ".up_proj.bias");
  out["attention_bias"] = has_bias(source, ".q_proj.bias");
  out["mamba_proj_bias"] = has_bias(source, ".in_proj.bias");
  out["use_bias"] = has_bias(source, ".in_proj.bias");
  if (c.bos_token_id) out["bos_token_id"] = *c.bos_token_id;
  if (c.eos_token_ids.size() == 1) out["eos_token_id"] = c.eos_token_ids.front();
  if (c.eos_token_ids.size() > 1)
    out["eos_token_id"] = json::array(c.eos_token_ids.begin(), c.eos_token_ids.end());
  return out;
}

/// Readable, as people expect of a config.json; lists of plain values stay on one line.
void print(const json::value& value, std::string& out, std::size_t depth) {
  const json::object* object = value.if_object();
  if (object == nullptr || object->empty()) {
    out += json::serialize(value);
    return;
  }
  const std::string indent(2 * (depth + 1), ' ');
  out += "{";
  bool first = true;
  for (const auto& [key, member] : *object) {
    out += (first ? "\n" : ",\n") + indent + json::serialize(json::value(key)) + ": ";
    print(member, out, depth + 1);
    first = false;
  }
  out += "\n" + std::string(2 * depth, ' ') + "}";
}

/// What the reader of the source makes of Infinity is no longer a number of JSON.
void restore_infinity(json::value& value) {
  if (auto* object = value.if_object())
    for (auto& [key, member] : *object) restore_infinity(member);
  if (auto* array = value.if_array())
    for (json::value& member : *array) restore_infinity(member);
  if (value.is_double() && value.get_double() >= 1e300) value = 1e30;  // "no limit" to all readers
}

}  // namespace

Result<std::string> config_text(const Source& source, const ConfigChanges& changes) {
  json::object config = source.is_gguf() ? config_of_gguf(source) : source.checkpoint().config();
  if (config.empty())
    return fail(ErrorCode::not_found, "no config.json beside the weights",
                source.checkpoint().display_name(), "copy it from where the model came from");
  if (changes.text_only)
    for (const std::string_view key : kTextKeys)
      if (const json::value* text = config.if_contains(key); text != nullptr && text->is_object()) {
        json::object own = text->get_object();
        own["model_type"] = "nemotron_h";
        own["architectures"].emplace_array().emplace_back("NemotronHForCausalLM");
        config = std::move(own);
        break;
      }
  TERN_TRY(const model::Fold fold, model::read_fold(source.checkpoint()));
  if (fold != model::Fold{}) {
    TERN_TRY(config["tern_kv_rotation"], parse_json(model::fold_text(fold), "tern_kv_rotation"));
  }
  for (const std::string_view key : {"quantization", "quantization_config"}) config.erase(key);
  for (const std::string_view key : kTextKeys)
    if (json::value* text = config.if_contains(key); text != nullptr && text->is_object())
      for (const std::string_view inner : {"quantization", "quantization_config"})
        text->get_object().erase(inner);
  if (!changes.dtype.empty()) {
    if (config.contains("dtype")) config["dtype"] = changes.dtype;
    if (config.contains("torch_dtype") || !config.contains("dtype"))
      config["torch_dtype"] = changes.dtype;
  }
  if (!changes.quantization.empty()) {
    config["quantization"] = changes.quantization;
    if (changes.repeated) config["quantization_config"] = changes.quantization;
  }
  json::value value = std::move(config);
  restore_infinity(value);
  std::string text;
  print(value, text, 0);
  return text + "\n";
}

}  // namespace tern::convert
