#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "model/config_limits.h"

namespace tern::model {

std::string_view name(LayerKind kind) {
  switch (kind) {
    case LayerKind::mamba:
      return "mamba";
    case LayerKind::attention:
      return "attention";
    case LayerKind::moe:
      return "moe";
    case LayerKind::mlp:
      return "mlp";
  }
  return "mamba";
}

std::size_t Config::count(LayerKind kind) const {
  return static_cast<std::size_t>(std::ranges::count(layers, kind));
}

namespace {
constexpr std::uint64_t kMaxSharedWidth = 1u << 24;
}

Result<Config> Config::from(const formats::Checkpoint& checkpoint) {
  if (checkpoint.container() == formats::Container::gguf)
    return from_gguf(checkpoint.metadata(), checkpoint.tensors(), checkpoint.display_name());
  TERN_TRY(Config config,
           from_json(checkpoint.config(), checkpoint.display_name() + ": config.json"));
  // transformers and mlx-lm build the shared expert whatever n_shared_experts says; a file that
  // holds one means it to be used.
  if (config.moe.experts > 0 && config.moe.shared == 0)
    for (const Tensor& tensor : checkpoint.tensors().tensors())
      if (tensor.name.ends_with(".shared_experts.up_proj.weight") && tensor.shape.size() == 2 &&
          tensor.shape[0] <= kMaxSharedWidth) {
        config.moe.shared = tensor.shape[0];
        break;
      }
  return config;
}

namespace {

struct Limit {
  std::string_view what;
  std::uint64_t value;
  std::uint64_t least, most;
};

/// Every size inside its range. The bounds are generous for the family and small enough that no
/// product of a few of them wraps 64 bits.
Result<void> check_limits(std::span<const Limit> limits, std::string_view where) {
  for (const Limit& limit : limits) {
    if (limit.value >= limit.least && limit.value <= limit.most) continue;
    return fail(limit.value < limit.least ? ErrorCode::mismatch : ErrorCode::too_large,
                std::string(limit.what) + " is " + std::to_string(limit.value) + ", expected " +
                    std::to_string(limit.least) + " to " + std::to_string(limit.most),
                std::string(where));
  }
  return {};
}

Result<void> check_divides(std::string_view what, std::uint64_t whole, std::string_view by,
                           std::uint64_t part, std::string_view where) {
  if (whole % part == 0) return {};
  return fail(ErrorCode::mismatch,
              std::string(what) + " " + std::to_string(whole) + " is no multiple of " +
                  std::string(by) + " " + std::to_string(part),
              std::string(where));
}

Result<void> check_mamba(const MambaConfig& c, std::string_view where) {
  const Limit limits[] = {{"mamba_num_heads", c.num_heads, 1, 4096},
                          {"mamba_head_dim", c.head_dim, 1, 4096},
                          {"n_groups", c.n_groups, 1, 4096},
                          {"ssm_state_size", c.state_size, 1, 4096},
                          {"conv_kernel", c.conv_kernel, 1, kMaxConvKernel}};
  TERN_TRY_VOID(check_limits(limits, where));
  TERN_TRY_VOID(
      check_divides("mamba_num_heads", c.num_heads, "the number of groups", c.n_groups, where));
  const Limit sums[] = {{"mamba_num_heads * mamba_head_dim", c.d_inner(), 1, 1u << 20},
                        {"n_groups * ssm_state_size", c.n_groups * c.state_size, 1, 1u << 20}};
  TERN_TRY_VOID(check_limits(sums, where));
  if (!(c.dt_min >= 0.0f && c.dt_min <= c.dt_max))
    return fail(ErrorCode::mismatch,
                "time_step_limit [" + std::to_string(c.dt_min) + ", " + std::to_string(c.dt_max) +
                    "] is no range of positive numbers",
                std::string(where));
  return {};
}

Result<void> check_attention(const AttentionConfig& c, std::string_view where) {
  const Limit limits[] = {{"num_attention_heads", c.num_heads, 1, 4096},
                          {"num_key_value_heads", c.num_kv_heads, 1, 4096},
                          {"head_dim", c.head_dim, 1, 4096}};
  TERN_TRY_VOID(check_limits(limits, where));
  const Limit sums[] = {{"num_attention_heads * head_dim", c.q_dim(), 1, 1u << 20},
                        {"num_key_value_heads * head_dim", c.kv_dim(), 1, 1u << 16}};
  TERN_TRY_VOID(check_limits(sums, where));
  return check_divides("num_attention_heads", c.num_heads, "num_key_value_heads", c.num_kv_heads,
                       where);
}

Result<void> check_moe(const MoeConfig& c, std::string_view where) {
  const Limit limits[] = {{"n_routed_experts", c.experts, 1, 65536},
                          {"num_experts_per_tok", c.top_k, 1, c.experts},
                          {"moe_intermediate_size", c.intermediate, 1, 1u << 24},
                          {"moe_shared_expert_intermediate_size", c.shared, 0, kMaxSharedWidth},
                          {"moe_latent_size", c.latent, 0, 1u << 20},
                          {"n_group", c.n_group, 1, c.experts},
                          {"topk_group", c.topk_group, 1, c.n_group}};
  TERN_TRY_VOID(check_limits(limits, where));
  TERN_TRY_VOID(check_divides("n_routed_experts", c.experts, "n_group", c.n_group, where));
  if (!std::isfinite(c.routed_scaling_factor))
    return fail(ErrorCode::mismatch, "routed_scaling_factor is not finite", std::string(where));
  const std::size_t open = c.experts / c.n_group * c.topk_group;
  if (c.top_k > open)
    return fail(ErrorCode::mismatch,
                "num_experts_per_tok is " + std::to_string(c.top_k) + ", but topk_group leaves " +
                    std::to_string(open) + " experts to choose from",
                std::string(where));
  return {};
}

}  // namespace

Result<void> check(const Config& config, std::string_view where) {
  const Limit limits[] = {{"hidden_size", config.hidden_size, 1, 1u << 20},
                          {"vocab_size", config.vocab_size, 1, 1u << 24},
                          {"the number of layers", config.layers.size(), 1, kMaxLayers}};
  TERN_TRY_VOID(check_limits(limits, where));
  if (!(config.norm_eps > 0.0f && config.norm_eps < 1.0f))
    return fail(ErrorCode::mismatch,
                "norm_eps is " + std::to_string(config.norm_eps) + ", expected 0 < norm_eps < 1",
                std::string(where));
  if (const std::size_t layers = config.count(LayerKind::mamba); layers > 0) {
    TERN_TRY_VOID(check_mamba(config.mamba, where));
    // No tensor of the file has this size, so nothing else keeps it in bounds.
    const Limit state[] = {{"the size of all SSM states",
                            layers * config.mamba.d_inner() * config.mamba.state_size, 1,
                            std::uint64_t{1} << 31}};
    TERN_TRY_VOID(check_limits(state, where));
  }
  if (config.count(LayerKind::attention) > 0)
    TERN_TRY_VOID(check_attention(config.attention, where));
  if (config.count(LayerKind::moe) > 0) TERN_TRY_VOID(check_moe(config.moe, where));
  if (config.count(LayerKind::mlp) > 0) {
    const Limit width[] = {{"intermediate_size", config.mlp.intermediate, 1, 1u << 24}};
    TERN_TRY_VOID(check_limits(width, where));
  }
  return {};
}

}  // namespace tern::model
