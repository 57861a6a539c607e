#include "formats/safetensors_writer.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "formats/file_builder.h"
#include "formats/safetensors.h"

namespace tern::formats {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A folder that is gone when the test is.
class SafetensorsWriterTest : public testing::Test {
 protected:
  SafetensorsWriterTest() : folder_(fs::temp_directory_path() / ("tern_writer_" + id())) {
    fs::create_directories(folder_);
  }
  ~SafetensorsWriterTest() override { fs::remove_all(folder_); }
  static std::string id() {
    return std::to_string(::getpid()) + "_" +
           testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_))
      found.push_back(entry.path().filename().string());
    return found;
  }

  fs::path folder_;
  fs::path file_ = folder_ / "model.safetensors";
};

const std::vector<TensorPlan> kPlan = {{"b.weight", DType::bf16, {2, 3}},
                                       {"empty", DType::f32, {0, 4}},
                                       {"a \"quoted\" name", DType::u8, {5}},
                                       {"scalar", DType::f32, {}}};

TEST_F(SafetensorsWriterTest, WhatIsWrittenIsReadBack) {
  auto writer = SafetensorsWriter::create(file_, kPlan, {{"format", "pt"}});
  ASSERT_TRUE(writer) << writer.error().message();
  ASSERT_TRUE(writer->write("b.weight", as_bytes("abcd")));
  ASSERT_TRUE(writer->write("b.weight", as_bytes("efghijkl")));
  ASSERT_TRUE(writer->write("empty", {}));
  ASSERT_TRUE(writer->write(kPlan[2].name, as_bytes("12345")));
  ASSERT_TRUE(writer->write("scalar", as_bytes("wxyz")));
  ASSERT_TRUE(writer->commit());
  EXPECT_THAT(names(), ElementsAre("model.safetensors"));
  EXPECT_EQ(fs::file_size(file_), writer->bytes());

  const auto mapped = MappedFile::open(file_);
  ASSERT_TRUE(mapped);
  const auto read = read_safetensors(mapped->bytes(), "model.safetensors");
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->metadata.at("format"), "pt");
  ASSERT_EQ(read->tensors.size(), kPlan.size());
  for (const TensorPlan& planned : kPlan) {
    const Tensor* tensor = read->tensors.find(planned.name);
    ASSERT_NE(tensor, nullptr) << planned.name;
    EXPECT_EQ(tensor->type, planned.type);
    EXPECT_EQ(tensor->shape, planned.shape);
  }
  EXPECT_EQ(as_text(read->tensors.find("b.weight")->data), "abcdefghijkl");
  EXPECT_EQ(as_text(read->tensors.find(kPlan[2].name)->data), "12345");
  EXPECT_EQ(as_text(read->tensors.find("scalar")->data), "wxyz");
}

TEST_F(SafetensorsWriterTest, TheDataStartAtAMultipleOfEight) {
  for (std::size_t length = 1; length < 12; ++length) {
    auto writer = SafetensorsWriter::create(file_, {{std::string(length, 'n'), DType::u8, {1}}});
    ASSERT_TRUE(writer);
    EXPECT_EQ((writer->bytes() - 1) % 8, 0u) << length;
  }
}

TEST_F(SafetensorsWriterTest, WithoutCommitNothingIsLeft) {
  {
    auto writer = SafetensorsWriter::create(file_, kPlan);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->write("b.weight", as_bytes("abcd")));
    EXPECT_FALSE(fs::exists(file_));
  }
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(SafetensorsWriterTest, RefusesWhatTheFormatCannotHold) {
  const auto refusal = [&](std::vector<TensorPlan> plan) {
    const auto writer = SafetensorsWriter::create(file_, std::move(plan));
    return writer ? Error{} : writer.error();
  };
  EXPECT_EQ(refusal({{"q", DType::q4_0, {32}}}).code, ErrorCode::unsupported);
  EXPECT_THAT(refusal({{"q", DType::q4_0, {32}}}).what, HasSubstr("q4_0"));
  EXPECT_EQ(refusal({{"x", DType::f32, {1}}, {"x", DType::f32, {1}}}).code, ErrorCode::usage);
  EXPECT_EQ(refusal({{"__metadata__", DType::f32, {1}}}).code, ErrorCode::usage);
  const std::uint64_t huge = std::uint64_t{1} << 62;
  EXPECT_EQ(refusal({{"x", DType::f32, {huge, 4}}}).code, ErrorCode::too_large);
  EXPECT_EQ(refusal({{"x", DType::u8, {huge * 3}}, {"y", DType::u8, {huge}}}).code,
            ErrorCode::too_large);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(SafetensorsWriterTest, AMissingFolderIsAnError) {
  const auto writer = SafetensorsWriter::create(folder_ / "no" / "such", kPlan);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, ErrorCode::io);
}

RC_GTEST_FIXTURE_PROP(SafetensorsWriterTest, AnyCutIntoPiecesGivesTheSameFile,
                      (const std::vector<std::uint8_t>& cuts)) {
  const std::string data = "abcdefghijkl12345wxyz";
  auto writer = SafetensorsWriter::create(file_, {{"x", DType::u8, {data.size()}}});
  RC_ASSERT(writer.has_value());
  std::size_t at = 0;
  for (const std::uint8_t cut : cuts) {
    const std::size_t n = std::min<std::size_t>(cut % 5, data.size() - at);
    RC_ASSERT(writer->write("x", as_bytes(std::string_view(data).substr(at, n))).has_value());
    at += n;
  }
  RC_ASSERT(writer->write("x", as_bytes(std::string_view(data).substr(at))).has_value());
  RC_ASSERT(writer->commit().has_value());
  const auto mapped = MappedFile::open(file_);
  RC_ASSERT(mapped.has_value());
  RC_ASSERT(as_text(mapped->bytes()).ends_with(data));
}

TEST_F(SafetensorsWriterTest, AWrongOrderIsAFaultOfTheProgram) {
  auto writer = SafetensorsWriter::create(file_, kPlan);
  ASSERT_TRUE(writer);
  EXPECT_DEATH((void)writer->write("scalar", as_bytes("wxyz")), "next_");
  EXPECT_DEATH((void)writer->write("b.weight", as_bytes("abcdefghijklm")), "missing");
  EXPECT_DEATH((void)writer->commit(), "next_");
}

}  // namespace
}  // namespace tern::formats
