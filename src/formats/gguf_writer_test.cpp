#include "formats/gguf_writer.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "formats/file_builder.h"
#include "formats/gguf.h"

namespace tern::formats {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A folder that is gone when the test is.
class GgufWriterTest : public testing::Test {
 protected:
  GgufWriterTest()
      : folder_(fs::temp_directory_path() /
                ("tern_gguf_writer_" + std::to_string(::getpid()) + "_" +
                 testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(folder_);
  }
  ~GgufWriterTest() override { fs::remove_all(folder_); }

  std::string bytes() const {
    std::ifstream file(file_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_))
      found.push_back(entry.path().filename().string());
    return found;
  }

  fs::path folder_;
  fs::path file_ = folder_ / "model.gguf";
};

std::vector<GgufKey> every_kind() {
  return {{"u8", std::uint8_t{255}},
          {"i8", std::int8_t{-1}},
          {"u16", std::uint16_t{65535}},
          {"i16", std::int16_t{-2}},
          {"u32", std::uint32_t{4294967295u}},
          {"i32", std::int32_t{-3}},
          {"f32", 0.5f},
          {"yes", true},
          {"text", std::string("a\0b", 3)},
          {"u64", ~std::uint64_t{0}},
          {"i64", std::int64_t{-4}},
          {"f64", 0.1},
          {"bools", std::vector<bool>{true, false}},
          {"bytes", std::vector<std::uint8_t>{1, 2, 3}},
          {"integers", std::vector<std::int32_t>{-5, 7}},
          {"floats", std::vector<float>{0.25f}},
          {"texts", std::vector<std::string>{"", "x", "yz"}},
          {"none", std::vector<std::string>{}}};
}

TEST_F(GgufWriterTest, WritesEveryKindOfMetadata) {
  auto writer = GgufWriter::create(file_, every_kind(), {});
  ASSERT_TRUE(writer) << writer.error().message();
  ASSERT_TRUE(writer->commit());
  const std::string text = bytes();
  EXPECT_EQ(text.size(), writer->bytes());
  const auto gguf = read_gguf(as_bytes(text), "model.gguf");
  ASSERT_TRUE(gguf) << gguf.error().message();
  const GgufMetadata& m = gguf->metadata;
  EXPECT_EQ(m.get_uint("u8"), 255u);
  EXPECT_EQ(m.get_number("i8"), -1);
  EXPECT_EQ(m.get_uint("u16"), 65535u);
  EXPECT_EQ(m.get_number("i16"), -2);
  EXPECT_EQ(m.get_uint("u32"), 4294967295u);
  EXPECT_EQ(m.get_number("i32"), -3);
  EXPECT_EQ(m.get_number("f32"), 0.5);
  EXPECT_EQ(m.get_bool("yes"), true);
  EXPECT_EQ(m.get_string("text"), std::string_view("a\0b", 3));
  EXPECT_EQ(m.get_uint("u64"), ~std::uint64_t{0});
  EXPECT_EQ(m.get_number("i64"), -4);
  EXPECT_EQ(m.get_number("f64"), 0.1);
  EXPECT_EQ(*m.find("bools"), GgufValue(GgufArray(std::vector<bool>{true, false})));
  EXPECT_EQ(*m.find("integers"), GgufValue(GgufArray(std::vector<std::int64_t>{-5, 7})));
  EXPECT_EQ(*m.find("floats"), GgufValue(GgufArray(std::vector<double>{0.25})));
  const auto texts = m.get_strings("texts");
  ASSERT_TRUE(texts);
  EXPECT_THAT(*texts, ElementsAre("", "x", "yz"));
  EXPECT_THAT(*m.get_strings("none"), IsEmpty());
}

TEST_F(GgufWriterTest, CopiesMetadataOfAnotherFileByteForByte) {
  const auto head = gguf_head(every_kind(), {});
  ASSERT_TRUE(head);
  const auto gguf = read_gguf(as_bytes(*head), "model.gguf");
  ASSERT_TRUE(gguf);
  std::vector<GgufKey> copied;
  for (const auto& entry : gguf->metadata.entries())
    copied.push_back({std::string(entry.key), GgufRaw{entry.raw}});
  EXPECT_EQ(*gguf_head(copied, {}), *head);
}

TEST_F(GgufWriterTest, WritesTensorsThatAreReadAgain) {
  const std::vector<TensorPlan> plan = {
      {"w", DType::f32, {2, 3}}, {"experts", DType::q8_0, {2, 1, 64}}, {"last", DType::bf16, {5}}};
  auto writer = GgufWriter::create(file_, {{"general.architecture", std::string("x")}}, plan);
  ASSERT_TRUE(writer) << writer.error().message();
  const std::string w(24, 'w'), experts(136, 'e'), last(10, 'l');
  ASSERT_TRUE(writer->write("w", as_bytes(w.substr(0, 7))));
  ASSERT_TRUE(writer->write("w", as_bytes(w.substr(7))));
  ASSERT_TRUE(writer->write("experts", as_bytes(experts)));
  EXPECT_THAT(names(), ElementsAre("model.gguf.partial"));
  ASSERT_TRUE(writer->write("last", as_bytes(last)));
  ASSERT_TRUE(writer->commit());
  EXPECT_THAT(names(), ElementsAre("model.gguf"));
  const std::string text = bytes();
  EXPECT_EQ(text.size(), writer->bytes());
  EXPECT_EQ(text.size() % kGgufAlignment, 0u);
  const auto gguf = read_gguf(as_bytes(text), "model.gguf");
  ASSERT_TRUE(gguf) << gguf.error().message();
  ASSERT_EQ(gguf->tensors.size(), 3u);
  for (const TensorPlan& tensor : plan) {
    const Tensor* found = gguf->tensors.find(tensor.name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->shape, tensor.shape);
    EXPECT_EQ(found->type, tensor.type);
  }
  EXPECT_EQ(as_text(gguf->tensors.find("experts")->data), experts);
  EXPECT_EQ(as_text(gguf->tensors.find("last")->data), last);
}

TEST_F(GgufWriterTest, LeavesNothingWhenItIsNotCommitted) {
  {
    auto writer = GgufWriter::create(file_, {}, {{"w", DType::f32, {8}}});
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->write("w", as_bytes("abcd")));
  }
  EXPECT_THAT(names(), IsEmpty());
}

