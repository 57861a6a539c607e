#include "quant/matrix.h"

#include <array>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/checked.h"

namespace tern::quant {
namespace {

struct SchemeRow {
  Scheme scheme;
  std::string_view name;
  std::optional<DType> type;  ///< of a tensor that holds the codes alone; none for MLX's modes
};

constexpr std::array kSchemes = {
    SchemeRow{Scheme::f32, "f32", DType::f32},
    SchemeRow{Scheme::f16, "f16", DType::f16},
    SchemeRow{Scheme::bf16, "bf16", DType::bf16},
    SchemeRow{Scheme::q4_0, "q4_0", DType::q4_0},
    SchemeRow{Scheme::q4_1, "q4_1", DType::q4_1},
    SchemeRow{Scheme::q5_0, "q5_0", DType::q5_0},
    SchemeRow{Scheme::q5_1, "q5_1", DType::q5_1},
    SchemeRow{Scheme::q8_0, "q8_0", DType::q8_0},
    SchemeRow{Scheme::q2_k, "q2_k", DType::q2_k},
    SchemeRow{Scheme::q3_k, "q3_k", DType::q3_k},
    SchemeRow{Scheme::q4_k, "q4_k", DType::q4_k},
    SchemeRow{Scheme::q5_k, "q5_k", DType::q5_k},
    SchemeRow{Scheme::q6_k, "q6_k", DType::q6_k},
    SchemeRow{Scheme::iq4_nl, "iq4_nl", DType::iq4_nl},
    SchemeRow{Scheme::iq4_xs, "iq4_xs", DType::iq4_xs},
    SchemeRow{Scheme::mxfp4, "mxfp4", DType::mxfp4},
    SchemeRow{Scheme::mlx_affine, "mlx affine", std::nullopt},
    SchemeRow{Scheme::mlx_mxfp4, "mlx mxfp4", std::nullopt},
    SchemeRow{Scheme::mlx_mxfp8, "mlx mxfp8", std::nullopt},
    SchemeRow{Scheme::mlx_nvfp4, "mlx nvfp4", std::nullopt},
    SchemeRow{Scheme::turboquant, "turboquant", std::nullopt},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kSchemes.size(); ++i)
    if (kSchemes[i].scheme != static_cast<Scheme>(i)) return false;
  return kSchemes.back().scheme == Scheme::turboquant;
}
static_assert(in_order(), "the table follows the enumeration");

/// Bits and group sizes that each mode with separate planes allows.
struct MlxMode {
  Scheme scheme;
  std::span<const std::uint32_t> bits, groups;
};
constexpr std::uint32_t kAffineBits[] = {2, 3, 4, 5, 6, 8}, kAffineGroups[] = {32, 64, 128};
constexpr std::uint32_t k4[] = {4}, k8[] = {8}, k16[] = {16}, k32[] = {32}, k64[] = {64};
constexpr std::uint32_t kTurboBits[] = {2, 3, 4, 5};
constexpr MlxMode kMlxModes[] = {
    {Scheme::mlx_affine, kAffineBits, kAffineGroups},
    {Scheme::mlx_mxfp4, k4, k32},
    {Scheme::mlx_mxfp8, k8, k32},
    {Scheme::mlx_nvfp4, k4, k16},
    {Scheme::turboquant, kTurboBits, k64},
};

bool contains(std::span<const std::uint32_t> values, std::uint32_t value) {
  for (const auto v : values)
    if (v == value) return true;
  return false;
}

std::string list(std::span<const std::uint32_t> values) {
  std::string text;
  for (const auto v : values) text += (text.empty() ? "" : ", ") + std::to_string(v);
  return text;
}

/// All axes but the last as one, and the last. Two or three axes: rows, or stacked experts' rows.
struct Extents {
  std::uint64_t rows, last;
};
Result<Extents> flatten(const Tensor& tensor) {
  const std::size_t axes = tensor.shape.size();
  if (axes != 2 && axes != 3)
    return fail(
        ErrorCode::mismatch,
        "expected 2 axes, or 3 for stacked experts; the shape is " + to_string(tensor.shape),
        tensor.name);
  const auto rows = checked_product(std::span(tensor.shape).first(axes - 1));
  if (!rows || !checked_product(tensor.shape))
    return fail(ErrorCode::corrupt, "the shape " + to_string(tensor.shape) + " overflows",
                tensor.name);
  return Extents{*rows, tensor.shape.back()};
}

/// The bytes of a row, when `tensor.data` holds exactly that many for every row.
Result<std::size_t> row_bytes(const Tensor& tensor, const Extents& extents) {
  const auto bytes = checked_row_bytes(tensor.type, extents.last);
  if (!bytes)
    return fail(ErrorCode::mismatch,
                "rows of " + std::to_string(extents.last) + " values are no whole number of " +
                    std::string(tern::name(tensor.type)) + " blocks of " +
                    std::to_string(block_layout(tensor.type).elements),
                tensor.name);
  const auto total = checked_mul(*bytes, extents.rows);
  if (!total || *total != tensor.data.size())
    return fail(ErrorCode::mismatch,
                "shape " + to_string(tensor.shape) + " of " + std::string(tern::name(tensor.type)) +
                    " needs " + (total ? std::to_string(*total) : "more than 2^64") +
                    " bytes, the tensor holds " + std::to_string(tensor.data.size()),
                tensor.name);
  return static_cast<std::size_t>(*bytes);
}

/// Every allowed (bits, group) under which weight and scales have the same number of columns.
std::string implied_by(std::uint64_t words, std::uint64_t groups) {
  std::string text;
  for (const auto& mode : kMlxModes)
    for (const auto bits : mode.bits)
      for (const auto group : mode.groups) {
        const auto weight_bits = checked_mul(words, 32), cols = checked_mul(groups, group);
        const auto code_bits = cols ? checked_mul(*cols, bits) : std::nullopt;
        if (!weight_bits || weight_bits != code_bits || words == 0) continue;
        text += (text.empty() ? "the shapes fit " : " or ") + std::string(name(mode.scheme)) +
                " of " + std::to_string(bits) + " bits, group " + std::to_string(group);
      }
  return text.empty() ? "the shapes fit no format of MLX" : text;
}

Result<void> check_format(const MlxFormat& format, const std::string& where) {
  for (const auto& mode : kMlxModes) {
    if (mode.scheme != format.scheme) continue;
    if (!contains(mode.bits, format.bits))
      return fail(ErrorCode::unsupported,
                  std::string(name(format.scheme)) + " has " + list(mode.bits) +
                      " bits, the configuration says " + std::to_string(format.bits),
                  where);
    if (!contains(mode.groups, format.group))
      return fail(ErrorCode::unsupported,
                  std::string(name(format.scheme)) + " has groups of " + list(mode.groups) +
                      ", the configuration says " + std::to_string(format.group),
                  where);
    return {};
  }
  return fail(ErrorCode::unsupported,
              std::string(name(format.scheme)) + " is no quantization mode of MLX", where);
}

Result<void> check_types(const MlxPlanes& planes, const MlxFormat& format) {
  const Tensor &weight = *planes.weight, &scales = *planes.scales;
  if (weight.type != DType::u32)
    return fail(ErrorCode::mismatch,
                "quantized weights are u32, the tensor is " + std::string(tern::name(weight.type)),
                weight.name, "the module is not quantized, or not by MLX");
  const bool affine = format.scheme == Scheme::mlx_affine;
  const bool turboquant = format.scheme == Scheme::turboquant;
  const bool fits =
      affine ? scales.type == DType::f32 || scales.type == DType::f16 || scales.type == DType::bf16
      : turboquant ? scales.type == DType::f16
                   : scales.type == DType::u8;
  if (!fits)
    return fail(ErrorCode::mismatch,
                "scales of " + std::string(name(format.scheme)) + " are " +
                    (affine       ? "f32, f16 or bf16"
                     : turboquant ? "f16"
                                  : "u8") +
                    ", the tensor is " + std::string(tern::name(scales.type)),
                scales.name, "the quantization mode in config.json is another one");
  if (affine && planes.biases == nullptr)
    return fail(ErrorCode::mismatch, "mlx affine has biases, the file holds none", weight.name);
  if (!affine && planes.biases != nullptr)
    return fail(ErrorCode::mismatch,
                std::string(name(format.scheme)) + " has no biases, the file holds some",
                planes.biases->name, "the quantization mode in config.json is another one");
  if (affine && (planes.biases->type != scales.type || planes.biases->shape != scales.shape))
    return fail(ErrorCode::mismatch,
                "expected biases as the scales, " + std::string(tern::name(scales.type)) + " " +
                    to_string(scales.shape) + "; found " +
                    std::string(tern::name(planes.biases->type)) + " " +
                    to_string(planes.biases->shape),
                planes.biases->name);
  return {};
}

/// Columns that weight and scales agree on.
Result<std::uint64_t> check_shapes(const MlxPlanes& planes, const MlxFormat& format,
                                   const Extents& weight, const Extents& scales) {
  const auto& weight_shape = planes.weight->shape;
  const auto& scales_shape = planes.scales->shape;
  const std::span lead(weight_shape.data(), weight_shape.size() - 1);
  const std::span scales_lead(scales_shape.data(), scales_shape.size() - 1);
  if (!std::equal(lead.begin(), lead.end(), scales_lead.begin(), scales_lead.end()))
    return fail(ErrorCode::mismatch,
                "weight " + to_string(weight_shape) + " and scales " + to_string(scales_shape) +
                    " have different rows",
                planes.scales->name);
  const auto weight_bits = checked_mul(weight.last, 32);
  const auto cols = checked_mul(scales.last, format.group);
  const auto code_bits = cols ? checked_mul(*cols, format.bits) : std::nullopt;
  if (!weight_bits || weight_bits != code_bits)
    return fail(ErrorCode::mismatch,
                "weight " + to_string(weight_shape) + " and scales " + to_string(scales_shape) +
                    " do not fit " + std::to_string(format.bits) + " bits, group " +
                    std::to_string(format.group),
                planes.weight->name, implied_by(weight.last, scales.last));
  return *cols;
}

}  // namespace

