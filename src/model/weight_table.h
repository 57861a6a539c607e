// One line for each tensor of the model: its names, its shape, and where it goes.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "model/weights.h"
#include "tensor/tensor.h"

namespace tern::model {

/// How a stored tensor is read.
enum class Role : std::uint8_t {
  embedding,  ///< matrix [vocab, hidden]
  linear,     ///< matrix [outputs, inputs]
  experts,    ///< as many matrices as experts: one stack [experts, outputs, inputs], or loose ones
  norm,       ///< vector; GGUF may fold it by groups
  vector,     ///< vector
  decay,      ///< vector A: stored as A_log in safetensors, as A in GGUF
  conv,       ///< [channels, kernel], with an axis of length 1 anywhere; kept as [kernel, channels]
};
std::string_view name(Role role);

enum class Need : std::uint8_t {
  required,
  optional,   ///< read when it is there
  forbidden,  ///< the configuration says that there is none
};

struct Line {
  Role role = Role::linear;
  /// After the prefix of the checkpoint, without ".weight" for matrices: "layers.0.mixer.in_proj".
  /// Experts: of one expert, with "*" for its number.
  std::string hf;
  /// The full name, without ".weight" for matrices: "blk.0.ssm_in".
  std::string gguf;
  Shape shape;
  Need need = Need::required;
  std::variant<quant::Matrix*, std::vector<quant::Matrix>*, Buffer<float>*> to;
  /// What `load_lines` found: the tensor of the file, null for experts that lie in several.
  const Tensor* stored = nullptr;
};

/// The whole model. `weights.layers` is filled with empty mixers of the right kind; the lines point
/// into `weights`, which must stay where it is.
std::vector<Line> weight_table(const Config& config, formats::Container container,
                               Weights& weights);

/// As Weights::load, into `to`, which must stay where it is.
/// @return the lines whose tensors the checkpoint holds, in the order of the table
Result<std::vector<Line>> load_lines(const formats::Checkpoint& checkpoint, const Config& config,
                                     Weights& to);

}  // namespace tern::model
