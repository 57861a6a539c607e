#include "convert/gguf_recipe.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>

#include "base/json.h"
#include "base/test_paths.h"
#include "model/weight_table.h"

namespace tern::convert {
namespace {

using model::LayerKind;

constexpr std::string_view kFullPattern = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME";

/// Nemotron-3-Nano-30B-A3B, or one of its widths with other layers.
model::Config wide_config(std::string_view pattern = kFullPattern, std::size_t experts = 128) {
  model::Config config;
  config.architecture = "nemotron_h_moe";
  config.hidden_size = 2688;
  config.vocab_size = 131072;
  for (const char kind : pattern)
    config.layers.push_back(kind == 'M'   ? LayerKind::mamba
                            : kind == 'E' ? LayerKind::moe
                                          : LayerKind::attention);
  config.mamba = {
      .num_heads = 64, .head_dim = 64, .n_groups = 8, .state_size = 128, .conv_kernel = 4};
  config.attention = {.num_heads = 32, .num_kv_heads = 2, .head_dim = 128};
  config.moe = {.experts = experts, .top_k = 6, .intermediate = 1856, .shared = 3712};
  return config;
}

struct Typed {
  std::string name;
  DType type;
  std::uint64_t bytes;
};

std::vector<Typed> typed(std::string_view recipe, bool importance = false,
                         const model::Config& config = wide_config()) {
  model::Weights weights;
  GgufTypes types(*find_gguf_recipe(recipe), config, importance);
  std::vector<Typed> out;
  for (const model::Line& line : model::weight_table(config, formats::Container::gguf, weights)) {
    if (line.need == model::Need::optional) continue;  // biases, which the model has not
    const bool matrix = line.role == model::Role::linear || line.role == model::Role::embedding ||
                        line.role == model::Role::experts;
    const std::string name = line.gguf + (matrix ? ".weight" : "");
    const DType type = types.choose(name, line.shape);
    out.push_back({name, type, *checked_tensor_bytes(type, line.shape)});
  }
  return out;
}

std::uint64_t total(std::string_view recipe, bool importance = false) {
  std::uint64_t sum = 0;
  for (const Typed& tensor : typed(recipe, importance)) sum += tensor.bytes;
  return sum;
}

TEST(GgufRecipe, GivesTheFullModelItsKnownSizes) {
  EXPECT_EQ(total("iq4_xs", true), 17'959'244'544u);
  EXPECT_EQ(total("iq4_xs"), 18'202'454'784u);
  EXPECT_EQ(total("mxfp4_moe"), 17'972'232'960u);
  EXPECT_EQ(total("q2_k"), 17'901'097'728u);
  EXPECT_EQ(total("q3_k_m"), 19'841'339'136u);
  EXPECT_EQ(total("q4_k_m"), 24'507'234'048u);
  EXPECT_EQ(total("q5_k_m"), 26'032'265'472u);
  EXPECT_EQ(total("q8_0"), 33'577'599'744u);
}

std::map<std::string, DType> table(std::string_view recipe, bool importance = false,
                                   const model::Config& config = wide_config()) {
  std::map<std::string, DType> out;
  for (const Typed& tensor : typed(recipe, importance, config)) out[tensor.name] = tensor.type;
  return out;
}

std::vector<std::string> words(const json::value& line) {
  std::istringstream in{std::string(line.as_string())};
  return {std::istream_iterator<std::string>(in), {}};
}

/// What its quantizer plans: tests/peers/gguf_files.py recipes --golden.
TEST(GgufRecipe, ChoosesWhatLlamaCppChooses) {
  std::ifstream file(source_dir() + "/tests/golden/convert/gguf_recipes.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto golden = parse_json(text, "gguf_recipes.json");
  ASSERT_TRUE(golden) << golden.error().message();
  std::size_t compared = 0;
  for (const json::value& model : golden->at("models").as_array()) {
    const auto config =
        wide_config(model.at("pattern").as_string(), model.at("experts").to_number<std::size_t>());
    const auto names = words(model.at("tensors"));
    for (const bool importance : {false, true})
      for (const auto& [recipe, line] :
           model.at(importance ? "with_imatrix" : "types").as_object()) {
        const auto expected = words(line);
        const auto ours = table(recipe, importance, config);
        ASSERT_EQ(names.size(), expected.size());
        for (std::size_t i = 0; i < names.size(); ++i, ++compared)
          ASSERT_EQ(name(ours.at(names[i])), expected[i])
              << recipe << " " << names[i] << " of " << model.at("pattern").as_string()
              << (importance ? " with an importance matrix" : "");
      }
  }
  EXPECT_EQ(compared, (164u + 60 + 32) * 17 * 2);
}

TEST(GgufRecipe, ChoosesTheTypesOfTheRegressionTable) {
  const auto q2 = table("q2_k"), q3 = table("q3_k_m"), q4 = table("q4_k_m"), q5 = table("q5_k_m"),
             iq4 = table("iq4_xs"), mx = table("mxfp4_moe");
  for (const auto* all : {&q2, &q3, &q4, &q5, &iq4, &mx}) {
    EXPECT_EQ(all->at("output.weight"), DType::q8_0);
    EXPECT_EQ(all->at("blk.0.attn_norm.weight"), DType::f32);
    EXPECT_EQ(all->at("blk.1.ffn_gate_inp.weight"), DType::f32);
    EXPECT_EQ(all->at("blk.0.ssm_conv1d.weight"), DType::f32);
    EXPECT_EQ(all->at("blk.0.ssm_a"), DType::f32);
  }
  EXPECT_EQ(q2.at("token_embd.weight"), DType::q4_0);
  EXPECT_EQ(q2.at("blk.0.ssm_out.weight"), DType::q2_k);
  EXPECT_EQ(q2.at("blk.5.attn_output.weight"), DType::q3_k);
  EXPECT_EQ(q3.at("blk.5.attn_output.weight"), DType::q4_k);
  EXPECT_EQ(q3.at("blk.12.attn_v.weight"), DType::q5_1);
  EXPECT_EQ(q3.at("blk.19.attn_v.weight"), DType::q5_0);
  EXPECT_EQ(q3.at("blk.1.ffn_down_exps.weight"), DType::q5_1);
  EXPECT_EQ(q3.at("blk.3.ffn_down_exps.weight"), DType::q5_0);
  for (const int block : {1, 3, 8, 17, 20, 29, 38, 45, 47, 49, 51})
    for (const auto* all : {&q4, &q5}) {
      const std::string b = "blk." + std::to_string(block);
      EXPECT_EQ(all->at(b + ".ffn_down_exps.weight"), DType::q8_0) << block;
      EXPECT_EQ(all->at(b + ".ffn_down_shexp.weight"), DType::q8_0) << block;
    }
  EXPECT_EQ(q4.at("blk.6.ffn_down_exps.weight"), DType::q5_0);
  EXPECT_EQ(q5.at("blk.6.ffn_down_exps.weight"), DType::q5_1);
  for (const int block : {19, 42})
    EXPECT_EQ(q4.at("blk." + std::to_string(block) + ".attn_v.weight"), DType::q8_0);
  for (const int block : {5, 12, 26, 33})
    EXPECT_EQ(q4.at("blk." + std::to_string(block) + ".attn_v.weight"), DType::q5_0);
  EXPECT_EQ(iq4.at("blk.3.ffn_down_exps.weight"), DType::q5_1);
  EXPECT_EQ(iq4.at("blk.6.ffn_down_exps.weight"), DType::iq4_nl);
  EXPECT_EQ(table("iq4_xs", true).at("blk.3.ffn_down_exps.weight"), DType::iq4_nl);
  EXPECT_EQ(mx.at("blk.1.ffn_up_exps.weight"), DType::mxfp4);
  EXPECT_EQ(mx.at("blk.1.ffn_up_shexp.weight"), DType::q8_0);
}

TEST(GgufRecipe, FallsBackWhereRowsAreNoWholeBlocks) {
  EXPECT_EQ(gguf_fallback(DType::q4_k, 4096), DType::q4_k);
  EXPECT_EQ(gguf_fallback(DType::q4_k, 2688), DType::q5_0);
  EXPECT_EQ(gguf_fallback(DType::iq4_xs, 2688), DType::iq4_nl);
  EXPECT_EQ(gguf_fallback(DType::q3_k, 2688), DType::q4_0);
  EXPECT_EQ(gguf_fallback(DType::q6_k, 2688), DType::q8_0);
  EXPECT_EQ(gguf_fallback(DType::q8_0, 40), DType::f16);
  EXPECT_EQ(gguf_fallback(DType::q4_k, 40), DType::f16);
}

TEST(GgufRecipe, LeavesPlainFilesPlain) {
  EXPECT_EQ(table("bf16").at("blk.0.ssm_in.weight"), DType::bf16);
  EXPECT_EQ(table("f16").at("blk.1.ffn_gate_inp.weight"), DType::f32);
  EXPECT_EQ(find_gguf_recipe("q9"), nullptr);
}

}  // namespace
}  // namespace tern::convert
