#include "model/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "base/printable.h"
#include "model/mlx_config.h"
#include "model/weight_table.h"
#include "tensor/half.h"

namespace tern::model {
namespace {

using formats::Container;

constexpr std::size_t kListedMisfits = 20;

/// Everything that is wrong, as one error in the end.
struct Misfits {
  std::vector<std::string> list;
  bool only_types = true;  ///< nothing but storage types that this engine does not know

  void add(std::string text, ErrorCode code = ErrorCode::mismatch) {
    list.push_back(std::move(text));
    only_types = only_types && code == ErrorCode::unsupported;
  }

  Error error(std::string_view where) const {
    std::string what =
        list.size() == 1 ? "a tensor does not fit the configuration: "
                         : std::to_string(list.size()) + " tensors do not fit the configuration: ";
    for (std::size_t i = 0; i < std::min(list.size(), kListedMisfits); ++i)
      what += (i > 0 ? "; " : "") + list[i];
    if (list.size() > kListedMisfits)
      what += "; and " + std::to_string(list.size() - kListedMisfits) + " more";
    return Error{only_types ? ErrorCode::unsupported : ErrorCode::mismatch, std::move(what),
                 std::string(where),
                 only_types ? "use the BF16, MLX or GGUF variant of the model"
                            : "configuration and weights of different models, or a broken file"};
  }
};

/// What stands before the names of the table in a safetensors checkpoint: the one of the known
/// prefixes that most tensors have.
std::string find_prefix(const formats::TensorTable& tensors) {
  constexpr std::array<std::string_view, 4> kKnown = {"backbone.", "language_model.backbone.",
                                                      "model.", "language_model.model."};
  std::array<std::size_t, kKnown.size()> counts{};
  for (const Tensor& tensor : tensors.tensors())
    for (std::size_t i = 0; i < kKnown.size(); ++i)
      counts[i] += std::string_view(tensor.name).starts_with(kKnown[i]) ? 1 : 0;
  return std::string(kKnown[static_cast<std::size_t>(
      std::max_element(counts.begin(), counts.end()) - counts.begin())]);
}

/// Extents without the axes of length 1.
Shape squeezed(const Shape& shape) {
  Shape out;
  for (const auto extent : shape)
    if (extent != 1) out.push_back(extent);
  return out;
}

/// Copies a plain tensor as float32. @error unsupported for other types, mismatch for NaN or inf.
Result<Buffer<float>> to_floats(const Tensor& tensor) {
  Buffer<float> out(tensor.elements());
  const std::byte* data = tensor.data.data();
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t half = 0;
    switch (tensor.type) {
      case DType::f32:
        std::memcpy(&out[i], data + 4 * i, 4);
        break;
      case DType::f16:
        std::memcpy(&half, data + 2 * i, 2);
        out[i] = f16_to_float(half);
        break;
      case DType::bf16:
        std::memcpy(&half, data + 2 * i, 2);
        out[i] = bf16_to_float(half);
        break;
      default:
        return fail(ErrorCode::unsupported,
                    "expected f32, f16 or bf16, file holds " + std::string(name(tensor.type)));
    }
    if (!std::isfinite(out[i]))
      return fail(ErrorCode::mismatch, "element " + std::to_string(i) + " is not finite");
  }
  return out;
}

/// Tensors that belong to other parts of the model, or that need no place.
bool belongs_elsewhere(std::string_view name) {
  for (const std::string_view prefix :
       {"vision_model.", "sound_encoder.", "sound_projection.", "mlp1.", "mtp.",
        "language_model.mtp.", "v.", "a.", "mm.", "rope_freqs", "rope_factors"})
    if (name.starts_with(prefix)) return true;
  return name.find("rotary_emb") != name.npos || name.find("rope_freqs") != name.npos;
}

class Loader {
 public:
  Loader(const formats::Checkpoint& checkpoint, const Config& config)
      : checkpoint_(checkpoint),
        tensors_(checkpoint.tensors()),
        gguf_(checkpoint.container() == Container::gguf),
        config_(config),
        mlx_(checkpoint.config()),
        prefix_(gguf_ ? "" : find_prefix(tensors_)) {}

