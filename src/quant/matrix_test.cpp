#include "quant/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "quant/sample_matrix.h"

namespace tern::quant {
namespace {

using testing::HasSubstr;

/// A tensor of zeros that owns its bytes.
struct Stored {
  std::vector<std::byte> bytes;
  Tensor tensor;

  Stored(std::string name, DType type, Shape shape) {
    std::uint64_t rows = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    const std::uint64_t last = shape.empty() ? 1 : shape.back();
    bytes.resize(rows * checked_row_bytes(type, last).value_or(0));
    tensor = {std::move(name), type, std::move(shape), bytes};
  }
  Stored(const Stored&) = delete;
  Stored& operator=(const Stored&) = delete;
};

/// The planes of one MLX module; each may be changed before `matrix` is asked for.
struct Module {
  Stored weight, scales, biases;
  MlxFormat format;

  Module(std::uint32_t bits, std::uint32_t group, std::uint64_t rows, std::uint64_t cols)
      : weight("m.weight", DType::u32, {rows, cols * bits / 32}),
        scales("m.scales", DType::bf16, {rows, cols / group}),
        biases("m.biases", DType::bf16, {rows, cols / group}),
        format{Scheme::mlx_affine, bits, group} {}
  Result<Matrix> matrix() const {
    return matrix_of({&weight.tensor, &scales.tensor, &biases.tensor}, format);
  }
};

void expect_error(const Result<Matrix>& result, ErrorCode code,
                  std::initializer_list<const char*> parts) {
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, code) << result.error().message();
  for (const char* part : parts) EXPECT_THAT(result.error().message(), HasSubstr(part));
}

TEST(Matrix, ATensorOfTwoAxesIsAMatrix) {
  const Stored stored("w", DType::q4_k, {3, 512});
  const auto matrix = matrix_of(stored.tensor);
  ASSERT_TRUE(matrix) << matrix.error().message();
  EXPECT_EQ(matrix->scheme, Scheme::q4_k);
  EXPECT_EQ(matrix->rows, 3);
  EXPECT_EQ(matrix->cols, 512);
  EXPECT_EQ(matrix->code_stride, 2 * 144);
  EXPECT_EQ(matrix->bytes(), 3 * 2 * 144);
}

TEST(Matrix, StackedExpertsAreOneMatrixThatCanBeCutApart) {
  const Stored stored("experts", DType::bf16, {4, 5, 6});
  const auto matrix = matrix_of(stored.tensor);
  ASSERT_TRUE(matrix) << matrix.error().message();
  EXPECT_EQ(matrix->rows, 20);
  const Matrix expert = matrix->slice(2 * 5, 5);
  EXPECT_EQ(expert.rows, 5);
  EXPECT_EQ(expert.codes, stored.bytes.data() + 2 * 5 * 6 * 2);
  EXPECT_EQ(expert.bytes(), 5 * 6 * 2);
}

TEST(Matrix, EveryTypeOfWeightsMakesTheSchemeOfItsName) {
  for (const Format& format : all_formats()) {
    if (format.is_mlx()) continue;
    const Stored stored("w", format.block_type(), {2, 256});
    const auto matrix = matrix_of(stored.tensor);
    ASSERT_TRUE(matrix) << matrix.error().message();
    EXPECT_EQ(matrix->scheme, format.scheme);
    EXPECT_EQ(name(matrix->scheme), tern::name(format.block_type()));
  }
}

TEST(Matrix, TypesThatHoldNoWeightsAreUnsupported) {
  for (const DType type : {DType::i32, DType::u8, DType::boolean, DType::f64, DType::f8_e4m3}) {
    const Stored stored("ids", type, {2, 32});
    expect_error(matrix_of(stored.tensor), ErrorCode::unsupported,
                 {"ids", std::string(tern::name(type)).c_str()});
  }
  const Stored codes("m.weight", DType::u32, {2, 32});
  expect_error(matrix_of(codes.tensor), ErrorCode::unsupported, {"m.weight", "without scales"});
}

TEST(Matrix, OneAxisOrFourAreNoMatrix) {
  for (const Shape& shape : {Shape{}, Shape{64}, Shape{1, 2, 3, 4}}) {
    const Stored stored("norm", DType::f32, shape);
    expect_error(matrix_of(stored.tensor), ErrorCode::mismatch,
                 {"norm", "2 axes", to_string(shape).c_str()});
  }
}

TEST(Matrix, RowsMustBeWholeBlocks) {
  const Stored stored("w", DType::q4_k, {2, 288});
  expect_error(matrix_of(stored.tensor), ErrorCode::mismatch, {"w", "288", "q4_k", "256"});
}

TEST(Matrix, BytesMustFillTheShape) {
  Stored stored("w", DType::f16, {3, 10});
  stored.tensor.data = stored.tensor.data.first(59);
  expect_error(matrix_of(stored.tensor), ErrorCode::mismatch, {"w", "[3, 10]", "60", "59"});
}

TEST(Matrix, AShapeThatOverflowsIsCorrupt) {
  Stored stored("w", DType::f16, {2, 2});
  stored.tensor.shape = {std::uint64_t{1} << 40, std::uint64_t{1} << 40};
  expect_error(matrix_of(stored.tensor), ErrorCode::corrupt, {"w", "overflows"});
  stored.tensor.shape = {std::uint64_t{1} << 32, std::uint64_t{1} << 31};
  expect_error(matrix_of(stored.tensor), ErrorCode::mismatch, {"w", "2^64"});
}

TEST(MlxMatrix, EveryAllowedFormatIsAccepted) {
  for (const Format& format : all_formats()) {
    if (!format.is_mlx()) continue;
    const Stored weight("m.weight", DType::u32, {3, 256 * format.bits / 32});
    const Stored scales("m.scales", format.scale_type, {3, 256 / format.group});
    const bool affine = format.scheme == Scheme::mlx_affine;
    const auto matrix =
        matrix_of({&weight.tensor, &scales.tensor, affine ? &scales.tensor : nullptr},
                  {format.scheme, format.bits, format.group,
                   format.scheme == Scheme::turboquant ? rht64_signs(0) : nullptr});
    ASSERT_TRUE(matrix) << matrix.error().message();
    EXPECT_EQ(matrix->cols, 256) << format.label();
    EXPECT_EQ(matrix->bytes(), weight.bytes.size() + (affine ? 2 : 1) * scales.bytes.size());
  }
}

TEST(MlxMatrix, StackedExpertsAreSlicedInEveryPlane) {
  const Stored weight("m.weight", DType::u32, {4, 6, 8});  // 8 words of 8 codes
  const Stored scales("m.scales", DType::f16, {4, 6, 2});
  const Stored biases("m.biases", DType::f16, {4, 6, 2});
  const auto matrix =
      matrix_of({&weight.tensor, &scales.tensor, &biases.tensor}, {Scheme::mlx_affine, 4, 32});
  ASSERT_TRUE(matrix) << matrix.error().message();
  EXPECT_EQ(matrix->rows, 24);
  EXPECT_EQ(matrix->cols, 64);
  const Matrix expert = matrix->slice(18, 6);
  EXPECT_EQ(expert.codes, weight.bytes.data() + 18 * 32);
  EXPECT_EQ(expert.scales, scales.bytes.data() + 18 * 4);
  EXPECT_EQ(expert.biases, biases.bytes.data() + 18 * 4);
}

TEST(MlxMatrix, AWrongNumberOfBitsIsNamedWithTheRightOne) {
  Module module(8, 64, 4, 256);
  module.format.bits = 4;
  expect_error(module.matrix(), ErrorCode::mismatch,
               {"m.weight", "[4, 64]", "[4, 4]", "4 bits, group 64", "of 8 bits, group 64"});
}

TEST(MlxMatrix, AWrongGroupIsNamedWithTheRightOne) {
  Module module(4, 32, 4, 256);
  module.format.group = 128;
  expect_error(module.matrix(), ErrorCode::mismatch,
               {"[4, 32]", "[4, 8]", "group 128", "of 4 bits, group 32"});
}

TEST(MlxMatrix, FormatsThatMlxDoesNotHaveAreUnsupported) {
  Module module(4, 64, 4, 256);
  module.format.bits = 7;
  expect_error(module.matrix(), ErrorCode::unsupported, {"m.weight", "2, 3, 4, 5, 6, 8", "7"});
  module.format = {Scheme::mlx_affine, 4, 48};
  expect_error(module.matrix(), ErrorCode::unsupported, {"32, 64, 128", "48"});
  module.format = {Scheme::mlx_nvfp4, 4, 32};
  expect_error(module.matrix(), ErrorCode::unsupported, {"mlx nvfp4", "16", "32"});
  module.format = {Scheme::q4_0, 4, 32};
  expect_error(module.matrix(), ErrorCode::unsupported, {"q4_0", "no quantization mode"});
}

TEST(MlxMatrix, PlanesMustHaveTheTypesOfTheMode) {
  Module module(4, 32, 4, 256);
  module.weight.tensor.type = DType::bf16;
  expect_error(module.matrix(), ErrorCode::mismatch, {"m.weight", "u32", "bf16"});
  module.weight.tensor.type = DType::u32;
  module.scales.tensor.type = DType::u8;
  expect_error(module.matrix(), ErrorCode::mismatch, {"m.scales", "f32, f16 or bf16", "u8"});
  module.scales.tensor.type = DType::bf16;
  module.biases.tensor.type = DType::f16;
  expect_error(module.matrix(), ErrorCode::mismatch, {"m.biases", "bf16", "f16"});
  module.format.scheme = Scheme::mlx_mxfp4;
  expect_error(module.matrix(), ErrorCode::mismatch, {"m.scales", "u8", "bf16"});
}

TEST(MlxMatrix, AffineNeedsBiasesAndTheOthersHaveNone) {
  const Module module(4, 32, 4, 256);
  expect_error(matrix_of({&module.weight.tensor, &module.scales.tensor}, module.format),
               ErrorCode::mismatch, {"m.weight", "biases", "none"});
  const Stored scales("m.scales", DType::u8, {4, 8});
  expect_error(matrix_of({&module.weight.tensor, &scales.tensor, &module.biases.tensor},
                         {Scheme::mlx_mxfp4, 4, 32}),
               ErrorCode::mismatch, {"m.biases", "mlx mxfp4 has no biases"});
}

TEST(MlxMatrix, RowsMustAgree) {
  const Module module(4, 32, 4, 256);
  const Stored scales("m.scales", DType::bf16, {5, 8});
  expect_error(matrix_of({&module.weight.tensor, &scales.tensor, &scales.tensor}, module.format),
               ErrorCode::mismatch, {"m.scales", "[4, 32]", "[5, 8]", "rows"});
}

TEST(MlxMatrix, PlanesThatAreTooShortAreRefused) {
  for (const int plane : {0, 1, 2}) {
    Module module(4, 32, 4, 256);
    Tensor* const tensors[] = {&module.weight.tensor, &module.scales.tensor, &module.biases.tensor};
    tensors[plane]->data = tensors[plane]->data.first(tensors[plane]->data.size() - 1);
    expect_error(module.matrix(), ErrorCode::mismatch, {tensors[plane]->name.c_str(), "bytes"});
  }
}

TEST(TurboMatrix, HasItsOwnBitsGroupsAndScales) {
  Module module(4, 64, 4, 256);
  module.format = {Scheme::turboquant, 4, 64, rht64_signs(1)};
  const auto planes = [&] { return MlxPlanes{&module.weight.tensor, &module.scales.tensor}; };
  expect_error(matrix_of(planes(), module.format), ErrorCode::mismatch,
               {"m.scales", "turboquant", "f16", "bf16"});
  module.scales.tensor.type = DType::f16;
  const auto matrix = matrix_of(planes(), module.format);
  ASSERT_TRUE(matrix) << matrix.error().message();
  EXPECT_TRUE(matrix->rotated());
  EXPECT_EQ(matrix->cols, 256);
  expect_error(module.matrix(), ErrorCode::mismatch, {"m.biases", "turboquant has no biases"});
  module.format.bits = 6;
  expect_error(matrix_of(planes(), module.format), ErrorCode::unsupported, {"2, 3, 4, 5", "6"});
  module.format.bits = 4;
  module.format.group = 32;
  expect_error(matrix_of(planes(), module.format), ErrorCode::unsupported, {"64", "32"});
  module.format.group = 64;
  module.format.bits = 3;
  expect_error(matrix_of(planes(), module.format), ErrorCode::mismatch,
               {"3 bits, group 64", "turboquant of 4 bits, group 64"});
}

RC_GTEST_PROP(TurboMatrix, AnyShapesGiveAMatrixThatFitsItsPlanesOrAnError, ()) {
  const auto extent =
      rc::gen::oneOf(rc::gen::inRange<std::uint64_t>(0, 40), rc::gen::arbitrary<std::uint64_t>());
  Module module(3, 64, 2, 128);
  module.scales.tensor.type = DType::f16;
  module.weight.tensor.shape = *rc::gen::container<Shape>(extent);
  module.scales.tensor.shape = *rc::gen::container<Shape>(extent);
  const std::uint32_t bits = *rc::gen::inRange<std::uint32_t>(0, 9);
  const auto matrix = matrix_of({&module.weight.tensor, &module.scales.tensor},
                                {Scheme::turboquant, bits, 64, rht64_signs(1)});
  if (!matrix) return;
  RC_ASSERT(matrix->rows * matrix->code_stride == module.weight.bytes.size());
  RC_ASSERT(matrix->rows * matrix->scale_stride == module.scales.bytes.size());
}

RC_GTEST_PROP(MlxMatrix, AnyShapesGiveAMatrixThatFitsItsPlanesOrAnError, ()) {
  const auto extent =
      rc::gen::oneOf(rc::gen::inRange<std::uint64_t>(0, 40), rc::gen::arbitrary<std::uint64_t>());
  Module module(4, 32, 2, 64);
  module.weight.tensor.shape = *rc::gen::container<Shape>(extent);
  module.scales.tensor.shape = *rc::gen::container<Shape>(extent);
  if (*rc::gen::arbitrary<bool>() && !module.weight.tensor.shape.empty()) {
    module.scales.tensor.shape = module.weight.tensor.shape;
    module.scales.tensor.shape.back() = *extent;
  }
  module.biases.tensor.shape = module.scales.tensor.shape;
  const auto matrix = module.matrix();
  if (!matrix) return;
  RC_ASSERT(matrix->rows * matrix->code_stride == module.weight.bytes.size());
  RC_ASSERT(matrix->rows * matrix->scale_stride == module.scales.bytes.size());
}

}  // namespace
}  // namespace tern::quant
