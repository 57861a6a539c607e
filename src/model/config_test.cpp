#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/test_paths.h"

namespace tern::model {
namespace {

using testing::HasSubstr;

/// A small valid configuration with all four kinds of layer.
json::object valid() {
  return json::parse(R"({
    "model_type": "nemotron_h", "hidden_size": 64, "vocab_size": 128, "num_hidden_layers": 4,
    "hybrid_override_pattern": "M*E-", "layer_norm_epsilon": 1e-5,
    "mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16,
    "conv_kernel": 4, "use_conv_bias": true, "mamba_hidden_act": "silu",
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 40, "n_shared_experts": 1, "n_group": 2,
    "topk_group": 1, "norm_topk_prob": true, "routed_scaling_factor": 2.5,
    "intermediate_size": 48, "mlp_hidden_act": "relu2", "eos_token_id": [2, 11]})")
      .as_object();
}

Result<Config> read(const json::object& object) {
  return Config::from_json(object, "config.json");
}

json::object file(const std::string& name) {
  const auto path = std::filesystem::path(source_dir()) / "../shared/spec/data" / name;
  const auto text = read_text_file(path, 1 << 20);
  EXPECT_TRUE(text) << "this test needs " << path;
  return text ? json::parse(*text).as_object() : json::object();
}

TEST(Config, OfThePublishedModelsIsWhatTheSpecificationSays) {
  for (const char* name : {"config.json", "config.text-30B-A3B.json"}) {
    const auto config = read(file(name));
    ASSERT_TRUE(config) << config.error().message();
    EXPECT_EQ(config->hidden_size, 2688u);
    EXPECT_EQ(config->vocab_size, 131072u);
    EXPECT_EQ(config->layers.size(), 52u);
    EXPECT_EQ(config->count(LayerKind::mamba), 23u);
    EXPECT_EQ(config->count(LayerKind::moe), 23u);
    EXPECT_EQ(config->count(LayerKind::attention), 6u);
    EXPECT_EQ(config->layers[5], LayerKind::attention);
    EXPECT_EQ(config->mamba.in_proj_dim(), 10304u);
    EXPECT_EQ(config->mamba.conv_dim(), 6144u);
    EXPECT_EQ(config->mamba.dt_min, 0.0f);
    EXPECT_TRUE(std::isinf(config->mamba.dt_max)) << "time_step_min and max never clamp";
    EXPECT_EQ(config->attention.q_dim(), 4096u);
    EXPECT_EQ(config->attention.kv_dim(), 256u);
    EXPECT_EQ(config->moe.experts, 128u);
    EXPECT_EQ(config->moe.shared, 3712u);
    EXPECT_EQ(config->moe.latent, 0u);
    EXPECT_EQ(config->moe.routed_scaling_factor, 2.5f);
    EXPECT_FALSE(config->tie_word_embeddings);
    EXPECT_EQ(config->max_position_embeddings, 262144u);
  }
}

TEST(Config, ReadsEverySpellingOfTheLayers) {
  const auto expected = read(valid())->layers;
  for (const char* list : {R"(["mamba","attention","moe","mlp"])", R"(["M","*","E","-"])",
                           R"(["linear_attention","full_attention","moe","mlp"])"})
    for (const char* key : {"layers_block_type", "layer_types", "hybrid_override_pattern"}) {
      auto object = valid();
      object.erase("hybrid_override_pattern");
      object[key] = json::parse(list);
      const auto config = read(object);
      ASSERT_TRUE(config) << config.error().message();
      EXPECT_EQ(config->layers, expected);
    }
}

TEST(Config, ReadsOtherSpellingsAndNestings) {
  auto object = valid();
  object["attention_head_dim"] = object["head_dim"];
  object.erase("head_dim");
  object["norm_eps"] = object["layer_norm_epsilon"];
  object.erase("layer_norm_epsilon");
  object.erase("num_hidden_layers");
  ASSERT_TRUE(read(object));
  EXPECT_EQ(read(object)->attention.head_dim, 16u);
  for (const char* key : {"llm_config", "text_config"}) {
    json::object outer;
    outer["model_type"] = "NemotronH_Nano_Omni_Reasoning_V3";
    outer[key] = object;
    const auto config = read(outer);
    ASSERT_TRUE(config) << config.error().message();
    EXPECT_EQ(config->hidden_size, 64u);
    EXPECT_EQ(config->eos_token_ids, (std::vector<std::uint32_t>{2, 11}));
  }
}

TEST(Config, ClampsTheTimeStepOnlyWhenALimitIsGiven) {
  const auto limits = [](const char* text) {
    auto object = valid();
    object["time_step_limit"] = json::parse(text);
    const auto config = read(object);
    EXPECT_TRUE(config) << text;
    return std::pair(config->mamba.dt_min, config->mamba.dt_max);
  };
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(limits("[0.0, 1e30]"), std::pair(0.0f, kInf));
  EXPECT_EQ(limits(R"([0.0, {"__float__": "Infinity"}])"), std::pair(0.0f, kInf));
  EXPECT_EQ(limits("null"), std::pair(0.0f, kInf));
  EXPECT_EQ(limits("[0.001, 0.5]"), std::pair(0.001f, 0.5f));
}

TEST(Config, NeedsOnlyTheKeysOfTheLayersThatAreThere) {
  const auto object = json::parse(R"({"hidden_size": 8, "vocab_size": 9,
      "hybrid_override_pattern": "-", "intermediate_size": 12})");
  const auto config = read(object.as_object());
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->mlp.intermediate, 12u);
}