  Result<std::vector<Line>> load(Weights& weights) {
    for (const Line& line : weight_table(config_, checkpoint_.container(), weights)) {
      if (line.role == Role::experts)
        load_experts(line);
      else if (std::holds_alternative<quant::Matrix*>(line.to))
        load_matrix(line);
      else
        load_vector(line);
    }
    if (!misfits_.list.empty()) return std::unexpected(misfits_.error(checkpoint_.display_name()));
    finish(weights);
    return std::move(found_);
  }

 private:
  std::string file_name(const Line& line) const {
    if (gguf_) return line.gguf;
    // lm_head stands beside the backbone, not in it.
    if (line.hf == "lm_head")
      return (prefix_.starts_with("language_model.") ? "language_model." : "") + line.hf;
    return prefix_ + line.hf;
  }

  /// The name in the file, and the one that the other container would use.
  std::string both_names(const Line& line, std::string_view suffix = "") const {
    const std::string end(suffix);
    return printable(file_name(line) + end) + " (" +
           printable((gguf_ ? line.hf : line.gguf) + end) +
           (gguf_ ? " in safetensors)" : " in GGUF)");
  }

  void missing(const Line& line, std::string_view suffix = "") {
    misfits_.add("no tensor " + both_names(line, suffix) + ", expected " + to_string(line.shape));
  }

  void wrong_shape(const Line& line, std::string_view suffix, const Shape& found) {
    misfits_.add(both_names(line, suffix) + ": expected " + to_string(line.shape) +
                 ", file holds " + to_string(found));
  }

  const Tensor* take(const std::string& name) {
    const Tensor* tensor = tensors_.find(name);
    if (tensor != nullptr) used_.insert(tensor->name);
    return tensor;
  }

  bool vector_fits(const Line& line, const Tensor& tensor) const {
    if (tensor.elements() == 0) return false;
    if (line.role == Role::norm && gguf_ && tensor.shape.size() == 2)  // ssm_norm, by groups
      return tensor.shape[0] * tensor.shape[1] == line.shape[0];
    return squeezed(tensor.shape) == squeezed(line.shape);
  }

  void load_vector(const Line& line) {
    Buffer<float>& to = *std::get<Buffer<float>*>(line.to);
    const Tensor* tensor = take(file_name(line));
    if (tensor == nullptr) {
      if (line.need == Need::required) missing(line);
      return;
    }
    if (line.need == Need::forbidden)
      return misfits_.add(both_names(line) + " is in the file, but the configuration has no bias");
    if (!vector_fits(line, *tensor)) return wrong_shape(line, "", tensor->shape);
    auto values = to_floats(*tensor);
    if (!values)
      return misfits_.add(both_names(line) + ": " + values.error().what, values.error().code);
    to = std::move(*values);
    if (line.role == Role::decay) make_decay(line, to);
    if (line.role == Role::conv) to = transposed(to, line.shape[0], line.shape[1]);
    note(line, file_name(line), std::string(name(tensor->type)), tensor->elements(),
         tensor->data.size());
  }

  /// A = -exp(A_log); GGUF holds A.
  void make_decay(const Line& line, Buffer<float>& a) {
    for (float& value : a.span()) {
      if (!gguf_) value = static_cast<float>(-std::exp(static_cast<double>(value)));
      if (!(value <= 0.0f) || std::isinf(value))
        return misfits_.add(both_names(line) + ": a decay rate that is not finite and negative");
    }
  }

  static Buffer<float> transposed(const Buffer<float>& from, std::size_t rows, std::size_t cols) {
    Buffer<float> to(from.size());
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < cols; ++c) to[c * rows + r] = from[r * cols + c];
    return to;
  }

  /// The matrix at module `path`: plain, GGUF blocks, or MLX codes with their scales. `plain` is
  /// the tensor's name, which for HF-fused experts has no ".weight".
  Result<quant::Matrix> matrix_at(const std::string& path, const std::string& plain,
                                  const Tensor** weight) {
    *weight = take(plain);
    if (*weight == nullptr) return fail(ErrorCode::not_found, plain);
    const Tensor* scales = gguf_ ? nullptr : take(path + ".scales");
    if (scales == nullptr) {
      if (!gguf_ && (*weight)->type == DType::u32)
        return fail(ErrorCode::mismatch, "packed codes without " + printable(path + ".scales"));
      return quant::matrix_of(**weight);
    }
    if (take(path + ".global_scale") != nullptr)
      return fail(ErrorCode::unsupported, "nvfp4 with a global scale for each tensor");
    TERN_TRY(const quant::MlxFormat format, mlx_.format(path));
    const Tensor* biases = take(path + ".biases");
    return quant::matrix_of(quant::MlxPlanes{*weight, scales, biases}, format);
  }

