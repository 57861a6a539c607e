// Rows as plain numbers.
#include <cstring>

#include "base/check.h"
#include "convert/row_format.h"
#include "tensor/half.h"

namespace tern::convert {
namespace {

quant::Scheme scheme_of(DType type) {
  return type == DType::f32   ? quant::Scheme::f32
         : type == DType::f16 ? quant::Scheme::f16
                              : quant::Scheme::bf16;
}

class PlainFormat final : public RowFormat {
 public:
  explicit PlainFormat(DType type) : type_(type) {}

  std::string label() const override { return std::string(name(type_)); }
  std::vector<PlaneLayout> planes(std::uint64_t cols) const override {
    return {{".weight", type_, cols}};
  }
  bool lossless(const quant::Matrix& matrix) const override {
    return matrix.scheme == scheme_of(type_) || type_ == DType::f32;
  }
  bool takes(const quant::Matrix& matrix) const override {
    return matrix.scheme == scheme_of(type_);
  }
  void take(const quant::Matrix& matrix, std::size_t row, const RowPlanes& out) const override {
    std::memcpy(out.codes.data(), matrix.codes + row * matrix.code_stride, out.codes.size());
  }
  float largest() const override { return type_ == DType::f16 ? 65504.0f : 3.3895e38f; }

  double encode(std::span<const float> row, std::span<const float>,
                const RowPlanes& out) const override {
    if (type_ == DType::f32) {
      std::memcpy(out.codes.data(), row.data(), out.codes.size());
      return 0;
    }
    double error = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::uint16_t bits =
          type_ == DType::bf16 ? float_to_bf16(row[i]) : float_to_f16(row[i]);
      std::memcpy(out.codes.data() + i * sizeof bits, &bits, sizeof bits);
      const double lost =
          static_cast<double>(row[i]) -
          static_cast<double>(type_ == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits));
      error += lost * lost;
    }
    return error;
  }

 private:
  DType type_;
};

}  // namespace

RowFormatPtr plain_format(DType type) {
  TERN_CHECK(type == DType::f32 || type == DType::f16 || type == DType::bf16);
  return std::make_shared<PlainFormat>(type);
}

}  // namespace tern::convert
