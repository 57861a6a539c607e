// The weights of the text model, found in a checkpoint and proved to fit the configuration.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "kernels/linear.h"
#include "model/config.h"
#include "quant/matrix.h"
#include "tensor/buffer.h"

namespace tern::model {

/// y = W x, or W x + b when there is a bias.
struct Linear {
  kernels::Linear matrix;  ///< [outputs, inputs], in the file
  Buffer<float> bias;      ///< [outputs], or empty

  bool present() const { return matrix.weight.codes != nullptr; }
};

/// Sizes as in MambaConfig.
struct MambaWeights {
  Linear in_proj;           ///< [in_proj_dim, hidden]
  Buffer<float> conv;       ///< [conv_kernel, conv_dim]: one row for each tap, the last is now
  Buffer<float> conv_bias;  ///< [conv_dim]; zeros when the model has none
  Buffer<float> dt_bias;    ///< [num_heads]
  Buffer<float> A;          ///< [num_heads], -exp(A_log)
  Buffer<float> D;          ///< [num_heads]
  Buffer<float> norm;       ///< [d_inner]
  Linear out_proj;          ///< [hidden, d_inner]
};

struct AttentionWeights {
  Linear q_proj;  ///< [q_dim, hidden]
  Linear k_proj;  ///< [kv_dim, hidden]
  Linear v_proj;  ///< [kv_dim, hidden]
  Linear o_proj;  ///< [hidden, q_dim]
};

struct MlpWeights {
  Linear up_proj;    ///< [intermediate, hidden]
  Linear down_proj;  ///< [hidden, intermediate]
};

struct MoeWeights {
  Linear gate;                            ///< [experts, hidden]
  Buffer<float> e_score_correction_bias;  ///< [experts]
  std::vector<quant::Matrix> up_proj;     ///< for each expert [intermediate, latent or hidden]
  std::vector<quant::Matrix> down_proj;   ///< for each expert [latent or hidden, intermediate]
  MlpWeights shared;                      ///< not present when moe.shared == 0
  Linear fc1_latent_proj;                 ///< [latent, hidden], when moe.latent > 0
  Linear fc2_latent_proj;                 ///< [hidden, latent]
};

struct LayerWeights {
  Buffer<float> norm;  ///< [hidden]
  std::variant<MambaWeights, AttentionWeights, MoeWeights, MlpWeights> mixer;
};

/// One stored tensor of the model, for listings.
struct TensorEntry {
  std::string name;   ///< as in the file; "...experts.0-127.up_proj.weight" for loose experts
  std::string role;   ///< "linear", "embedding", "experts", "norm", "conv" or "vector"
  std::string type;   ///< "bf16", "q4_k", "mlx_affine 4-bit, group 64"
  std::string shape;  ///< of the numbers that it stands for: "[1856, 2688]", outermost first
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};

/// Matrices are views into the checkpoint's files; small vectors are copied as float32.
struct Weights {
  quant::Matrix embeddings;  ///< [vocab, hidden]
  std::vector<LayerWeights> layers;
  Buffer<float> norm_f;     ///< [hidden]
  kernels::Linear lm_head;  ///< [vocab, hidden]; the embeddings themselves when they are tied

  const float* signs = nullptr;  ///< of all rotated matrices; null when there are none

  std::uint64_t parameters = 0;  ///< of the text model, each stored number once
  std::uint64_t bytes = 0;       ///< that they take in the files
  std::vector<TensorEntry> entries;
  std::vector<std::string> ignored;   ///< text tensors that no line of the table asks for
  std::vector<Buffer<float>> folded;  ///< rotated projections (fold.h), which matrices point into

  /// Finds every line of the table (weight_table.h) in `checkpoint` and checks it.
  /// @error mismatch     all misfits at once: the names in the file and in the table, both shapes
  /// @error unsupported  when all that is wrong are storage types
  static Result<Weights> load(const formats::Checkpoint& checkpoint, const Config& config);
};

}  // namespace tern::model
