#include "convert/source.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/cpu.h"
#include "quant/turbo_weights.h"
#include "tensor/half.h"

namespace tern::convert {
namespace {

constexpr std::string_view kTower = "language_model.";
constexpr std::string_view kMedia[] = {"vision_model.", "sound_encoder.", "sound_projection.",
                                       "mlp1."};

bool is_media(std::string_view name) {
  return std::ranges::any_of(kMedia, [&](std::string_view part) { return name.starts_with(part); });
}

SourceTensor source_tensor(const model::Line& line, bool gguf) {
  SourceTensor out{.role = line.role,
                   .hf = (line.hf == "lm_head" ? "" : "backbone.") + line.hf,
                   .gguf = line.gguf,
                   .shape = line.shape,
                   .stored = line.stored,
                   .from_gguf = gguf};
  if (const auto* matrix = std::get_if<quant::Matrix*>(&line.to))
    out.matrices = {**matrix};
  else if (const auto* experts = std::get_if<std::vector<quant::Matrix>*>(&line.to))
    out.matrices = **experts;
  if (!out.matrices.empty()) {
    out.hf += ".weight";
    out.gguf += ".weight";
  }
  return out;
}

std::vector<float> to_floats(const Tensor& tensor) {
  std::vector<float> values(tensor.elements());
  const std::byte* in = tensor.data.data();
  if (tensor.type == DType::f32) {
    std::memcpy(values.data(), in, tensor.data.size());
    return values;
  }
  TERN_CHECK(tensor.type == DType::bf16 || tensor.type == DType::f16);  // proved by load_lines
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, in + i * sizeof bits, sizeof bits);
    values[i] = tensor.type == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
  }
  return values;
}

}  // namespace

std::uint64_t SourceTensor::elements() const {
  std::uint64_t n = 1;
  for (const auto extent : shape) n *= extent;
  return n;
}

std::string SourceTensor::type_name() const {
  if (!is_matrix()) return std::string(name(stored->type));
  const quant::Matrix& matrix = matrices.front();
  std::string text(quant::name(matrix.scheme));
  if (matrix.group > 0)
    text += " " + std::to_string(matrix.bits) + "-bit, group " + std::to_string(matrix.group);
  return text;
}

std::vector<float> SourceTensor::values() const {
  TERN_CHECK(stored != nullptr && !is_matrix());
  constexpr double kLeast = -104;  // exp of it is 0 in float32
  std::vector<float> out = to_floats(*stored);
  if (role == model::Role::decay && from_gguf)
    for (float& value : out)
      value = static_cast<float>(std::max(kLeast, std::log(-static_cast<double>(value))));
  return out;
}

std::vector<float> SourceTensor::gguf_values() const {
  TERN_CHECK(stored != nullptr && !is_matrix());
  std::vector<float> out = to_floats(*stored);
  if (role == model::Role::decay && !from_gguf)
    for (float& value : out) value = static_cast<float>(-std::exp(static_cast<double>(value)));
  return out;
}

void decode_row(const quant::Matrix& matrix, std::size_t row, std::span<float> out) {
  quant::row_decoder(matrix, active_isa())(matrix, row, out);
  if (matrix.rotated()) quant::unrotate_inputs(matrix.signs, out.data(), out.size());
}

Result<Source> Source::open(const formats::Checkpoint& checkpoint) {
  Source source;
  source.checkpoint_ = &checkpoint;
  TERN_TRY(source.config_, model::Config::from(checkpoint));
  source.weights_ = std::make_unique<model::Weights>();
  TERN_TRY(const auto lines, model::load_lines(checkpoint, source.config_, *source.weights_));
  for (const model::Line& line : lines)
    source.tensors_.push_back(source_tensor(line, source.is_gguf()));
  source.unknown_ = source.weights_->ignored;
  for (const Tensor& tensor : checkpoint.tensors().tensors()) {
    if (is_media(tensor.name)) source.media_.push_back(&tensor);
    if (tensor.name.starts_with("mtp.") || tensor.name.starts_with("language_model.mtp."))
      source.unknown_.push_back(tensor.name);
    source.tower_ = source.tower_ || tensor.name.starts_with(kTower);
  }
  return source;
}

}  // namespace tern::convert
