#include "convert/gguf_format.h"

#include <gtest/gtest.h>

#include <vector>

#include "quant/sample_matrix.h"

namespace tern::convert {
namespace {

RowFormatPtr format(DType type) {
  auto made = gguf_format(type, quant::GgufFit::searched);
  EXPECT_TRUE(made) << made.error().message();
  return *made;
}

std::vector<float> decoded(DType type, std::span<const std::byte> bytes, std::size_t cols) {
  const Tensor tensor{"w", type, {1, cols}, bytes};
  const auto matrix = quant::matrix_of(tensor);
  std::vector<float> row(cols);
  quant::row_decoder(*matrix, Isa::scalar)(*matrix, 0, row);
  return row;
}

TEST(GgufFormat, TakesTheCodesOfMlxMxfp4AsTheyAre) {
  quant::SampleMaker maker(3, /*tame=*/true);
  const auto sample =
      maker.make({.scheme = quant::Scheme::mlx_mxfp4, .bits = 4, .group = 32}, 4, 128);
  const RowFormatPtr mxfp4 = format(DType::mxfp4);
  ASSERT_TRUE(mxfp4->takes(sample.matrix));
  EXPECT_TRUE(mxfp4->lossless(sample.matrix));
  EXPECT_FALSE(format(DType::q4_0)->takes(sample.matrix));
  for (std::size_t row = 0; row < 4; ++row) {
    std::vector<std::byte> bytes(*checked_row_bytes(DType::mxfp4, 128));
    mxfp4->take(sample.matrix, row, {.codes = bytes, .scales = {}, .biases = {}});
    std::vector<float> expected(128);
    quant::row_decoder(sample.matrix, Isa::scalar)(sample.matrix, row, expected);
    EXPECT_EQ(decoded(DType::mxfp4, bytes, 128), expected);
  }
}

TEST(GgufFormat, CopiesBlocksOfItsOwnType) {
  quant::SampleMaker maker(4, /*tame=*/true);
  const auto sample = maker.make({.scheme = quant::Scheme::q4_k}, 2, 512);
  const RowFormatPtr q4_k = format(DType::q4_k);
  ASSERT_TRUE(q4_k->takes(sample.matrix));
  std::vector<std::byte> bytes(288);
  q4_k->take(sample.matrix, 1, {.codes = bytes, .scales = {}, .biases = {}});
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), sample.codes.begin() + 288));
  EXPECT_FALSE(format(DType::q5_k)->lossless(sample.matrix));
}

TEST(GgufFormat, SaysWhereNoReferenceFormExists) {
  EXPECT_TRUE(gguf_format(DType::q5_1, quant::GgufFit::reference));
  const auto none = gguf_format(DType::q4_k, quant::GgufFit::reference);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::unsupported);
  EXPECT_EQ(format(DType::q4_k)->unit(), 256u);
  EXPECT_EQ(format(DType::bf16)->unit(), 1u);
}

}  // namespace
}  // namespace tern::convert