TEST(GgufHead, RefusesWhatNoReaderWouldTake) {
  const auto message = [](const std::vector<GgufKey>& metadata,
                          const std::vector<TensorPlan>& tensors) {
    const auto head = gguf_head(metadata, tensors);
    return head ? std::string("nothing is wrong") : head.error().what;
  };
  EXPECT_THAT(message({{"k", true}, {"k", false}}, {}), HasSubstr("two metadata keys"));
  EXPECT_THAT(message({{"general.alignment", std::uint32_t{64}}}, {}), HasSubstr("alignment"));
  EXPECT_THAT(message({}, {{"w", DType::f32, {1}}, {"w", DType::f32, {1}}}),
              HasSubstr("two tensors"));
  EXPECT_THAT(message({}, {{"w", DType::u32, {1}}}), HasSubstr("u32"));
  EXPECT_THAT(message({}, {{"w", DType::f32, {}}}), HasSubstr("axes"));
  EXPECT_THAT(message({}, {{"w", DType::f32, {1, 1, 1, 1, 1}}}), HasSubstr("axes"));
  EXPECT_THAT(message({}, {{"w", DType::f32, {2, 0}}}), HasSubstr("empty"));
  EXPECT_THAT(message({}, {{"w", DType::q4_k, {2, 128}}}), HasSubstr("blocks of q4_k"));
  EXPECT_THAT(message({}, {{"w", DType::f32, {~std::uint64_t{0}, 2}}}), HasSubstr("fit"));
}

}  // namespace
}  // namespace tern::formats
