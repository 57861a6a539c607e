#include "convert/gguf_format.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace tern::convert {
namespace {

using quant::Scheme;

/// The enumerations have the same order from q4_0 on.
Scheme scheme_of(DType type) {
  const int from_q4_0 = static_cast<int>(type) - static_cast<int>(DType::q4_0);
  return static_cast<Scheme>(static_cast<int>(Scheme::q4_0) + from_q4_0);
}

/// Of MLX's mxfp4, where value i of 32 is nibble i of 16 bytes.
void repack_mxfp4(const quant::Matrix& matrix, std::size_t row, std::span<std::byte> out) {
  const std::byte* codes = matrix.codes + row * matrix.code_stride;
  const std::byte* scales = matrix.scales + row * matrix.scale_stride;
  const auto nibble = [&](std::size_t i) {
    return (codes[i / 2] >> (4 * (i % 2))) & std::byte{15};
  };
  for (std::size_t block = 0; block < matrix.cols / 32;
       ++block, codes += 16, out = out.subspan(17)) {
    out[0] = scales[block];
    for (std::size_t j = 0; j < 16; ++j) out[1 + j] = nibble(j) | (nibble(j + 16) << 4);
  }
}

class BlockFormat final : public RowFormat {
 public:
  BlockFormat(DType type, quant::GgufFit fit) : type_(type), fit_(fit) {}

  std::string label() const override {
    return std::string(name(type_)) + (fit_ == quant::GgufFit::reference ? " (reference)" : "");
  }
  std::size_t unit() const override { return block_layout(type_).elements; }
  std::vector<PlaneLayout> planes(std::uint64_t cols) const override {
    return {{".weight", type_, cols}};
  }
  bool lossless(const quant::Matrix& matrix) const override { return takes(matrix); }

  double encode(std::span<const float> row, std::span<const float> importance,
                const RowPlanes& out) const override {
    return quant::encode_gguf_row(type_, row, importance, fit_, out.codes);
  }

  bool takes(const quant::Matrix& matrix) const override {
    return matrix.scheme == scheme_of(type_) || is_mlx_twin(matrix);
  }
  void take(const quant::Matrix& matrix, std::size_t row, const RowPlanes& out) const override {
    TERN_CHECK(takes(matrix));
    if (is_mlx_twin(matrix)) return repack_mxfp4(matrix, row, out.codes);
    std::memcpy(out.codes.data(), matrix.codes + row * matrix.code_stride, out.codes.size());
  }
  /// Of their f16 scales; MXFP4's reach as far as floats do.
  float largest() const override { return type_ == DType::mxfp4 ? 3.0e38f : 65504.0f; }

 private:
  bool is_mlx_twin(const quant::Matrix& matrix) const {
    return type_ == DType::mxfp4 && matrix.scheme == Scheme::mlx_mxfp4;
  }

  DType type_;
  quant::GgufFit fit_;
};

}  // namespace

Result<RowFormatPtr> gguf_format(DType type, quant::GgufFit fit) {
  if (!is_block_type(type)) return plain_format(type);
  if (!quant::can_encode_gguf(type, fit))
    return fail(ErrorCode::unsupported,
                "there is no " +
                    std::string(fit == quant::GgufFit::reference ? "reference form" : "encoder") +
                    " of " + std::string(name(type)),
                "--reference", "without it the search is used");
  return std::make_shared<BlockFormat>(type, fit);
}

}  // namespace tern::convert
