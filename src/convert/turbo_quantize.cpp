#include "convert/turbo_quantize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "base/cpu.h"
#include "convert/output_folder.h"
#include "formats/safetensors_writer.h"
#include "model/config.h"
#include "model/weights.h"
#include "quant/matrix.h"
#include "quant/turbo_weights.h"

namespace tern::convert {
namespace {

constexpr float kMostWeight = 8000;  // so that every scale is a number of f16
constexpr std::size_t kSlabWeights = std::size_t{1} << 20;  // coded between two writes

/// Files beside the weights that belong to the model.
constexpr std::array<std::string_view, 11> kSideFiles = {"generation_config.json",
                                                         "tokenizer.json",
                                                         "tokenizer_config.json",
                                                         "special_tokens_map.json",
                                                         "chat_template.jinja",
                                                         "chat_template.json",
                                                         "added_tokens.json",
                                                         "vocab.json",
                                                         "merges.txt",
                                                         "preprocessor_config.json",
                                                         "README.md"};

bool is_plain(DType type) {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

/// What to do with each tensor of the source.
class Plan {
 public:
  Plan(const formats::Checkpoint& source, const model::Weights& weights,
       const TurboQuantizeOptions& options, TurboQuantizeReport& report) {
    std::set<std::string_view> matrices;
    for (const model::TensorEntry& entry : weights.entries)
      if (entry.role != "norm" && entry.role != "vector" && entry.role != "conv")
        matrices.insert(entry.name);
    for (const Tensor& tensor : source.tensors().tensors()) {
      const bool matrix = (matrices.contains(tensor.name) || is_loose_expert(tensor.name)) &&
                          !tensor.name.ends_with(".gate.weight") && is_plain(tensor.type);
      if (!matrix) {
        copied_.push_back(&tensor);
      } else if (tensor.shape.back() % quant::kTurboGroup != 0 || wanted_plain(tensor, options)) {
        report.kept.push_back(tensor.name);
        copied_.push_back(&tensor);
      } else {
        coded_.push_back(&tensor);
      }
    }
    // Large types first: then every tensor starts at a multiple of its type's size.
    std::ranges::stable_sort(copied_, {}, [](const Tensor* t) { return t->type != DType::f32; });
  }

  const std::vector<const Tensor*>& coded() const { return coded_; }
  const std::vector<const Tensor*>& copied() const { return copied_; }

 private:
  static bool is_loose_expert(std::string_view name) {
    return name.find(".experts.") != name.npos &&
           (name.ends_with("_proj.weight") || name.ends_with("_proj"));
  }
  static bool wanted_plain(const Tensor& tensor, const TurboQuantizeOptions& options) {
    return std::ranges::any_of(options.keep, [&](const std::string& part) {
      return tensor.name.find(part) != tensor.name.npos;
    });
  }

  std::vector<const Tensor*> coded_, copied_;
};

/// Embeddings and lm_head.
bool is_head(const Tensor& tensor) {
  return tensor.name.ends_with("lm_head.weight") || tensor.name.ends_with("embeddings.weight");
}

std::uint32_t bits_of(const Tensor& tensor, const TurboQuantizeOptions& options) {
  return is_head(tensor) ? options.head_bits : options.bits;
}

/// Bytes of the codes of a row.
std::size_t code_bytes(const Tensor& tensor, const TurboQuantizeOptions& options) {
  return static_cast<std::size_t>(tensor.shape.back()) * bits_of(tensor, options) / 8;
}

/// "X" of "X.weight"; fused experts have no suffix.
std::string module_of(const Tensor& tensor) {
  constexpr std::string_view kSuffix = ".weight";
  const std::string& name = tensor.name;
  return name.ends_with(kSuffix) ? name.substr(0, name.size() - kSuffix.size()) : name;
}

Shape coded_shape(const Tensor& tensor, std::uint64_t last) {
  Shape shape = tensor.shape;
  shape.back() = last;
  return shape;
}

/// Codes one matrix, a slab of rows at a time, into the file.
class Coder {
 public:
  Coder(const TurboQuantizeOptions& options, ThreadPool& pool)
      : options_(options), signs_(quant::rht64_signs(options.rotation_seed)), pool_(pool) {}

  double error() const { return error_; }
  double square() const { return square_; }

  /// `slab_done(weights)` after each slab; false stops.
  Result<void> run(const Tensor& tensor, formats::SafetensorsWriter& file,
                   const std::function<bool(std::uint64_t)>& slab_done) {
    TERN_TRY(const quant::Matrix matrix, quant::matrix_of(tensor));
    const std::size_t stride = code_bytes(tensor, options_);
    const std::size_t scale_stride = matrix.cols / quant::kTurboGroup * 2;
    const std::size_t rows = std::max<std::size_t>(1, kSlabWeights / matrix.cols);
    std::vector<std::byte> codes(rows * stride), scales(matrix.rows * scale_stride);
    const std::string module = module_of(tensor);
    for (std::size_t first = 0; first < matrix.rows; first += rows) {
      const std::size_t count = std::min(rows, matrix.rows - first);
      const auto part = std::span(scales).subspan(first * scale_stride, count * scale_stride);
      TERN_TRY_VOID(code_rows(matrix.slice(first, count), tensor, codes, part));
      TERN_TRY_VOID(file.write(module + ".weight", std::span(codes).first(count * stride)));
      if (!slab_done(std::uint64_t{count} * matrix.cols))
        return fail(ErrorCode::cancelled, "interrupted");
    }
    return file.write(module + ".scales", scales);
  }

 private:
  struct RowSums {
    double error = 0, square = 0;
    float largest = 0;  ///< NaN if a weight is
  };

  Result<void> code_rows(const quant::Matrix& matrix, const Tensor& tensor,
                         std::span<std::byte> codes, std::span<std::byte> scales) {
    const std::uint32_t bits = bits_of(tensor, options_);
    const std::size_t stride = code_bytes(tensor, options_);
    const std::size_t scale_stride = matrix.cols / quant::kTurboGroup * 2;
    std::vector<RowSums> sums(matrix.rows);
    quant::DecodeRow* const decode = quant::row_decoder(matrix, active_isa());
    pool_.parallel_for(matrix.rows, 4, [&](std::size_t begin, std::size_t end) {
      std::vector<float> w(matrix.cols);
      for (std::size_t row = begin; row < end; ++row) {
        decode(matrix, row, w);
        for (const float value : w) {
          sums[row].square += static_cast<double>(value) * static_cast<double>(value);
          if (!(std::abs(value) <= sums[row].largest)) sums[row].largest = std::abs(value);
        }
        if (!(sums[row].largest <= kMostWeight)) continue;
        sums[row].error =
            quant::encode_turbo_row(w, bits, signs_, codes.subspan(row * stride, stride),
                                    scales.subspan(row * scale_stride, scale_stride));
      }
    });
    for (const RowSums& row : sums) {
      if (!std::isfinite(row.square))
        return fail(ErrorCode::corrupt, "a weight is not finite", tensor.name);
      if (row.largest > kMostWeight)
        return fail(ErrorCode::unsupported,
                    "a weight of " + std::to_string(row.largest) + ", the format holds up to 8000",
                    tensor.name);
      error_ += row.error;
      square_ += row.square;
    }
    return {};
  }

  const TurboQuantizeOptions& options_;
  const float* signs_;
  ThreadPool& pool_;
  double error_ = 0, square_ = 0;
};

/// config.json with the map "quantization" in front.
Result<std::string> quantized_config(const formats::Checkpoint& source, const Plan& plan,
                                     const TurboQuantizeOptions& options) {
  TERN_TRY(const auto text, source.side_file("config.json"));
  const std::size_t brace = text ? text->find('{') : std::string_view::npos;
  if (brace == std::string_view::npos)
    return fail(ErrorCode::not_found, "no config.json beside the weights", source.display_name());
  json::object map = {{"mode", "turboquant"},
                      {"bits", options.bits},
                      {"group_size", quant::kTurboGroup},
                      {"rotation", "rht64"},
                      {"rotation_seed", options.rotation_seed},
                      {"version", 1}};
  for (const Tensor* tensor : plan.coded())
    if (const std::uint32_t bits = bits_of(*tensor, options); bits != options.bits)
      map[module_of(*tensor)] = {
          {"mode", "turboquant"}, {"bits", bits}, {"group_size", quant::kTurboGroup}};
  return "{\n  \"quantization\": " + json::serialize(map) + "," +
         std::string(text->substr(brace + 1));
}

Result<void> check_source(const formats::Checkpoint& source) {
  if (source.container() != formats::Container::safetensors)
    return fail(ErrorCode::unsupported, "turboquant is written from safetensors, this is GGUF",
                source.display_name(), "use the folder of the BF16 model");
  for (const Tensor& tensor : source.tensors().tensors())
    if (tensor.name.ends_with(".scales"))
      return fail(ErrorCode::unsupported, "the model is quantized already", source.display_name(),
                  "use the folder of the BF16 model");
  return {};
}

std::vector<formats::TensorPlan> file_plan(const Plan& plan, const TurboQuantizeOptions& options) {
  std::vector<formats::TensorPlan> out;
  const auto copy = [&](const Tensor* tensor) {
    out.push_back({tensor->name, tensor->type, tensor->shape});
  };
  for (const Tensor* tensor : plan.copied())
    if (tensor->type == DType::f32) copy(tensor);
  for (const Tensor* tensor : plan.coded()) {
    const std::uint64_t cols = tensor->shape.back();
    out.push_back({module_of(*tensor) + ".weight", DType::u32,
                   coded_shape(*tensor, cols / 32 * bits_of(*tensor, options))});
    out.push_back({module_of(*tensor) + ".scales", DType::f16,
                   coded_shape(*tensor, cols / quant::kTurboGroup)});
  }
  for (const Tensor* tensor : plan.copied())
    if (tensor->type != DType::f32) copy(tensor);
  return out;
}

}  // namespace

Result<TurboQuantizeReport> turbo_quantize(
    const formats::Checkpoint& source, const std::filesystem::path& destination,
    const TurboQuantizeOptions& options, ThreadPool& pool,
    const std::function<bool(std::uint64_t, std::uint64_t)>& progress) {
  TERN_TRY_VOID(check_source(source));
  TERN_TRY(const auto config, model::Config::from(source));
  TERN_TRY(const auto weights, model::Weights::load(source, config));
  TurboQuantizeReport report;
  const Plan plan(source, weights, options, report);
  report.matrices = plan.coded().size();
  for (const Tensor* tensor : plan.coded()) {
    report.weights += tensor->elements();
    report.coded_bytes +=
        tensor->elements() / quant::kTurboGroup * (8 * bits_of(*tensor, options) + 2);
  }
  TERN_TRY(const auto config_text, quantized_config(source, plan, options));

  TERN_TRY(auto folder, OutputFolder::create(destination));
  TERN_TRY(auto file,
           formats::SafetensorsWriter::create(folder.file("model.safetensors"),
                                              file_plan(plan, options), {{"format", "pt"}}));
  const auto copy = [&](bool f32) -> Result<void> {
    for (const Tensor* tensor : plan.copied())
      if ((tensor->type == DType::f32) == f32)
        TERN_TRY_VOID(file.write(tensor->name, tensor->data));
    return {};
  };
  TERN_TRY_VOID(copy(true));
  Coder coder(options, pool);
  std::uint64_t done = 0;
  for (const Tensor* tensor : plan.coded())
    TERN_TRY_VOID(coder.run(*tensor, file, [&](std::uint64_t count) {
      done += count;
      return !progress || progress(done, report.weights);
    }));
  TERN_TRY_VOID(copy(false));
  report.file_bytes = file.bytes();
  report.error = coder.square() > 0 ? coder.error() / coder.square() : 0;
  TERN_TRY_VOID(file.commit());

  for (const std::string_view name : kSideFiles) {
    TERN_TRY(const auto text, source.side_file(name));
    if (text) TERN_TRY_VOID(folder.write(name, *text));
  }
  TERN_TRY_VOID(folder.write("config.json", config_text));
  TERN_TRY_VOID(folder.commit());
  return report;
}

}  // namespace tern::convert