std::string_view name(Scheme scheme) {
  return kSchemes[static_cast<std::size_t>(scheme)].name;
}

Matrix Matrix::slice(std::size_t first, std::size_t count) const {
  TERN_CHECK(first <= rows && count <= rows - first);
  Matrix part = *this;
  part.rows = count;
  part.codes += first * code_stride;
  if (scales != nullptr) part.scales += first * scale_stride;
  if (biases != nullptr) part.biases += first * scale_stride;
  return part;
}

namespace {

/// Bytes that `cols` columns of one row take in the codes, and in the scales.
std::size_t code_bytes(const Matrix& matrix, std::size_t cols) {
  if (const auto type = kSchemes[static_cast<std::size_t>(matrix.scheme)].type) {
    const auto [elements, bytes] = block_layout(*type);
    return cols / elements * bytes;
  }
  return cols * matrix.bits / 8;
}
std::size_t scale_bytes(const Matrix& matrix, std::size_t cols) {
  return matrix.scales == nullptr ? 0 : cols / matrix.group * block_layout(matrix.scale_type).bytes;
}

}  // namespace

Matrix Matrix::columns(std::size_t first, std::size_t count) const {
  TERN_CHECK(first <= cols && count <= cols - first && first % 256 == 0);
  TERN_CHECK(count % 256 == 0 || first + count == cols);
  Matrix part = *this;
  part.cols = count;
  part.codes += code_bytes(*this, first);
  if (scales != nullptr) part.scales += scale_bytes(*this, first);
  if (biases != nullptr) part.biases += scale_bytes(*this, first);
  return part;
}

