// A model of any size of which only the headers and the configuration exist: for plans in tests.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "formats/safetensors_writer.h"

namespace tern::convert {

/// config.json of the family's text model, whose sizes may be changed by a test.
struct SparseConfig {
  std::string pattern = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME";
  std::uint64_t vocab = 131072, hidden = 2688, experts = 128;

  std::string json() const {
    return R"({"model_type": "nemotron_h", "vocab_size": )" + std::to_string(vocab) +
           R"(, "hidden_size": )" + std::to_string(hidden) + R"(, "num_hidden_layers": )" +
           std::to_string(pattern.size()) + R"(, "hybrid_override_pattern": ")" + pattern +
           R"(", "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128,
  "n_groups": 8, "conv_kernel": 4, "num_attention_heads": 32, "num_key_value_heads": 2,
  "head_dim": 128, "n_routed_experts": )" +
           std::to_string(experts) + R"(, "num_experts_per_tok": 6,
  "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712,
  "n_shared_experts": 1, "intermediate_size": 1856, "layer_norm_epsilon": 1e-5,
  "norm_topk_prob": true, "routed_scaling_factor": 2.5, "tie_word_embeddings": false})";
  }

  std::vector<formats::TensorPlan> tensors() const {
    std::vector<formats::TensorPlan> out;
    const auto add = [&](const std::string& name, Shape shape, DType type = DType::bf16) {
      out.push_back({name, type, std::move(shape)});
    };
    add("backbone.embeddings.weight", {vocab, hidden});
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      const std::string layer = "backbone.layers." + std::to_string(i), mixer = layer + ".mixer.";
      add(layer + ".norm.weight", {hidden});
      if (pattern[i] == 'M') {
        add(mixer + "in_proj.weight", {10304, hidden});
        add(mixer + "conv1d.weight", {6144, 1, 4});
        add(mixer + "conv1d.bias", {6144});
        add(mixer + "dt_bias", {64});
        add(mixer + "A_log", {64}, DType::f32);
        add(mixer + "D", {64});
        add(mixer + "norm.weight", {4096});
        add(mixer + "out_proj.weight", {hidden, 4096});
      } else if (pattern[i] == '*') {
        add(mixer + "q_proj.weight", {4096, hidden});
        add(mixer + "k_proj.weight", {256, hidden});
        add(mixer + "v_proj.weight", {256, hidden});
        add(mixer + "o_proj.weight", {hidden, 4096});
      } else {
        add(mixer + "gate.weight", {experts, hidden});
        add(mixer + "gate.e_score_correction_bias", {experts}, DType::f32);
        for (std::uint64_t e = 0; e < experts; ++e) {
          const std::string expert = mixer + "experts." + std::to_string(e);
          add(expert + ".up_proj.weight", {1856, hidden});
          add(expert + ".down_proj.weight", {hidden, 1856});
        }
        add(mixer + "shared_experts.up_proj.weight", {3712, hidden});
        add(mixer + "shared_experts.down_proj.weight", {hidden, 3712});
      }
    }
    add("backbone.norm_f.weight", {hidden});
    add("lm_head.weight", {vocab, hidden});
    return out;
  }

  /// A folder whose weights are a hole in a file: no disk is used, and all numbers are 0.
  void write(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "config.json") << json();
    const auto head = formats::safetensors_head(tensors(), {{"format", "pt"}}, "sparse");
    if (!head) throw std::runtime_error(head.error().message());
    std::uint64_t bytes = head->size();
    for (const auto& tensor : tensors()) bytes += *checked_tensor_bytes(tensor.type, tensor.shape);
    std::ofstream(folder / "model.safetensors", std::ios::binary) << *head;
    std::filesystem::resize_file(folder / "model.safetensors", bytes);
  }
};

}  // namespace tern::convert
