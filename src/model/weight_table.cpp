#include "model/weight_table.h"

namespace tern::model {

std::string_view name(Role role) {
  switch (role) {
    case Role::embedding:
      return "embedding";
    case Role::linear:
      return "linear";
    case Role::experts:
      return "experts";
    case Role::norm:
      return "norm";
    case Role::vector:
    case Role::decay:
      return "vector";
    case Role::conv:
      return "conv";
  }
  return "linear";
}

namespace {

/// Adds lines under the prefixes of one layer.
class Table {
 public:
  Table(std::vector<Line>& lines, std::string hf, std::string gguf, formats::Container container)
      : lines_(lines), hf_(std::move(hf)), gguf_(std::move(gguf)), container_(container) {}

  void add(Role role, std::string_view hf, std::string_view gguf, Shape shape, auto& to,
           Need need = Need::required) {
    lines_.push_back(
        {role, hf_ + std::string(hf), gguf_ + std::string(gguf), std::move(shape), need, &to});
  }

  /// A matrix and its bias. GGUF has no switch for biases: there, one that is stored is used.
  void linear(std::string_view hf, std::string_view gguf, std::uint64_t outputs,
              std::uint64_t inputs, Linear& to, bool bias = false) {
    add(Role::linear, hf, gguf, {outputs, inputs}, to.matrix.weight);
    const Need need = container_ == formats::Container::gguf ? Need::optional
                      : bias                                 ? Need::required
                                                             : Need::forbidden;
    add(Role::vector, std::string(hf) + ".bias", std::string(gguf) + ".bias", {outputs}, to.bias,
        need);
  }

 private:
  std::vector<Line>& lines_;
  std::string hf_, gguf_;
  formats::Container container_;
};

void add_mamba(const MambaConfig& c, std::uint64_t hidden, MambaWeights& w, Table& t) {
  t.linear("mixer.in_proj", "ssm_in", c.in_proj_dim(), hidden, w.in_proj, c.proj_bias);
  t.add(Role::conv, "mixer.conv1d.weight", "ssm_conv1d.weight", {c.conv_dim(), c.conv_kernel},
        w.conv);
  t.add(Role::vector, "mixer.conv1d.bias", "ssm_conv1d.bias", {c.conv_dim()}, w.conv_bias,
        c.conv_bias ? Need::required : Need::forbidden);
  t.add(Role::vector, "mixer.dt_bias", "ssm_dt.bias", {c.num_heads}, w.dt_bias);
  t.add(Role::decay, "mixer.A_log", "ssm_a", {c.num_heads}, w.A);
  t.add(Role::vector, "mixer.D", "ssm_d", {c.num_heads}, w.D);
  t.add(Role::norm, "mixer.norm.weight", "ssm_norm.weight", {c.d_inner()}, w.norm);
  t.linear("mixer.out_proj", "ssm_out", hidden, c.d_inner(), w.out_proj, c.proj_bias);
}

void add_attention(const AttentionConfig& c, std::uint64_t hidden, AttentionWeights& w, Table& t) {
  t.linear("mixer.q_proj", "attn_q", c.q_dim(), hidden, w.q_proj, c.bias);
  t.linear("mixer.k_proj", "attn_k", c.kv_dim(), hidden, w.k_proj, c.bias);
  t.linear("mixer.v_proj", "attn_v", c.kv_dim(), hidden, w.v_proj, c.bias);
  t.linear("mixer.o_proj", "attn_output", hidden, c.q_dim(), w.o_proj, c.bias);
}

void add_moe(const MoeConfig& c, std::uint64_t hidden, MoeWeights& w, Table& t) {
  const std::uint64_t channels = c.latent > 0 ? c.latent : hidden;
  t.add(Role::linear, "mixer.gate", "ffn_gate_inp", {c.experts, hidden}, w.gate.matrix.weight);
  t.add(Role::vector, "mixer.gate.e_score_correction_bias", "exp_probs_b.bias", {c.experts},
        w.e_score_correction_bias);
  t.add(Role::experts, "mixer.experts.*.up_proj", "ffn_up_exps",
        {c.experts, c.intermediate, channels}, w.up_proj);
  t.add(Role::experts, "mixer.experts.*.down_proj", "ffn_down_exps",
        {c.experts, channels, c.intermediate}, w.down_proj);
  if (c.shared > 0) {
    t.linear("mixer.shared_experts.up_proj", "ffn_up_shexp", c.shared, hidden, w.shared.up_proj,
             c.bias);
    t.linear("mixer.shared_experts.down_proj", "ffn_down_shexp", hidden, c.shared,
             w.shared.down_proj, c.bias);
  }
  if (c.latent > 0) {
    t.linear("mixer.fc1_latent_proj", "ffn_latent_down", c.latent, hidden, w.fc1_latent_proj,
             c.bias);
    t.linear("mixer.fc2_latent_proj", "ffn_latent_up", hidden, c.latent, w.fc2_latent_proj, c.bias);
  }
}

void add_mlp(const MlpConfig& c, std::uint64_t hidden, MlpWeights& w, Table& t) {
  t.linear("mixer.up_proj", "ffn_up", c.intermediate, hidden, w.up_proj, c.bias);
  t.linear("mixer.down_proj", "ffn_down", hidden, c.intermediate, w.down_proj, c.bias);
}

}  // namespace

std::vector<Line> weight_table(const Config& config, formats::Container container,
                               Weights& weights) {
  std::vector<Line> lines;
  const std::uint64_t hidden = config.hidden_size, vocab = config.vocab_size;
  Table top(lines, "", "", container);
  top.add(Role::embedding, "embeddings", "token_embd", {vocab, hidden}, weights.embeddings);

  weights.layers.resize(config.layers.size());
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const std::string n = std::to_string(i);
    Table t(lines, "layers." + n + ".", "blk." + n + ".", container);
    LayerWeights& layer = weights.layers[i];
    t.add(Role::norm, "norm.weight", "attn_norm.weight", {hidden}, layer.norm);
    switch (config.layers[i]) {
      case LayerKind::mamba:
        add_mamba(config.mamba, hidden, layer.mixer.emplace<MambaWeights>(), t);
        break;
      case LayerKind::attention:
        add_attention(config.attention, hidden, layer.mixer.emplace<AttentionWeights>(), t);
        break;
      case LayerKind::moe:
        add_moe(config.moe, hidden, layer.mixer.emplace<MoeWeights>(), t);
        break;
      case LayerKind::mlp:
        add_mlp(config.mlp, hidden, layer.mixer.emplace<MlpWeights>(), t);
        break;
    }
  }
  top.add(Role::norm, "norm_f.weight", "output_norm.weight", {hidden}, weights.norm_f);
  top.add(Role::linear, "lm_head", "output", {vocab, hidden}, weights.lm_head.weight,
          config.tie_word_embeddings ? Need::optional : Need::required);
  return lines;
}

}  // namespace tern::model