TEST(Config, HasNoSharedExpertWhenTheCountIsZero) {
  auto object = valid();
  object["n_shared_experts"] = 0;
  EXPECT_EQ(read(object)->moe.shared, 0u);
}

TEST(Config, RefusesAStateThatNoFileWouldPayFor) {
  auto object = valid();
  object["mamba_num_heads"] = 4096;
  object["mamba_head_dim"] = 256;
  object["ssm_state_size"] = 4096;
  const auto states = read(object);
  ASSERT_FALSE(states);
  EXPECT_EQ(states.error().code, ErrorCode::too_large);
  object = valid();
  object["num_attention_heads"] = object["num_key_value_heads"] = 128;
  object["head_dim"] = 4096;
  const auto keys = read(object);
  ASSERT_FALSE(keys);
  EXPECT_EQ(keys.error().code, ErrorCode::too_large);
}

struct Mutation {
  const char* key;
  const char* value;  // JSON; "" removes the key
  ErrorCode code;
  const char* says;
};

const Mutation kMutations[] = {
    {"hidden_size", "", ErrorCode::not_found, "hidden_size"},
    {"hidden_size", "0", ErrorCode::mismatch, "hidden_size is 0"},
    {"hidden_size", "-64", ErrorCode::corrupt, "hidden_size"},
    {"hidden_size", "64.5", ErrorCode::corrupt, "hidden_size"},
    {"hidden_size", "\"64\"", ErrorCode::corrupt, "hidden_size"},
    {"hidden_size", "18446744073709551615", ErrorCode::too_large, "hidden_size"},
    {"vocab_size", "99999999999", ErrorCode::too_large, "vocab_size"},
    {"vocab_size", "[]", ErrorCode::corrupt, "vocab_size"},
    {"hybrid_override_pattern", "", ErrorCode::not_found, "hybrid_override_pattern"},
    {"hybrid_override_pattern", "\"M*EX\"", ErrorCode::unsupported, "\"X\""},
    {"hybrid_override_pattern", "\"M*E\"", ErrorCode::mismatch, "num_hidden_layers"},
    {"hybrid_override_pattern", "\"\"", ErrorCode::mismatch, "num_hidden_layers"},
    {"hybrid_override_pattern", "7", ErrorCode::corrupt, "hybrid_override_pattern"},
    {"hybrid_override_pattern", "[1,2,3,4]", ErrorCode::corrupt, "hybrid_override_pattern"},
    {"layers_block_type", "[\"mamba\",\"mamba\",\"moe\",\"mlp\"]", ErrorCode::mismatch,
     "different layers"},
    {"num_hidden_layers", "52", ErrorCode::mismatch, "is 52, but"},
    {"norm_eps", "1e-6", ErrorCode::mismatch, "norm_eps"},
    {"layer_norm_epsilon", "0", ErrorCode::mismatch, "norm_eps"},
    {"layer_norm_epsilon", "1e300", ErrorCode::mismatch, "norm_eps"},
    {"mamba_num_heads", "5", ErrorCode::mismatch, "no multiple"},
    {"mamba_num_heads", "", ErrorCode::not_found, "mamba_num_heads"},
    {"mamba_num_heads", "1000000", ErrorCode::too_large, "mamba_num_heads"},
    {"mamba_head_dim", "0", ErrorCode::mismatch, "mamba_head_dim"},
    {"n_groups", "0", ErrorCode::mismatch, "n_groups"},
    {"n_groups", "3", ErrorCode::mismatch, "no multiple"},
    {"ssm_state_size", "4294967296", ErrorCode::too_large, "ssm_state_size"},
    {"conv_kernel", "65", ErrorCode::too_large, "conv_kernel"},
    {"conv_kernel", "0", ErrorCode::mismatch, "conv_kernel"},
    {"mamba_hidden_act", "\"gelu\"", ErrorCode::unsupported, "gelu"},
    {"time_step_limit", "[1]", ErrorCode::corrupt, "time_step_limit"},
    {"time_step_limit", "[2, 1]", ErrorCode::mismatch, "time_step_limit"},
    {"time_step_limit", "[-1, 1]", ErrorCode::mismatch, "time_step_limit"},
    {"time_step_limit", "\"x\"", ErrorCode::corrupt, "time_step_limit"},
    {"num_attention_heads", "0", ErrorCode::mismatch, "num_attention_heads"},
    {"num_attention_heads", "5", ErrorCode::mismatch, "no multiple"},
    {"num_key_value_heads", "0", ErrorCode::mismatch, "num_key_value_heads"},
    {"head_dim", "", ErrorCode::not_found, "head_dim"},
    {"attention_head_dim", "32", ErrorCode::mismatch, "attention_head_dim"},
    {"attention_bias", "1", ErrorCode::corrupt, "attention_bias"},
    {"n_routed_experts", "0", ErrorCode::mismatch, "n_routed_experts"},
    {"n_routed_experts", "7", ErrorCode::mismatch, "no multiple"},
    {"num_experts_per_tok", "9", ErrorCode::too_large, "num_experts_per_tok"},
    {"num_experts_per_tok", "5", ErrorCode::mismatch, "topk_group leaves 4"},
    {"num_experts_per_tok", "0", ErrorCode::mismatch, "num_experts_per_tok"},
    {"topk_group", "3", ErrorCode::too_large, "topk_group"},
    {"topk_group", "0", ErrorCode::mismatch, "topk_group"},
    {"n_group", "0", ErrorCode::mismatch, "n_group"},
    {"moe_intermediate_size", "", ErrorCode::not_found, "moe_intermediate_size"},
    {"moe_shared_expert_intermediate_size", "", ErrorCode::mismatch, "n_shared_experts"},
    {"moe_latent_size", "9999999999", ErrorCode::too_large, "moe_latent_size"},
    {"routed_scaling_factor", "\"a\"", ErrorCode::corrupt, "routed_scaling_factor"},
    {"routed_scaling_factor", "1e300", ErrorCode::mismatch, "routed_scaling_factor"},
    {"mlp_hidden_act", "\"silu\"", ErrorCode::unsupported, "silu"},
    {"intermediate_size", "", ErrorCode::not_found, "intermediate_size"},
    {"eos_token_id", "-1", ErrorCode::corrupt, "eos_token_id"},
    {"eos_token_id", "[1, \"x\"]", ErrorCode::corrupt, "eos_token_id"},
    {"bos_token_id", "4294967296", ErrorCode::corrupt, "bos_token_id"},
    {"model_type", "\"llama\"", ErrorCode::unsupported, "llama"},
    {"quantization_config", R"({"quant_method": "modelopt"})", ErrorCode::unsupported, "modelopt"},
    {"quantization_config", R"({"quant_algo": "NVFP4"})", ErrorCode::unsupported, "NVFP4"},
};

