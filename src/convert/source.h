// A model to convert, whatever its container: every weight under its canonical names, with rows
// that become floats.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "model/config.h"
#include "model/weight_table.h"
#include "quant/matrix.h"

namespace tern::convert {

/// One weight of the text model.
struct SourceTensor {
  model::Role role = model::Role::linear;
  /// Without a prefix of the checkpoint: "backbone.layers.0.mixer.in_proj.weight". Of experts with
  /// "*" for the number: "backbone.layers.1.mixer.experts.*.up_proj.weight".
  std::string hf;
  std::string gguf;  ///< "blk.0.ssm_in.weight"
  /// Outermost first: [outputs, inputs]; experts [experts, outputs, inputs]; conv [channels,
  /// kernel].
  Shape shape;
  /// One matrix, or that of each expert; empty for vectors, norms, decays and convolutions.
  std::vector<quant::Matrix> matrices = {};
  /// The tensor of the file; null for experts that lie in several.
  const Tensor* stored = nullptr;
  bool from_gguf = false;

  bool is_matrix() const { return !matrices.empty(); }
  std::uint64_t elements() const;
  /// "bf16", "q4_k", "mlx affine 4-bit, group 64"
  std::string type_name() const;

  /// The numbers of one that is no matrix, in the meaning of its Hugging Face name: a decay is
  /// A_log, whatever the file holds.
  std::vector<float> values() const;
  /// The same in the meaning of its GGUF name: a decay is A = -exp(A_log).
  std::vector<float> gguf_values() const;
};

/// Decodes row `row` of `matrix` into `out` [cols]; turboquant rows in the basis of the inputs.
void decode_row(const quant::Matrix& matrix, std::size_t row, std::span<float> out);

/// Views into the checkpoint, which must outlive it. Move-only.
class Source {
 public:
  /// @error as Config::from and Weights::load: everything is proved to fit before a plan is made
  static Result<Source> open(const formats::Checkpoint& checkpoint);

  const formats::Checkpoint& checkpoint() const { return *checkpoint_; }
  const model::Config& config() const { return config_; }
  bool is_gguf() const { return checkpoint_->container() == formats::Container::gguf; }

  /// In the order of the weight table: embeddings, layers, norm_f, lm_head (none when it is tied).
  const std::vector<SourceTensor>& tensors() const { return tensors_; }
  /// Encoders of images and sound and their projectors, as they lie in the file; empty for text
  /// models.
  const std::vector<const Tensor*>& media() const { return media_; }
  /// Tensors that no text model has a place for: multi-token prediction and the like.
  const std::vector<std::string>& unknown() const { return unknown_; }
  /// Whether the text model lies under "language_model." in the file.
  bool has_tower_prefix() const { return tower_; }

 private:
  Source() = default;
  const formats::Checkpoint* checkpoint_ = nullptr;
  model::Config config_;
  std::unique_ptr<model::Weights> weights_;  // the lines point into it
  std::vector<SourceTensor> tensors_;
  std::vector<const Tensor*> media_;
  std::vector<std::string> unknown_;
  bool tower_ = false;
};

}  // namespace tern::convert
