#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "formats/file_builder.h"
#include "formats/refusal.h"

namespace tern::formats {
namespace {

Result<Safetensors> read(std::string_view file) {
  return read_safetensors(as_bytes(file), "model.safetensors");
}

TEST(Safetensors, ReadsNamesShapesTypesAndBytes) {
  const auto file = safetensors_file(
      R"({"__metadata__":{"format":"mlx"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("a":{"dtype":"U32","shape":[],"data_offsets":[0,4]}}   )",
      16);
  const auto read_back = read(file);
  ASSERT_TRUE(read_back) << read_back.error().message();
  EXPECT_EQ(read_back->metadata.at("format"), "mlx");
  const auto& tensors = read_back->tensors.tensors();
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a") << "tensors come in the order of the data";
  EXPECT_EQ(tensors[0].type, DType::u32);
  EXPECT_EQ(tensors[0].shape, Shape{});
  EXPECT_EQ(as_text(tensors[0].data), "abcd");
  EXPECT_EQ(tensors[1].shape, (Shape{2, 3}));
  EXPECT_EQ(as_text(tensors[1].data), "efghijklmnop");
  EXPECT_EQ(read_back->tensors.find("b"), &tensors[1]);
  EXPECT_EQ(read_back->tensors.find("c"), nullptr);
}

TEST(Safetensors, KnowsEveryTypeOfTheFormatThatTheEngineHas) {
  const std::pair<const char*, DType> types[] = {
      {"BOOL", DType::boolean},    {"U8", DType::u8},           {"I8", DType::i8},
      {"U16", DType::u16},         {"I16", DType::i16},         {"U32", DType::u32},
      {"I32", DType::i32},         {"U64", DType::u64},         {"I64", DType::i64},
      {"F16", DType::f16},         {"BF16", DType::bf16},       {"F32", DType::f32},
      {"F64", DType::f64},         {"F8_E4M3", DType::f8_e4m3}, {"F8_E5M2", DType::f8_e5m2},
      {"F8_E8M0", DType::f8_e8m0},
  };
  for (const auto& [spelled, type] : types) {
    const std::size_t bytes = 3 * block_layout(type).bytes;
    const auto file =
        safetensors_file(R"({"t":{"dtype":")" + std::string(spelled) +
                             R"(","shape":[3],"data_offsets":[0,)" + std::to_string(bytes) + "]}}",
                         bytes);
    const auto table = read(file);
    ASSERT_TRUE(table) << table.error().message();
    EXPECT_EQ(table->tensors.tensors()[0].type, type) << spelled;
  }
}

TEST(Safetensors, AcceptsEmptyTensorsAnywhereAndAFileWithoutTensors) {
  const auto entry = [](std::string name, std::string shape, std::string offsets) {
    return "\"" + name + R"(":{"dtype":"U8","shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}";
  };
  EXPECT_TRUE(read(
      safetensors_file("{" + entry("x", "[0,9]", "[0,0]") + "," + entry("a", "[4]", "[0,4]") + "," +
                           entry("y", "[0]", "[4,4]") + "," + entry("b", "[2]", "[4,6]") + "," +
                           entry("z", "[3,0,1]", "[6,6]") + "}",
                       6)));
  EXPECT_TRUE(read(safetensors_file("{}", 0)));
  EXPECT_TRUE(read(safetensors_file(R"({"__metadata__":{}})", 0)));
}

std::string many_tensors(std::size_t count) {
  std::string header = "{";
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) header += ',';
    header += "\"backbone.layers.3.mixer.experts.up_proj.weight." + std::to_string(i) +
              R"(":{"dtype":"BF16","shape":[1,1],"data_offsets":[)" + std::to_string(2 * i) + "," +
              std::to_string(2 * i + 2) + "]}";
  }
  return safetensors_file(header + "}", 2 * count);
}

TEST(Safetensors, LoadsAHeaderAtTheLimitOfTensorsInNearlyLinearTime) {
  const auto seconds = [](std::size_t count) {
    const auto file = many_tensors(count);
    double best = 1e9;
    for (int run = 0; run < 3; ++run) {
      const double start = cpu_seconds();
      const auto table = read(file);
      if (table) best = std::min(best, cpu_seconds() - start);
      EXPECT_EQ(table ? table->tensors.size() : 0, count);
    }
    return best;
  };
  const double small = seconds(TensorTable::kMaxTensors / 8);
  const double large = seconds(TensorTable::kMaxTensors);
  EXPECT_LT(std::log2(large / small) / 3, 1.6) << small << " s, " << large << " s";
}

TEST(Safetensors, RefusesOneTensorMoreThanTheLimit) {
  const auto file = many_tensors(TensorTable::kMaxTensors + 1);
  const auto table = read(file);
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().code, ErrorCode::too_large);
}

TEST(Safetensors, DoesNotLetTheHeaderChooseHowMuchMemoryIsUsed) {
  std::string zeros = R"({"a":{"dtype":"U8","shape":[0)";
  for (int i = 0; i < 4'000'000; ++i) zeros += ",0";
  EXPECT_TRUE(refuses([&] { return read(safetensors_file(zeros + "]}}", 0)); },
                      ErrorCode::too_large, "values"));
}

}  // namespace
}  // namespace tern::formats
