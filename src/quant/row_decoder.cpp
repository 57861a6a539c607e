#include "quant/fast_decoders.h"
#include "quant/formats.h"
#include "quant/matrix.h"

namespace tern::quant {
namespace {

namespace scalar {  // The meaning, as gguf_blocks.h and mlx_modes.h say it.

/// A row of blocks that hold their own scales.
template <class Format>
struct Row {
  static void decode(const Matrix& matrix, std::size_t row, std::span<float> out) {
    const std::byte* block = matrix.codes + row * matrix.code_stride;
    for (std::size_t c = 0; c < out.size(); c += Format::kValues, block += Format::kBytes)
      Format::decode(block, out.data() + c);
  }
};

/// A row of one of MLX's modes: codes, scales and biases apart.
template <class Format>
  requires(!requires { Format::kValues; })
struct Row<Format> {
  static void decode(const Matrix& matrix, std::size_t row, std::span<float> out) {
    const std::size_t scales_at = row * matrix.scale_stride;
    const std::byte* biases = matrix.biases == nullptr ? nullptr : matrix.biases + scales_at;
    Format::decode(matrix.codes + row * matrix.code_stride, matrix.scales + scales_at, biases,
                   matrix.group, out);
  }
};

template <class Format>
void decode_row(const Matrix& matrix, std::size_t row, std::span<float> out) {
  TERN_CHECK(row < matrix.rows && out.size() == matrix.cols);
  Row<Format>::decode(matrix, row, out);
}

}  // namespace scalar
}  // namespace

DecodeRow* row_decoder(const Matrix& matrix, Isa isa) {
  return visit_format(matrix, [isa]<class Format>(std::type_identity<Format>) -> DecodeRow* {
#if defined(__x86_64__)
    if (isa == Isa::avx2) return avx2::decode_row<Format>;
    if (isa == Isa::avx512 || isa == Isa::amx) return avx512::decode_row<Format>;
#elif defined(__aarch64__)
    if (isa == Isa::neon) return neon::decode_row<Format>;
#endif
    static_cast<void>(isa);
    return scalar::decode_row<Format>;
  });
}

}  // namespace tern::quant