  static Shape shape_of(const quant::Matrix& matrix, const Tensor& weight) {
    Shape shape(weight.shape);
    shape.back() = matrix.cols;
    return shape;
  }

  /// Reads and checks one matrix; nothing, and a misfit, when it does not fit `expected`.
  std::optional<quant::Matrix> fitting(const Line& line, const std::string& path,
                                       const std::string& plain, const Shape& expected) {
    const Tensor* weight = nullptr;
    auto matrix = matrix_at(path, plain, &weight);
    if (!matrix) {
      const std::string shape = weight == nullptr ? "" : " " + to_string(weight->shape);
      misfits_.add(printable(plain) + ": expected " + to_string(expected) + ", file holds" + shape +
                       ": " + matrix.error().what +
                       (matrix.error().hint.empty() ? "" : " (" + matrix.error().hint + ")"),
                   matrix.error().code);
      return std::nullopt;
    }
    if (const Shape found = shape_of(*matrix, *weight); found != expected) {
      misfits_.add(both_names(line, ".weight") + ": expected " + to_string(expected) +
                   ", file holds " + to_string(found) +
                   (plain == file_name(line) + ".weight" ? "" : " in " + printable(plain)));
      return std::nullopt;
    }
    if (matrix->rotated() && signs_ != nullptr && matrix->signs != signs_) {
      misfits_.add(printable(plain) + ": another rotation_seed than the matrices before it",
                   ErrorCode::unsupported);
      return std::nullopt;
    }
    if (matrix->rotated()) signs_ = matrix->signs;
    return matrix.value();
  }

  void load_matrix(const Line& line) {
    const std::string path = file_name(line);
    const std::string plain = path + ".weight";
    if (tensors_.find(plain) == nullptr) {
      if (line.need == Need::required) missing(line, ".weight");
      return;
    }
    if (const auto matrix = fitting(line, path, plain, line.shape)) {
      *std::get<quant::Matrix*>(line.to) = *matrix;
      note(line, plain, type_name(*matrix), product(line.shape), matrix->bytes());
    }
  }

  struct Stack {
    std::string path, plain;
  };

  /// Where all experts stand in one tensor, if they do.
  std::optional<Stack> find_stack(const Line& line) const {
    for (const Stack& stack : stacks(line))
      if (tensors_.find(stack.plain) != nullptr) return stack;
    return std::nullopt;
  }

  std::vector<Stack> stacks(const Line& line) const {
    const std::string base = file_name(line);
    if (gguf_) return {{base, base + ".weight"}};
    const std::size_t star = base.find(".experts.*.");
    const std::string mixer = base.substr(0, star);
    const std::string projection = base.substr(star + 11);
    const std::string mlx = mixer + ".switch_mlp." + (projection == "up_proj" ? "fc1" : "fc2");
    const std::string fused = mixer + ".experts." + projection;
    return {{mlx, mlx + ".weight"}, {fused, fused}, {fused, fused + ".weight"}};
  }

  void load_experts(const Line& line) {
    auto& to = *std::get<std::vector<quant::Matrix>*>(line.to);
    const std::size_t experts = line.shape[0], rows = line.shape[1];
    const auto stack = find_stack(line);
    if (!stack && !gguf_) return load_loose_experts(line);
    if (!stack) return missing(line, ".weight");
    const auto matrix = fitting(line, stack->path, stack->plain, line.shape);
    if (!matrix) return;
    for (std::size_t e = 0; e < experts; ++e) to.push_back(matrix->slice(e * rows, rows));
    note(line, stack->plain, type_name(*matrix), product(line.shape), matrix->bytes());
  }

