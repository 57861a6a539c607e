// Chooses the decoder of a matrix: the loops of gguf_blocks.h and mlx_modes.h, compiled for each
// instruction set.
#include "base/check.h"
#include "quant/gguf_blocks.h"
#include "quant/matrix.h"
#include "quant/mlx_modes.h"

namespace tern::quant {
namespace {

/// A row of blocks that hold their own scales.
template <class Block>
struct BlockRow {
  TERN_INLINE static void decode(const Matrix& matrix, std::size_t row, std::span<float> out) {
    const std::byte* block = matrix.codes + row * matrix.code_stride;
    float* y = out.data();
    for (std::size_t n = out.size() / Block::kValues; n > 0; --n) {
      Block::decode(block, y);
      block += Block::kBytes;
      y += Block::kValues;
    }
  }
};

/// A row of one of MLX's modes: codes, scales and biases apart.
template <class Mode>
struct MlxRow {
  TERN_INLINE static void decode(const Matrix& matrix, std::size_t row, std::span<float> out) {
    const std::size_t scales_at = row * matrix.scale_stride;
    const std::byte* biases = matrix.biases == nullptr ? nullptr : matrix.biases + scales_at;
    Mode::decode(matrix.codes + row * matrix.code_stride, matrix.scales + scales_at, biases,
                 matrix.group, out);
  }
};

/// The same loops for each instruction set.
template <class Row>
struct Forms {
  static void scalar(const Matrix& matrix, std::size_t row, std::span<float> out) {
    TERN_CHECK(row < matrix.rows && out.size() == matrix.cols);
    Row::decode(matrix, row, out);
  }
#if defined(__x86_64__)
  __attribute__((target("avx2,fma,f16c"), flatten)) static void avx2(const Matrix& matrix,
                                                                     std::size_t row,
                                                                     std::span<float> out) {
    TERN_CHECK(row < matrix.rows && out.size() == matrix.cols);
    Row::decode(matrix, row, out);
  }
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"), flatten)) static void
  avx512(const Matrix& matrix, std::size_t row, std::span<float> out) {
    TERN_CHECK(row < matrix.rows && out.size() == matrix.cols);
    Row::decode(matrix, row, out);
  }
#endif
};

template <class Row>
DecodeRow* form(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx2) return Forms<Row>::avx2;
  if (isa == Isa::avx512 || isa == Isa::amx) return Forms<Row>::avx512;
#endif
  static_cast<void>(isa);  // neon is part of the baseline there: the compiler uses it by itself
  return Forms<Row>::scalar;
}

template <std::size_t bits>
DecodeRow* affine_form(DType scale_type, Isa isa) {
  switch (scale_type) {
    case DType::f32:
      return form<MlxRow<MlxAffine<bits, ScaleF32>>>(isa);
    case DType::f16:
      return form<MlxRow<MlxAffine<bits, ScaleF16>>>(isa);
    default:
      return form<MlxRow<MlxAffine<bits, ScaleBf16>>>(isa);
  }
}

DecodeRow* affine_form(const Matrix& matrix, Isa isa) {
  switch (matrix.bits) {
    case 2:
      return affine_form<2>(matrix.scale_type, isa);
    case 3:
      return affine_form<3>(matrix.scale_type, isa);
    case 4:
      return affine_form<4>(matrix.scale_type, isa);
    case 5:
      return affine_form<5>(matrix.scale_type, isa);
    case 6:
      return affine_form<6>(matrix.scale_type, isa);
    default:
      return affine_form<8>(matrix.scale_type, isa);
  }
}

}  // namespace

DecodeRow* row_decoder(const Matrix& matrix, Isa isa) {
  switch (matrix.scheme) {
    case Scheme::f32:
      return form<BlockRow<F32>>(isa);
    case Scheme::f16:
      return form<BlockRow<F16>>(isa);
    case Scheme::bf16:
      return form<BlockRow<Bf16>>(isa);
    case Scheme::q4_0:
      return form<BlockRow<Q4_0>>(isa);
    case Scheme::q4_1:
      return form<BlockRow<Q4_1>>(isa);
    case Scheme::q5_0:
      return form<BlockRow<Q5_0>>(isa);
    case Scheme::q5_1:
      return form<BlockRow<Q5_1>>(isa);
    case Scheme::q8_0:
      return form<BlockRow<Q8_0>>(isa);
    case Scheme::q2_k:
      return form<BlockRow<Q2K>>(isa);
    case Scheme::q3_k:
      return form<BlockRow<Q3K>>(isa);
    case Scheme::q4_k:
      return form<BlockRow<Q4K>>(isa);
    case Scheme::q5_k:
      return form<BlockRow<Q5K>>(isa);
    case Scheme::q6_k:
      return form<BlockRow<Q6K>>(isa);
    case Scheme::iq4_nl:
      return form<BlockRow<Iq4Nl>>(isa);
    case Scheme::iq4_xs:
      return form<BlockRow<Iq4Xs>>(isa);
    case Scheme::mxfp4:
      return form<BlockRow<Mxfp4>>(isa);
    case Scheme::mlx_affine:
      return affine_form(matrix, isa);
    case Scheme::mlx_mxfp4:
      return form<MlxRow<MlxMxfp4>>(isa);
    case Scheme::mlx_mxfp8:
      return form<MlxRow<MlxMxfp8>>(isa);
    case Scheme::mlx_nvfp4:
      return form<MlxRow<MlxNvfp4>>(isa);
  }
  TERN_CHECK(false && "a scheme outside the enumeration");
  return nullptr;
}

}  // namespace tern::quant
