// The three forms of the products on NEON: without extensions, with dot products, with matrix
// products. A CPU that lacks the last two leaves nothing to compare.
#if defined(__aarch64__)

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/fixed.h"
#include "quant/sample_matrix.h"
#include "tensor/buffer.h"

namespace tern::kernels {
namespace {

using quant::Matrix;
using quant::SampleMaker;

using Find = const FixedKernels*(const Matrix&);

std::vector<float> rows_of(const FixedKernels& form, const Matrix& w, std::span<const float> x,
                           std::size_t tokens) {
  const std::size_t stride = (fixed_units(w.cols) + 1) / 2 * 2;
  Buffer<FixedUnit> units(tokens * stride);
  for (std::size_t t = 0; t < tokens; ++t)
    make_units(form.layout, x.subspan(t * w.cols, w.cols), units.data() + t * stride);
  std::vector<float> y(tokens * w.rows);
  form.rows(w, 0, w.rows, units.data(), stride, tokens, y.data(), w.rows);
  return y;
}

std::vector<float> tiles_of(const FixedKernels& form, const Matrix& w, std::span<const float> x,
                            std::size_t tokens) {
  const std::size_t stride = (fixed_units(w.cols) + 1) / 2 * 2;
  Buffer<FixedTile> tiles((tokens + kTileTokens - 1) / kTileTokens * stride);
  for (std::size_t first = 0; first < tokens; first += kTileTokens) {
    std::vector<const float*> rows;
    for (std::size_t t = first; t < std::min(first + kTileTokens, tokens); ++t)
      rows.push_back(x.data() + t * w.cols);
    make_tiles(form.layout, w.cols, rows, tiles.data() + first / kTileTokens * stride);
  }
  std::vector<float> y(tokens * w.rows);
  form.tiles(w, 0, w.rows, tiles.data(), stride, tokens, y.data(), w.rows);
  return y;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

TEST(FixedNeon, TheFormsWithExtensionsGiveTheBitsOfTheOneWithout) {
  SampleMaker maker(11, /*tame=*/true);
  constexpr std::size_t kRows = 6, kTokens = 19;
  std::size_t compared = 0;
  for (const quant::Format& format : quant::all_formats())
    for (const std::size_t cols : {3 * format.unit(), 768uz}) {
      const auto sample = maker.make(format, kRows, cols);
      const FixedKernels* const plain = fixed_neon::kernels(sample.matrix);
      if (plain == nullptr) continue;
      const auto x = maker.floats(kTokens * cols);
      const auto expected = rows_of(*plain, sample.matrix, x, kTokens);
      EXPECT_TRUE(same_bits(tiles_of(*plain, sample.matrix, x, kTokens), expected))
          << format.label() << ", " << cols << " columns";
      for (Find* const find : {fixed_dotprod::kernels, fixed_i8mm::kernels}) {
        const FixedKernels* const form = find(sample.matrix);
        if (form == nullptr) continue;
        const char* const which = find == fixed_dotprod::kernels ? " dotprod" : " i8mm";
        EXPECT_TRUE(same_bits(rows_of(*form, sample.matrix, x, kTokens), expected))
            << "rows, " << format.label() << which << ", " << cols << " columns";
        EXPECT_TRUE(same_bits(tiles_of(*form, sample.matrix, x, kTokens), expected))
            << "tiles, " << format.label() << which << ", " << cols << " columns";
        ++compared;
      }
    }
  if (compared == 0) GTEST_SKIP() << "this CPU has no dot product extension";
}

/// The largest codes and activations: nothing may wrap around.
TEST(FixedNeon, SumsOfTheLargestCodesAndActivationsAreExact) {
  constexpr std::size_t kRows = 4, kCols = 256;
  for (const quant::Format& format : quant::all_formats()) {
    SampleMaker maker(12, /*tame=*/true);
    if (kCols % format.unit() != 0) continue;
    const auto sample = maker.make(format, kRows, kCols);
    const FixedKernels* const plain = fixed_neon::kernels(sample.matrix);
    if (plain == nullptr) continue;
    for (const float sign : {1.0f, -1.0f}) {
      const std::vector<float> x(17 * kCols, sign);  // q is 32767 or -32767 everywhere
      const auto expected = rows_of(*plain, sample.matrix, x, 17);
      for (Find* const find : {fixed_dotprod::kernels, fixed_i8mm::kernels}) {
        const FixedKernels* const form = find(sample.matrix);
        if (form == nullptr) continue;
        EXPECT_TRUE(same_bits(rows_of(*form, sample.matrix, x, 17), expected)) << format.label();
        EXPECT_TRUE(same_bits(tiles_of(*form, sample.matrix, x, 17), expected)) << format.label();
      }
    }
  }
}

}  // namespace
}  // namespace tern::kernels

#endif
