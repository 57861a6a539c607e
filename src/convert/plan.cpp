#include "convert/plan.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/printable.h"
#include "convert/hash.h"
#include "tensor/half.h"

namespace tern::convert {
namespace {

constexpr std::string_view kEncoders = "encoders 1";  // to be raised when their results change

std::uint64_t product(const Shape& shape) {
  std::uint64_t n = 1;
  for (const auto extent : shape) n *= extent;
  return n;
}

std::uint64_t bytes_of(const formats::TensorPlan& tensor) {
  const auto bytes = checked_tensor_bytes(tensor.type, tensor.shape);
  TERN_CHECK(bytes.has_value());  // extents come from tensors that exist
  return *bytes;
}

std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Whether `text` matches `pattern` from its beginning, with anything after it.
bool matches_here(std::string_view text, std::string_view pattern) {
  const std::size_t star = pattern.find('*');
  const std::string_view literal = pattern.substr(0, star);
  if (!text.starts_with(literal)) return false;
  if (star == pattern.npos) return true;
  text.remove_prefix(literal.size());
  pattern.remove_prefix(star + 1);
  // After a star the first place of each literal is as good as any other.
  const std::string_view next = pattern.substr(0, pattern.find('*'));
  const std::size_t at = text.find(next);
  return at != text.npos && matches_here(text.substr(at), pattern);
}

}  // namespace

std::size_t Coding::rows() const {
  std::size_t rows = 0;
  for (const quant::Matrix& matrix : matrices) rows += matrix.rows;
  return rows;
}

bool Coding::lossless() const {
  return std::ranges::all_of(matrices,
                             [&](const quant::Matrix& matrix) { return format->lossless(matrix); });
}

std::uint64_t PlannedTensor::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& output : outputs) sum += bytes_of(output);
  return sum;
}

std::uint64_t PlannedTensor::elements() const {
  if (const auto* coding = std::get_if<Coding>(&from))
    return std::uint64_t{coding->rows()} * coding->cols();
  return product(outputs.front().shape);
}

std::uint64_t PlannedFile::tensor_bytes() const {
  std::uint64_t sum = 0;
  for (const PlannedTensor& tensor : tensors) sum += tensor.bytes();
  return sum;
}

std::uint64_t PlannedFile::bytes() const {
  return bytes_before(tensors.size());
}

std::uint64_t PlannedFile::bytes_before(std::size_t count) const {
  std::uint64_t sum = head.size();
  for (const PlannedTensor& tensor : std::span(tensors).first(count))
    for (const auto& output : tensor.outputs) sum += rounded_up(bytes_of(output), alignment);
  return sum;
}

std::uint64_t Plan::weights() const {
  std::uint64_t sum = 0;
  for (const PlannedFile& file : files)
    for (const PlannedTensor& tensor : file.tensors) sum += tensor.elements();
  return sum;
}

std::uint64_t Plan::tensor_bytes() const {
  std::uint64_t sum = 0;
  for (const PlannedFile& file : files) sum += file.tensor_bytes();
  return sum;
}

std::uint64_t Plan::bytes() const {
  std::uint64_t sum = 0;
  for (const PlannedFile& file : files) sum += file.bytes();
  for (const SmallFile& file : small_files) sum += file.text.size();
  return sum;
}

std::string Plan::fingerprint() const {
  std::string text = target + (folder ? " folder " : " file ") + std::string(kEncoders) + "\n";
  for (const PlannedFile& file : files) {
    text += file.name + " " + std::to_string(file.bytes()) + " " +
            std::to_string(hash_of(file.head)) + "\n";
    for (const PlannedTensor& tensor : file.tensors) {
      text += " " + tensor.how;
      if (const auto* coding = std::get_if<Coding>(&tensor.from))
        text += " " + std::to_string(hash_of(std::as_bytes(coding->importance)));
      if (const auto* made = std::get_if<std::string>(&tensor.from))
        text += " " + std::to_string(hash_of(*made));
      text += "\n";
    }
  }
  for (const SmallFile& file : small_files)
    text += file.name + " " + std::to_string(hash_of(file.text)) + "\n";
  return text;
}

Result<Override> Override::parse(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  if (equals == text.npos || equals == 0 || equals + 1 == text.size())
    return fail(ErrorCode::usage, "expected PATTERN=FORMAT, found " + printable(text), "--override",
                "for example 'switch_mlp.fc2=6'");
  return Override{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

bool Override::matches(std::string_view name) const {
  return matches_here(name, "*" + pattern);
}

bool fits(const SourceTensor& source, const RowFormat& format) {
  return source.shape.back() % format.unit() == 0;
}

Result<PlannedTensor> plan_coding(const SourceTensor& source, RowFormatPtr format,
                                  std::string_view module, const PlanOptions& options,
                                  std::optional<std::size_t> expert) {
  TERN_CHECK(source.is_matrix() && (!expert || *expert < source.matrices.size()));
  const std::size_t cols = source.shape.back();
  if (!fits(source, *format))
    return fail(ErrorCode::mismatch,
                std::to_string(cols) + " columns are no multiple of " +
                    std::to_string(format->unit()) + ", which " + format->label() + " needs",
                source.hf);
  Coding coding{.matrices = source.matrices, .format = format};
  Shape shape = source.shape;
  if (expert) {
    coding.matrices = {source.matrices[*expert]};
    shape.erase(shape.begin());
  }
  if (options.importance != nullptr) coding.importance = options.importance->find(source.gguf);
  if (!coding.importance.empty() && coding.importance.size() != cols) {
    if (coding.importance.size() != cols * source.matrices.size())
      return fail(ErrorCode::mismatch,
                  "the importance matrix has " + std::to_string(coding.importance.size()) +
                      " columns, the weights " + std::to_string(cols * source.matrices.size()),
                  source.gguf, "it was made for another model");
    if (expert) coding.importance = coding.importance.subspan(*expert * cols, cols);
  }
  PlannedTensor planned;
  for (const PlaneLayout& plane : format->planes(cols)) {
    shape.back() = plane.extent;
    planned.outputs.push_back({std::string(module) + std::string(plane.suffix), plane.type, shape});
  }
  const bool copied = std::ranges::all_of(
      coding.matrices, [&](const quant::Matrix& matrix) { return format->takes(matrix); });
  planned.how =
      copied ? format->label() + ", as it is" : source.type_name() + " to " + format->label();
  planned.from = std::move(coding);
  return planned;
}

PlannedTensor plan_copy(const Tensor& tensor, std::string name) {
  return {.outputs = {{std::move(name), tensor.type, tensor.shape}},
          .how = std::string(tern::name(tensor.type)) + ", as it is",
          .from = &tensor};
}

PlannedTensor plan_values(std::span<const float> values, DType type, std::string name, Shape shape,
                          std::string how) {
  const RowFormatPtr format = plain_format(type);
  std::string bytes(values.size() * block_layout(type).bytes, '\0');
  format->encode(values, {}, {.codes = std::as_writable_bytes(std::span(bytes))});
  return {.outputs = {{std::move(name), type, std::move(shape)}},
          .how = std::move(how),
          .from = std::move(bytes)};
}

}  // namespace tern::convert