TEST(Config, RefusesWhatDoesNotFitAndNamesIt) {
  for (const Mutation& mutation : kMutations) {
    auto object = valid();
    if (*mutation.value == 0)
      object.erase(mutation.key);
    else
      object[mutation.key] = json::parse(mutation.value);
    const auto config = read(object);
    ASSERT_FALSE(config) << mutation.key << " = " << mutation.value;
    EXPECT_EQ(config.error().code, mutation.code) << config.error().message();
    EXPECT_THAT(config.error().what, HasSubstr(mutation.says));
    EXPECT_THAT(config.error().where, HasSubstr("config.json"));
  }
}

formats::GgufArray array(std::vector<std::uint64_t> values) {
  return values;
}

using Pairs = std::vector<std::pair<std::string_view, formats::GgufValue>>;

Pairs gguf() {
  return {{"general.architecture", std::string_view("nemotron_h_moe")},
          {"nemotron_h_moe.block_count", std::uint64_t{3}},
          {"nemotron_h_moe.context_length", std::uint64_t{1048576}},
          {"nemotron_h_moe.embedding_length", std::uint64_t{2688}},
          {"nemotron_h_moe.feed_forward_length", array({0, 1856, 0})},
          {"nemotron_h_moe.attention.head_count", std::uint64_t{32}},
          {"nemotron_h_moe.attention.head_count_kv", array({0, 0, 2})},
          {"nemotron_h_moe.attention.key_length", std::uint64_t{128}},
          {"nemotron_h_moe.attention.layer_norm_rms_epsilon", 1e-5},
          {"nemotron_h_moe.rope.dimension_count", std::uint64_t{84}},
          {"nemotron_h_moe.vocab_size", std::uint64_t{131072}},
          {"nemotron_h_moe.ssm.conv_kernel", std::uint64_t{4}},
          {"nemotron_h_moe.ssm.state_size", std::uint64_t{128}},
          {"nemotron_h_moe.ssm.group_count", std::uint64_t{8}},
          {"nemotron_h_moe.ssm.inner_size", std::uint64_t{4096}},
          {"nemotron_h_moe.ssm.time_step_rank", std::uint64_t{64}},
          {"nemotron_h_moe.expert_count", std::uint64_t{128}},
          {"nemotron_h_moe.expert_used_count", std::uint64_t{6}},
          {"nemotron_h_moe.expert_shared_count", std::uint64_t{1}},
          {"nemotron_h_moe.expert_feed_forward_length", std::uint64_t{1856}},
          {"nemotron_h_moe.expert_shared_feed_forward_length", std::uint64_t{3712}},
          {"nemotron_h_moe.expert_weights_norm", true},
          {"nemotron_h_moe.expert_weights_scale", 2.5}};
}

