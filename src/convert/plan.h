// What a conversion will write, byte for byte, before it starts.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "convert/importance.h"
#include "convert/row_format.h"
#include "convert/source.h"
#include "formats/safetensors_writer.h"

namespace tern::convert {

/// Rows of matrices, coded one by one.
struct Coding {
  std::vector<quant::Matrix> matrices;  ///< of one width; their rows follow one another
  RowFormatPtr format;
  /// Of each column, [cols], or [matrices.size() * cols]; empty: all alike. Outlives the plan.
  std::span<const float> importance = {};

  std::size_t rows() const;
  std::size_t cols() const { return matrices.front().cols; }
  bool lossless() const;
};

/// One or more consecutive tensors of a file, made in one go.
struct PlannedTensor {
  std::vector<formats::TensorPlan> outputs;  ///< one for each plane of a coding, else one
  std::string how;                           ///< "copied", "bf16 to affine 4-bit, group 64"
  /// A tensor of the source whose bytes are taken, bytes that are made already, or rows to code.
  std::variant<const Tensor*, std::string, Coding> from;

  std::uint64_t bytes() const;  ///< of all outputs
  std::uint64_t elements() const;
};

/// A header and tensors after it, each at the next multiple of `alignment` from the end of `head`;
/// the last one is padded, too.
struct PlannedFile {
  std::string name;
  std::string head;  ///< safetensors: length and JSON; GGUF: everything before the data
  std::uint64_t alignment = 1;
  std::vector<PlannedTensor> tensors;

  std::uint64_t tensor_bytes() const;
  std::uint64_t bytes() const;  ///< of the whole file
  /// Bytes of the head and the first `count` tensors: where the next one begins.
  std::uint64_t bytes_before(std::size_t count) const;
};

struct SmallFile {
  std::string name;
  std::string text;
};

struct Plan {
  std::string target = {};  ///< "mlx-4bit"
  /// A folder of `files` and `small_files` appears under the destination's name; else the one file
  /// of `files` does.
  bool folder = true;
  std::vector<PlannedFile> files = {};
  std::vector<SmallFile> small_files = {};
  std::vector<std::string> warnings = {};

  std::uint64_t weights() const;       ///< numbers of all tensors of the source that are stored
  std::uint64_t tensor_bytes() const;  ///< without headers and padding
  std::uint64_t bytes() const;         ///< of all files
  /// Everything that decides its bytes, in text; two plans of one text write the same files.
  std::string fingerprint() const;
};

/// "PATTERN=FORMAT" of --override. The pattern is found anywhere in a tensor's name (of the output,
/// of Hugging Face or of GGUF); "*" in it stands for any text.
struct Override {
  /// From "switch_mlp.fc2=6". @error usage
  static Result<Override> parse(std::string_view text);

  std::string pattern;
  std::string format;  ///< "6", "mxfp4", "bf16", "q8_0": a word of the target
  bool matches(std::string_view name) const;
};

struct PlanOptions {
  std::optional<std::uint32_t> group_size = {};  ///< MLX affine
  bool reference = false;                        ///< the encoders of the format's own programs
  std::vector<Override> overrides = {};
  std::uint64_t shard_bytes = std::uint64_t{5} << 30;
  const Importance* importance = nullptr;  ///< outlives the plan
  bool text_only = false;                  ///< leave out encoders of images and sound
  // turboquant only:
  std::optional<std::uint32_t> head_bits = {};  ///< of embeddings and lm_head
  std::uint64_t rotation_seed = 0;
};

/// The coded tensors of a module: "X.weight" and, for MLX's formats, "X.scales" and "X.biases".
/// @param expert  that one alone; none: the matrix, or the stack of all experts
/// @error mismatch  a width that is no multiple of the format's unit, or an importance of another
/// width
Result<PlannedTensor> plan_coding(const SourceTensor& source, RowFormatPtr format,
                                  std::string_view module, const PlanOptions& options,
                                  std::optional<std::size_t> expert = {});

/// Whether rows of `source` are a whole number of the format's groups.
bool fits(const SourceTensor& source, const RowFormat& format);

/// The bytes of a tensor as they are.
PlannedTensor plan_copy(const Tensor& tensor, std::string name);
/// Floats as f32, f16 or bf16.
PlannedTensor plan_values(std::span<const float> values, DType type, std::string name, Shape shape,
                          std::string how);

}  // namespace tern::convert
