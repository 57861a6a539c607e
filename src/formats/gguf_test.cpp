#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "formats/file_builder.h"
#include "formats/refusal.h"

namespace tern::formats {
namespace {

using testing::ElementsAre;

Result<Gguf> read(const GgufBuilder& builder) {
  return read_gguf(as_bytes(builder.bytes()), "model.gguf");
}

TEST(Gguf, ReadsTensorsWithTheirAxesOutermostFirst) {
  GgufBuilder file(2, 0);
  file.tensor("w", {3, 2}, 0, 0).tensor("q", {64, 1, 2}, 8, 32).data(32 + 136);
  const auto gguf = read(file);
  ASSERT_TRUE(gguf) << gguf.error().message();
  const Tensor* w = gguf->tensors.find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->shape, (Shape{2, 3}));
  EXPECT_EQ(w->type, DType::f32);
  EXPECT_EQ(w->data.size(), 24u);
  const Tensor* q = gguf->tensors.find("q");
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(q->shape, (Shape{2, 1, 64}));
  EXPECT_EQ(q->type, DType::q8_0);
  EXPECT_EQ(as_text(q->data).substr(0, 3), "ghi") << "offset 32 of the data section";
}

TEST(Gguf, ReadsEveryKindOfMetadata) {
  GgufBuilder file(0, 13);
  file.scalar("u8", 0, std::uint8_t{255}).scalar("i8", 1, std::int8_t{-1});
  file.scalar("u16", 2, std::uint16_t{65535}).scalar("i16", 3, std::int16_t{-2});
  file.scalar("u32", 4, 4294967295u).scalar("i32", 5, std::int32_t{-3});
  file.scalar("f32", 6, 0.5f).scalar("yes", 7, std::uint8_t{1}).text("text", "a\0b");
  file.scalar("u64", 10, ~std::uint64_t{0}).scalar("i64", 11, std::int64_t{-4});
  file.scalar("f64", 12, 0.1).scalar("no", 7, std::uint8_t{0});
  const auto gguf = read(file);
  ASSERT_TRUE(gguf) << gguf.error().message();
  const GgufMetadata& metadata = gguf->metadata;
  EXPECT_EQ(metadata.get_uint("u8"), 255u);
  EXPECT_EQ(metadata.get_uint("u16"), 65535u);
  EXPECT_EQ(metadata.get_uint("u32"), 4294967295u);
  EXPECT_EQ(metadata.get_uint("u64"), ~std::uint64_t{0});
  EXPECT_EQ(metadata.get_number("i8"), -1);
  EXPECT_EQ(metadata.get_number("i16"), -2);
  EXPECT_EQ(metadata.get_number("i32"), -3);
  EXPECT_EQ(metadata.get_number("i64"), -4);
  EXPECT_EQ(metadata.get_number("f32"), 0.5);
  EXPECT_EQ(metadata.get_number("f64"), 0.1);
  EXPECT_EQ(metadata.get_bool("yes"), true);
  EXPECT_EQ(metadata.get_bool("no"), false);
  EXPECT_EQ(metadata.get_string("text"), "a");
  EXPECT_EQ(metadata.entries().size(), 13u);
  EXPECT_EQ(metadata.entries()[0].key, "u8") << "entries stay in file order";
}

TEST(Gguf, ReadsEveryKindOfArray) {
  GgufBuilder file(0, 6);
  file.array("u16", 2, 2).number("element", std::uint16_t{7}).number("element", std::uint16_t{8});
  file.array("i8", 1, 2).number("element", std::int8_t{-7}).number("element", std::int8_t{7});
  file.array("f32", 6, 1).number("element", 1.5f);
  file.array("bool", 7, 3).raw(std::string("\1\0\1", 3));
  file.array("text", 8, 2).string("element", "").string("element", "ab");
  file.array("none", 8, 0);
  const auto gguf = read(file);
  ASSERT_TRUE(gguf) << gguf.error().message();
  const auto array = [&](std::string_view key) {
    return std::get<GgufArray>(*gguf->metadata.find(key));
  };
  EXPECT_THAT(*gguf->metadata.get_uints("u16"), ElementsAre(7, 8));
  EXPECT_THAT(std::get<std::vector<std::int64_t>>(array("i8")), ElementsAre(-7, 7));
  EXPECT_THAT(std::get<std::vector<double>>(array("f32")), ElementsAre(1.5));
  EXPECT_THAT(std::get<std::vector<bool>>(array("bool")), ElementsAre(true, false, true));
  EXPECT_THAT(*gguf->metadata.get_strings("text"), ElementsAre("", "ab"));
  EXPECT_TRUE(gguf->metadata.get_strings("none")->empty());
}

TEST(Gguf, ReadsVersionTwo) {
  EXPECT_TRUE(read(GgufBuilder(1, 0, 2).tensor("w", {8}, 0, 0).data(32)));
}

TEST(Gguf, HonoursTheAlignmentOfTheFile) {
  for (const std::uint32_t alignment : {8u, 16u, 64u, 4096u}) {
    GgufBuilder file(2, 1);
    file.scalar("general.alignment", 4, alignment);
    file.tensor("a", {1}, 0, 0).tensor("b", {1}, 0, alignment);
    file.data(alignment + 4, alignment);
    const auto gguf = read(file);
    ASSERT_TRUE(gguf) << alignment << ": " << gguf.error().message();
    EXPECT_EQ(gguf->tensors.find("b")->data.size(), 4u);
  }
}

TEST(Gguf, AllowsPaddingAfterTheLastTensorButDoesNotAskForIt) {
  for (const std::size_t bytes : {4u, 5u, 31u, 32u, 35u})
    EXPECT_TRUE(read(GgufBuilder(1, 0).tensor("a", {1}, 0, 0).data(bytes))) << bytes;
  EXPECT_FALSE(read(GgufBuilder(1, 0).tensor("a", {1}, 0, 0).data(36)));
  EXPECT_TRUE(read(GgufBuilder(0, 0))) << "without tensors nothing needs to follow";
}

TEST(Gguf, AcceptsTensorsInAnyOrderOfTheirData) {
  GgufBuilder file(2, 0);
  file.tensor("second", {8}, 0, 32).tensor("first", {8}, 0, 0).data(64);
  const auto gguf = read(file);
  ASSERT_TRUE(gguf) << gguf.error().message();
  EXPECT_EQ(gguf->tensors.tensors()[0].name, "first");
}

TEST(GgufMetadata, SaysWhichKeyAndWhichTypesWhenTheyDoNotFit) {
  GgufBuilder file(0, 5);
  file.text("text", "x").scalar("minus", 5, std::int32_t{-3}).scalar("half", 6, 0.5f);
  file.array("list", 5, 2).number("element", std::int32_t{4}).number("element", std::int32_t{-4});
  file.scalar("six", 5, std::int32_t{6});
  const auto gguf = read(file);
  ASSERT_TRUE(gguf) << gguf.error().message();
  const GgufMetadata& m = gguf->metadata;
  using enum ErrorCode;
  EXPECT_TRUE(refuses([&] { return m.get_uint("none"); }, not_found, "\"none\""));
  EXPECT_TRUE(refuses([&] { return m.get_uint("text"); }, corrupt, "found a string"));
  EXPECT_TRUE(refuses([&] { return m.get_uint("minus"); }, corrupt, "found -3"));
  EXPECT_TRUE(refuses([&] { return m.get_uint("half"); }, corrupt, "found a float"));
  EXPECT_TRUE(refuses([&] { return m.get_uint("list"); }, corrupt, "an array of integers"));
  EXPECT_TRUE(refuses([&] { return m.get_uints("list"); }, corrupt, "found -4"));
  EXPECT_TRUE(refuses([&] { return m.get_uints("text"); }, corrupt, "found a string"));
  EXPECT_TRUE(refuses([&] { return m.get_bool("six"); }, corrupt, "expected a bool"));
  EXPECT_TRUE(refuses([&] { return m.get_number("text"); }, corrupt, "expected a number"));
  EXPECT_TRUE(refuses([&] { return m.get_string("six"); }, corrupt, "found an integer"));
  EXPECT_TRUE(refuses([&] { return m.get_strings("list"); }, corrupt, "array of strings"));
  EXPECT_THAT(*m.get_uints("six"), ElementsAre(6)) << "a scalar counts as one element";
  EXPECT_EQ(m.get_uint("six"), 6u);
}

TEST(GgufMetadata, RefusesAKeyThatIsAlreadyThere) {
  GgufMetadata metadata;
  EXPECT_TRUE(metadata.add("a", true));
  EXPECT_TRUE(refuses([&] { return metadata.add("a", false); }, ErrorCode::corrupt, "\"a\""));
  EXPECT_EQ(metadata.get_bool("a"), true);
}

}  // namespace
}  // namespace tern::formats
