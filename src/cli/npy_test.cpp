#include "cli/npy.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <fstream>

#include "base/mapped_file.h"
#include "cli/token_ids.h"

namespace tern::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = testing::TempDir() + "tern-cli-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

RC_GTEST_PROP(NpyHeader, IsAMultipleOf64AndSaysItsLength,
              (std::uint64_t rows, std::uint64_t columns)) {
  const auto header = npy_header(rows, columns);
  RC_ASSERT(header.size() % 64 == 0);
  RC_ASSERT(header.starts_with(std::string("\x93NUMPY\x01\x00", 8)));
  const auto length =
      static_cast<unsigned char>(header[8]) + 256u * static_cast<unsigned char>(header[9]);
  RC_ASSERT(length + 10 == header.size());
  RC_ASSERT(header.back() == '\n');
  RC_ASSERT(header.find("'shape': (" + std::to_string(rows) + ", " + std::to_string(columns) +
                        ")") != std::string::npos);
}

TEST(NpyWriter, PutsRowsBehindTheHeader) {
  const TemporaryFolder folder;
  const auto path = folder / "a.npy";
  auto writer = NpyWriter::create(path, 2, 3);
  ASSERT_TRUE(writer);
  const std::array<float, 3> first = {1, 2, 3}, second = {4, 5, 6};
  ASSERT_TRUE(writer->write(first));
  EXPECT_FALSE(std::filesystem::exists(path)) << "the name appears only when all is there";
  ASSERT_TRUE(writer->write(second));
  ASSERT_TRUE(writer->commit());
  const auto text = read_text_file(path, 1000);
  ASSERT_TRUE(text);
  ASSERT_EQ(text->size(), 128u + 6 * sizeof(float));
  std::array<float, 6> values;
  std::memcpy(values.data(), text->data() + 128, sizeof values);
  EXPECT_THAT(values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(NpyWriter, LeavesTheOldFileWhenItIsGivenUp) {
  const TemporaryFolder folder;
  const auto path = folder / "a.npy";
  std::ofstream(path) << "old";
  {
    auto writer = NpyWriter::create(path, 1, 1);
    ASSERT_TRUE(writer);
  }
  EXPECT_EQ(read_text_file(path, 100), "old");
}

TEST(NpyWriter, SaysThatAFolderIsMissing) {
  const auto writer = NpyWriter::create("/no/such/folder/a.npy", 1, 1);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, ErrorCode::io);
}

TEST(TokenIds, AreAJsonArrayOfWholeNumbers) {
  EXPECT_THAT(*parse_token_ids("[]", "x"), ElementsAre());
  EXPECT_THAT(*parse_token_ids(" [0, 7,\n131071] ", "x", 131072), ElementsAre(0, 7, 131071));
  EXPECT_EQ(to_json({1, 2, 3}), "[1, 2, 3]");
}

TEST(TokenIds, TheOffenderIsNamedByItsIndex) {
  const auto refusal = [](std::string_view json) {
    const auto ids = parse_token_ids(json, "ids.json", 100);
    return ids ? Error{} : ids.error();
  };
  EXPECT_EQ(refusal("[1, 2, 100]").where, "ids.json#/2");
  EXPECT_EQ(refusal("[1, 2, 100]").code, ErrorCode::mismatch);
  EXPECT_EQ(refusal("[-1]").where, "ids.json#/0");
  EXPECT_EQ(refusal("[0, 1.5]").where, "ids.json#/1");
  EXPECT_EQ(refusal("[0, 1.0]").where, "ids.json#/1");
  EXPECT_EQ(refusal("[\"1\"]").where, "ids.json#/0");
  EXPECT_EQ(refusal("[null]").where, "ids.json#/0");
  EXPECT_EQ(refusal("[true]").where, "ids.json#/0");
  EXPECT_EQ(refusal("[[1]]").where, "ids.json#/0");
  EXPECT_EQ(refusal("[18446744073709551615]").where, "ids.json#/0");
  EXPECT_EQ(refusal("[1e30]").where, "ids.json#/0");
  EXPECT_EQ(refusal("{\"ids\": []}").code, ErrorCode::corrupt);
  EXPECT_EQ(refusal("[1, 2").code, ErrorCode::corrupt);
  EXPECT_EQ(refusal("").code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace tern::cli
