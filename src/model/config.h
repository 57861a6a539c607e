// What the text model is: sizes and switches, read from config.json or from GGUF metadata.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "formats/checkpoint.h"

namespace tern::model {

/// One mixer for each layer; `M`, `*`, `E` and `-` in hybrid_override_pattern.
enum class LayerKind : std::uint8_t { mamba, attention, moe, mlp };
std::string_view name(LayerKind kind);

struct MambaConfig {
  std::size_t num_heads = 0;
  std::size_t head_dim = 0;
  std::size_t n_groups = 0;  ///< heads of one group share B and C
  std::size_t state_size = 0;
  std::size_t conv_kernel = 0;
  bool conv_bias = true;
  bool proj_bias = false;  ///< in_proj and out_proj
  /// dt is clamped to this range after softplus; [0, inf) unless the file says time_step_limit.
  float dt_min = 0.0f;
  float dt_max = std::numeric_limits<float>::infinity();

  std::size_t d_inner() const { return num_heads * head_dim; }
  std::size_t conv_dim() const { return d_inner() + 2 * n_groups * state_size; }
  std::size_t in_proj_dim() const { return d_inner() + conv_dim() + num_heads; }
};

struct AttentionConfig {
  std::size_t num_heads = 0;
  std::size_t num_kv_heads = 0;
  std::size_t head_dim = 0;
  bool bias = false;

  std::size_t q_dim() const { return num_heads * head_dim; }
  std::size_t kv_dim() const { return num_kv_heads * head_dim; }
};

struct MoeConfig {
  std::size_t experts = 0;       ///< routed ones
  std::size_t top_k = 0;         ///< of them for each token
  std::size_t intermediate = 0;  ///< width of a routed expert
  std::size_t shared = 0;        ///< width of the shared expert; 0: there is none
  std::size_t latent = 0;        ///< routed experts work in this many channels; 0: in hidden_size
  std::size_t n_group = 1;
  std::size_t topk_group = 1;
  bool norm_topk_prob = true;
  float routed_scaling_factor = 1.0f;
  bool bias = false;  ///< of the shared expert and the latent projections
};

struct MlpConfig {
  std::size_t intermediate = 0;
  bool bias = false;
};

struct Config {
  std::string architecture;  ///< "nemotron_h" or, in GGUF files with experts, "nemotron_h_moe"
  std::size_t hidden_size = 0;
  std::size_t vocab_size = 0;
  float norm_eps = 1e-5f;
  std::vector<LayerKind> layers;
  MambaConfig mamba;  ///< zeros when no layer is of that kind; so are the next three
  AttentionConfig attention;
  MoeConfig moe;
  MlpConfig mlp;
  bool tie_word_embeddings = false;
  std::size_t max_position_embeddings = 0;  ///< 0 when the file does not say
  std::vector<std::uint32_t> eos_token_ids;
  std::optional<std::uint32_t> bos_token_id;

  std::size_t count(LayerKind kind) const;

  /// From whichever of the two the checkpoint holds.
  static Result<Config> from(const formats::Checkpoint& checkpoint);

  /// From a Hugging Face config.json: text-only, or the Omni one with llm_config or text_config.
  /// @error not_found    a key that a layer kind of this model needs
  /// @error corrupt      a value of the wrong type
  /// @error mismatch     keys that contradict each other, with both values
  /// @error unsupported  another architecture, activation or quantization method
  /// @error too_large    a size beyond any model of the family
  static Result<Config> from_json(const json::object& config, std::string_view where);

  /// From GGUF metadata of architecture nemotron_h or nemotron_h_moe; errors as above.
  /// `tensors` tells dense feed-forward layers from experts, and holds the vocabulary's size when
  /// no key does.
  static Result<Config> from_gguf(const formats::GgufMetadata& metadata,
                                  const formats::TensorTable& tensors, std::string_view where);
};

}  // namespace tern::model