  void load_loose_experts(const Line& line) {
    auto& to = *std::get<std::vector<quant::Matrix>*>(line.to);
    const std::string base = file_name(line);
    const auto named = [&](const std::string& number) {
      std::string path = base;
      return path.replace(path.find('*'), 1, number);
    };
    const Shape one(line.shape.begin() + 1, line.shape.end());
    std::uint64_t bytes = 0;
    std::string types;
    std::vector<std::string> absent;
    for (std::size_t e = 0; e < line.shape[0]; ++e) {
      const std::string path = named(std::to_string(e));
      if (tensors_.find(path + ".weight") == nullptr) {
        absent.push_back("no tensor " + printable(path + ".weight") + " (part of " +
                         printable(line.gguf + ".weight") + " in GGUF), expected " +
                         to_string(one));
        continue;
      }
      const auto matrix = fitting(line, path, path + ".weight", one);
      if (!matrix) continue;
      if (!to.empty() && to[0].rotated() != matrix->rotated()) {
        misfits_.add(printable(path) + ": of the experts of a layer, some are turboquant",
                     ErrorCode::unsupported);
        continue;
      }
      to.push_back(*matrix);
      bytes += matrix->bytes();
      if (const std::string type = type_name(*matrix); types.find(type) == types.npos)
        types += (types.empty() ? "" : ", ") + type;
    }
    if (absent.size() == line.shape[0])  // then most likely they were to be stacked
      return misfits_.add("no tensor " + printable(stacks(line)[0].plain) + " or " +
                          both_names(line, ".weight") + ", expected " + to_string(line.shape));
    for (std::string& text : absent) misfits_.add(std::move(text));
    note(line, named("0-" + std::to_string(line.shape[0] - 1)) + ".weight", types,
         product(line.shape), bytes);
  }

  static std::uint64_t product(const Shape& shape) {
    std::uint64_t n = 1;
    for (const auto extent : shape) n *= extent;
    return n;
  }

  static std::string type_name(const quant::Matrix& matrix) {
    std::string text(quant::name(matrix.scheme));
    if (matrix.group > 0)
      text += " " + std::to_string(matrix.bits) + "-bit, group " + std::to_string(matrix.group);
    return text;
  }

  void note(const Line& line, std::string tensor, std::string type, std::uint64_t parameters,
            std::uint64_t bytes) {
    found_.push_back(line);
    found_.back().stored = tensors_.find(tensor);
    entries_.push_back({std::move(tensor), std::string(name(line.role)), std::move(type),
                        to_string(line.shape), parameters, bytes});
  }

  void finish(Weights& weights) {
    weights.signs = signs_;
    if (weights.lm_head.weight.codes == nullptr) weights.lm_head.weight = weights.embeddings;
    for (LayerWeights& layer : weights.layers)
      if (auto* mamba = std::get_if<MambaWeights>(&layer.mixer))
        if (mamba->conv_bias.size() == 0)
          mamba->conv_bias = Buffer<float>(config_.mamba.conv_dim());
    for (const TensorEntry& entry : entries_) {
      weights.parameters += entry.parameters;
      weights.bytes += entry.bytes;
    }
    weights.entries = std::move(entries_);
    for (const Tensor& tensor : tensors_.tensors())
      if (!used_.contains(tensor.name) && !belongs_elsewhere(tensor.name))
        weights.ignored.push_back(tensor.name);
  }

  const formats::Checkpoint& checkpoint_;
  const formats::TensorTable& tensors_;
  bool gguf_;
  const Config& config_;
  MlxConfig mlx_;
  std::string prefix_;
  Misfits misfits_;
  const float* signs_ = nullptr;  ///< of the rotated matrices so far
  std::vector<TensorEntry> entries_;
  std::vector<Line> found_;
  std::unordered_set<std::string_view> used_;
};

}  // namespace

Result<Weights> Weights::load(const formats::Checkpoint& checkpoint, const Config& config) {
  Weights weights;
  TERN_TRY_VOID(load_lines(checkpoint, config, weights));
  return weights;
}

Result<std::vector<Line>> load_lines(const formats::Checkpoint& checkpoint, const Config& config,
                                     Weights& to) {
  return Loader(checkpoint, config).load(to);
}

}  // namespace tern::model