std::uint64_t Matrix::bytes() const {
  const std::size_t planes_of_scales = biases == nullptr ? 1 : 2;
  return std::uint64_t{rows} *
         (code_bytes(*this, cols) + planes_of_scales * scale_bytes(*this, cols));
}

Result<Matrix> matrix_of(const Tensor& tensor) {
  for (const auto& row : kSchemes) {
    if (row.type != tensor.type) continue;
    TERN_TRY(const Extents extents, flatten(tensor));
    TERN_TRY(const std::size_t stride, row_bytes(tensor, extents));
    return Matrix{.scheme = row.scheme,
                  .rows = static_cast<std::size_t>(extents.rows),
                  .cols = static_cast<std::size_t>(extents.last),
                  .codes = tensor.data.data(),
                  .code_stride = stride};
  }
  return fail(ErrorCode::unsupported,
              "a matrix of " + std::string(tern::name(tensor.type)) + " holds no weights",
              tensor.name,
              tensor.type == DType::u32 ? "quantized by MLX, but without scales beside it" : "");
}

Result<Matrix> matrix_of(const MlxPlanes& planes, const MlxFormat& format) {
  TERN_CHECK(planes.weight != nullptr && planes.scales != nullptr);
  TERN_CHECK((format.scheme == Scheme::turboquant) == (format.signs != nullptr));
  const Tensor &weight = *planes.weight, &scales = *planes.scales;
  TERN_TRY_VOID(check_format(format, weight.name));
  TERN_TRY_VOID(check_types(planes, format));
  TERN_TRY(const Extents weight_extents, flatten(weight));
  TERN_TRY(const Extents scales_extents, flatten(scales));
  TERN_TRY(const std::uint64_t cols, check_shapes(planes, format, weight_extents, scales_extents));
  TERN_TRY(const std::size_t code_stride, row_bytes(weight, weight_extents));
  TERN_TRY(const std::size_t scale_stride, row_bytes(scales, scales_extents));
  if (planes.biases != nullptr) TERN_TRY_VOID(row_bytes(*planes.biases, scales_extents));
  return Matrix{.scheme = format.scheme,
                .rows = static_cast<std::size_t>(weight_extents.rows),
                .cols = static_cast<std::size_t>(cols),
                .codes = weight.data.data(),
                .code_stride = code_stride,
                .bits = format.bits,
                .group = format.group,
                .scales = scales.data.data(),
                .biases = planes.biases == nullptr ? nullptr : planes.biases->data.data(),
                .scale_stride = scale_stride,
                .scale_type = scales.type,
                .signs = format.signs};
}

}  // namespace tern::quant
