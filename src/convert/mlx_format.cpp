#include "convert/mlx_format.h"

#include <cstring>

#include "quant/turbo_weights.h"

namespace tern::convert {
namespace {

using quant::Matrix;
using quant::Scheme;

/// Codes in words, and a scale for each group.
std::vector<PlaneLayout> code_planes(std::uint64_t cols, std::uint32_t bits, std::uint32_t group,
                                     DType scale_type) {
  return {{".weight", DType::u32, cols * bits / 32}, {".scales", scale_type, cols / group}};
}

void copy_row(const std::byte* plane, std::size_t row, std::size_t stride,
              std::span<std::byte> out) {
  std::memcpy(out.data(), plane + row * stride, out.size());
}

class MlxRows final : public RowFormat {
 public:
  MlxRows(const quant::MlxFormat& format, quant::Encoder encoder)
      : format_(format), encoder_(encoder) {}

  std::string label() const override {
    std::string text(quant::name(format_.scheme).substr(std::string_view("mlx ").size()));
    if (affine())
      text += " " + std::to_string(format_.bits) + "-bit, group " + std::to_string(format_.group);
    return encoder_ == quant::Encoder::reference ? text + " (reference)" : text;
  }
  std::size_t unit() const override { return format_.group; }

  std::vector<PlaneLayout> planes(std::uint64_t cols) const override {
    const DType scales = affine() ? DType::bf16 : DType::u8;
    auto planes = code_planes(cols, format_.bits, format_.group, scales);
    if (affine()) planes.push_back({".biases", scales, cols / format_.group});
    return planes;
  }

  bool takes(const Matrix& matrix) const override { return same(matrix) || repacks(matrix); }
  bool lossless(const Matrix& matrix) const override { return takes(matrix); }

  void take(const Matrix& matrix, std::size_t row, const RowPlanes& out) const override {
    if (repacks(matrix))
      return quant::mxfp4_to_mlx({matrix.codes + row * matrix.code_stride, matrix.code_stride},
                                 out.codes, out.scales);
    copy_row(matrix.codes, row, matrix.code_stride, out.codes);
    copy_row(matrix.scales, row, matrix.scale_stride, out.scales);
    if (affine()) copy_row(matrix.biases, row, matrix.scale_stride, out.biases);
  }

  double encode(std::span<const float> row, std::span<const float> importance,
                const RowPlanes& out) const override {
    return quant::encode_mlx_row(row, importance, format_, DType::bf16, encoder_, out.codes,
                                 out.scales, out.biases);
  }

 private:
  bool affine() const { return format_.scheme == Scheme::mlx_affine; }
  bool same(const Matrix& matrix) const {
    return matrix.scheme == format_.scheme && matrix.bits == format_.bits &&
           matrix.group == format_.group && (!affine() || matrix.scale_type == DType::bf16);
  }
  bool repacks(const Matrix& matrix) const {
    return matrix.scheme == Scheme::mxfp4 && format_.scheme == Scheme::mlx_mxfp4;
  }

  quant::MlxFormat format_;
  quant::Encoder encoder_;
};

class TurboRows final : public RowFormat {
 public:
  TurboRows(std::uint32_t bits, std::uint64_t seed)
      : bits_(bits), seed_(seed), signs_(quant::rht64_signs(seed)) {}

  std::string label() const override {
    return "turboquant " + std::to_string(bits_) + "-bit, seed " + std::to_string(seed_);
  }
  std::size_t unit() const override { return quant::kTurboGroup; }
  std::vector<PlaneLayout> planes(std::uint64_t cols) const override {
    return code_planes(cols, bits_, quant::kTurboGroup, DType::f16);
  }
  bool takes(const Matrix& matrix) const override {
    return matrix.scheme == Scheme::turboquant && matrix.bits == bits_ && matrix.signs == signs_;
  }
  bool lossless(const Matrix& matrix) const override { return takes(matrix); }
  void take(const Matrix& matrix, std::size_t row, const RowPlanes& out) const override {
    copy_row(matrix.codes, row, matrix.code_stride, out.codes);
    copy_row(matrix.scales, row, matrix.scale_stride, out.scales);
  }
  double encode(std::span<const float> row, std::span<const float>,
                const RowPlanes& out) const override {
    return quant::encode_turbo_row(row, bits_, signs_, out.codes, out.scales);
  }
  float largest() const override { return 8000; }  // so that every scale is a number of f16

 private:
  std::uint32_t bits_;
  std::uint64_t seed_;
  const float* signs_;
};

}  // namespace

RowFormatPtr mlx_format(const quant::MlxFormat& format, quant::Encoder encoder) {
  return std::make_shared<MlxRows>(format, encoder);
}

RowFormatPtr turbo_format(std::uint32_t bits, std::uint64_t rotation_seed) {
  return std::make_shared<TurboRows>(bits, rotation_seed);
}

}  // namespace tern::convert