Result<Config> read(const Pairs& pairs) {
  formats::GgufMetadata metadata;
  for (const auto& [key, value] : pairs) EXPECT_TRUE(metadata.add(key, value));
  return Config::from_gguf(metadata, formats::TensorTable(), "model.gguf");
}

TEST(GgufConfig, FindsTheKindsOfLayersInPerLayerArrays) {
  const auto config = read(gguf());
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->layers, (std::vector{LayerKind::mamba, LayerKind::moe, LayerKind::attention}));
  EXPECT_EQ(config->attention.num_kv_heads, 2u);
  EXPECT_EQ(config->attention.head_dim, 128u);
  EXPECT_EQ(config->mamba.head_dim, 64u);
  EXPECT_EQ(config->mamba.in_proj_dim(), 10304u);
  EXPECT_EQ(config->moe.shared, 3712u);
  EXPECT_EQ(config->max_position_embeddings, 262144u) << "1048576 is no real limit";
  EXPECT_TRUE(config->tie_word_embeddings) << "no output.weight";
}

TEST(GgufConfig, RefusesWhatDoesNotFitAndNamesIt) {
  struct Change {
    std::string_view key;
    formats::GgufValue value;
    ErrorCode code;
    const char* says;
  };
  const Change changes[] = {
      {"general.architecture", std::string_view("llama"), ErrorCode::unsupported, "llama"},
      {"general.architecture", std::string_view("clip"), ErrorCode::unsupported,
       "encoders of images and sound"},
      {"nemotron_h_moe.block_count", std::uint64_t{4}, ErrorCode::mismatch, "block_count is 4"},
      {"nemotron_h_moe.block_count", std::uint64_t{1} << 40, ErrorCode::too_large, "block_count"},
      {"nemotron_h_moe.block_count", std::uint64_t{0}, ErrorCode::too_large, "block_count"},
      {"nemotron_h_moe.block_count", std::string_view("3"), ErrorCode::corrupt, "block_count"},
      {"nemotron_h_moe.embedding_length", std::uint64_t{0}, ErrorCode::mismatch, "hidden_size"},
      {"nemotron_h_moe.attention.head_count_kv", array({0, 0, 3}), ErrorCode::mismatch,
       "num_key_value_heads 3"},
      {"nemotron_h_moe.ssm.inner_size", std::uint64_t{4095}, ErrorCode::mismatch, "4095"},
      {"nemotron_h_moe.ssm.time_step_rank", std::uint64_t{0}, ErrorCode::mismatch,
       "time_step_rank"},
      {"nemotron_h_moe.expert_used_count", std::uint64_t{129}, ErrorCode::too_large,
       "num_experts_per_tok"},
      {"nemotron_h_moe.expert_weights_norm", 1.0, ErrorCode::corrupt, "expert_weights_norm"},
      {"nemotron_h_moe.expert_weights_scale", 1e300, ErrorCode::mismatch, "routed_scaling_factor"},
  };
  for (const Change& change : changes) {
    Pairs pairs = gguf();
    for (auto& [key, value] : pairs)
      if (key == change.key) value = change.value;
    const auto config = read(pairs);
    ASSERT_FALSE(config) << change.key;
    EXPECT_EQ(config.error().code, change.code) << config.error().message();
    EXPECT_THAT(config.error().message(), HasSubstr(change.says));
  }
  for (std::size_t i = 0; i < gguf().size(); ++i) {
    Pairs pairs = gguf();
    const std::string key(pairs[i].first);
    pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(i));
    const auto config = read(pairs);
    if (config) continue;  // a key with a default
    EXPECT_THAT(config.error().message(), HasSubstr(key.substr(key.rfind('.') + 1)));
  }
}

}  // namespace
}  // namespace tern::model
