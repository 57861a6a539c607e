// The products of AMX with a matrix unit in software, so that all but the instructions themselves
// are tested on every machine; where there is AMX, the instructions too.
#include "kernels/fixed_amx.h"

#include <gtest/gtest.h>

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>

#include "base/cpu.h"
#include "kernels/fixed_words_avx2.h"
#include "quant/sample_matrix.h"

namespace tern::kernels {
namespace fixed_avx2 {
namespace {

#define TERN_FIXED TERN_FIXED_AVX2

/// What TDPBSSD, TDPBSUD, TDPBUSD and TDPBUUD do with operands of `bytes` columns.
class MatrixUnit {
 public:
  explicit MatrixUnit(std::size_t bytes) : bytes_(bytes) {}

  template <bool is_signed>
  void multiply(const std::uint8_t* codes, const std::byte* x, std::int32_t (*out)[16][16],
                std::size_t) const {
    for (std::size_t row = 0; row < 16; ++row)
      for (std::size_t token = 0; token < 16; ++token) {
        std::int32_t sums[2] = {};
        for (std::size_t c = 0; c < bytes_; ++c) {
          const std::uint8_t byte = codes[32 * row + c];
          const std::int32_t code = is_signed ? static_cast<std::int8_t>(byte) : byte;
          const std::size_t at = 64 * (c / 4) + 4 * token + c % 4;
          sums[0] += code * static_cast<std::int8_t>(x[at]);
          sums[1] += code * static_cast<std::uint8_t>(x[512 + at]);
        }
        for (std::size_t part = 0; part < 2; ++part) out[part][row][token] = sums[part];
      }
  }

 private:
  std::size_t bytes_;
};

#include "kernels/fixed_amx.inc.h"
#undef TERN_FIXED

}  // namespace
}  // namespace fixed_avx2

namespace {

using quant::SampleMaker;

/// Tokens of activations, and their products with rows [begin, end) of a matrix.
struct Products {
  std::vector<FixedTile> tiles;
  std::size_t stride, tokens, begin, end;

  template <class Multiply>
  std::vector<float> of(const Multiply& multiply) const {
    std::vector<float> y(tokens * (end - begin), -1.0f);
    multiply(begin, end, tiles.data(), stride, tokens, y.data(), end - begin);
    return y;
  }
  Products split() const {
    Products made = *this;
    fixed_avx2::split(made.tiles);
    return made;
  }
};

Products products(SampleMaker& maker, const FixedLayout& layout, std::size_t rows, std::size_t cols,
                  std::size_t tokens) {
  Products p{{}, (fixed_units(cols) + 1) / 2 * 2, tokens, std::min<std::size_t>(rows - 1, 2), rows};
  p.tiles.resize((tokens + kTileTokens - 1) / kTileTokens * p.stride);
  const auto x = maker.floats(tokens * cols);
  for (std::size_t t = 0; t < tokens; t += kTileTokens) {
    std::vector<const float*> rows_of_x;
    for (std::size_t i = t; i < std::min(t + kTileTokens, tokens); ++i)
      rows_of_x.push_back(x.data() + i * cols);
    make_tiles(layout, cols, rows_of_x, p.tiles.data() + t / kTileTokens * p.stride);
  }
  return p;
}

void expect_same(const std::vector<float>& a, const std::vector<float>& b,
                 const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << what;
}

std::size_t width(const quant::Format& format) {
  return (1100 / format.unit() + 1) * format.unit();
}

TEST(FixedAmx, GivesTheBitsOfTheOtherFormsWithAMatrixUnitInSoftware) {
  if (!supported(Isa::avx2)) GTEST_SKIP() << "needs AVX2";
  SampleMaker maker(8, /*tame=*/true);
  std::size_t formats = 0;
  for (const quant::Format& format : quant::all_formats())
    for (const std::size_t rows : {16uz, 21uz, 67uz}) {
      const auto sample = maker.make(format, rows, width(format));
      const FixedKernels* const kernels = fixed_avx2::kernels(sample.matrix);
      if (kernels == nullptr || kernels->bytes == nullptr) continue;
      ++formats;
      for (const std::size_t tokens : {1uz, 40uz, 150uz}) {
        if (tokens == 150 && rows != 16) continue;
        const Products p = products(maker, kernels->layout, rows, sample.matrix.cols, tokens);
        const auto expected = p.of([&](auto... a) { kernels->tiles(sample.matrix, a...); });
        const auto actual = p.split().of(
            [&](auto... a) { fixed_avx2::multiply_tiles(*kernels, sample.matrix, a...); });
        expect_same(actual, expected, format.label());
      }
    }
  EXPECT_GT(formats, 45u);
}

TEST(FixedAmx, GivesTheBitsOfTheOtherForms) {
  if (!supported(Isa::amx)) GTEST_SKIP() << "this CPU has no AMX, or the kernel refuses it";
  SampleMaker maker(9, /*tame=*/true);
  for (const quant::Format& format : quant::all_formats()) {
    const auto sample = maker.make(format, 37, width(format));
    const FixedKernels* const kernels = fixed_kernels(sample.matrix, Isa::avx512);
    if (kernels == nullptr || kernels->bytes == nullptr) continue;
    const Products p = products(maker, kernels->layout, 37, sample.matrix.cols, 40);
    expect_same(p.split().of([&](auto... a) { fixed_amx::kTiles.multiply(sample.matrix, a...); }),
                p.of([&](auto... a) { kernels->tiles(sample.matrix, a...); }), format.label());
  }
}

TEST(FixedAmx, TheInstructionSetOfProductsIsTheOneThatIsTaken) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) EXPECT_EQ(products_isa(isa), isa);
  if (!supported(Isa::amx)) GTEST_SKIP() << "this CPU has no AMX, or the kernel refuses it";
  EXPECT_EQ(products_isa(Isa::amx), fixed_amx::chosen() ? Isa::amx : Isa::avx512);
}

}  // namespace
}  // namespace tern::kernels

#endif
