#include "convert/output_folder.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "base/mapped_file.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;

class OutputFolderTest : public testing::Test {
 protected:
  OutputFolderTest()
      : root_(fs::temp_directory_path() /
              ("tern_folder_" + std::to_string(::getpid()) + "_" +
               testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(root_);
  }
  ~OutputFolderTest() override { fs::remove_all(root_); }

  fs::path root_;
  fs::path out_ = root_ / "model";
  fs::path partial_ = root_ / "model.partial";
};

TEST_F(OutputFolderTest, TheNameAppearsWithTheCommit) {
  auto folder = OutputFolder::create(out_);
  ASSERT_TRUE(folder) << folder.error().message();
  ASSERT_TRUE(folder->write("config.json", "{}"));
  EXPECT_FALSE(fs::exists(out_));
  ASSERT_TRUE(folder->commit());
  EXPECT_EQ(*read_text_file(out_ / "config.json", 100), "{}");
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(OutputFolderTest, WithoutCommitNothingIsLeft) {
  {
    auto folder = OutputFolder::create(out_);
    ASSERT_TRUE(folder);
    ASSERT_TRUE(folder->write("config.json", "{}"));
  }
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(OutputFolderTest, WhatAKilledProgramLeftIsCleared) {
  fs::create_directories(partial_ / "deep");
  std::ofstream(partial_ / "deep" / "old") << "old";
  auto folder = OutputFolder::create(out_);
  ASSERT_TRUE(folder) << folder.error().message();
  EXPECT_TRUE(fs::is_empty(partial_));
  ASSERT_TRUE(folder->commit());
}

TEST_F(OutputFolderTest, TwoAtATimeRefuseEachOther) {
  auto first = OutputFolder::create(out_);
  ASSERT_TRUE(first);
  ASSERT_TRUE(first->write("config.json", "{}"));
  const auto second = OutputFolder::create(out_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::busy);
  EXPECT_TRUE(fs::exists(partial_ / "config.json"));
}

TEST_F(OutputFolderTest, WhatExistsIsNotReplaced) {
  fs::create_directories(out_);
  std::ofstream(out_ / "config.json") << "mine";
  const auto folder = OutputFolder::create(out_);
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, ErrorCode::usage);
  EXPECT_EQ(*read_text_file(out_ / "config.json", 100), "mine");
}

TEST_F(OutputFolderTest, AnEmptyFolderAndATrailingSlashAreFine) {
  fs::create_directories(out_);
  auto folder = OutputFolder::create(root_ / "model/");
  ASSERT_TRUE(folder) << folder.error().message();
  ASSERT_TRUE(folder->write("x", "y"));
  ASSERT_TRUE(folder->commit());
  EXPECT_TRUE(fs::exists(out_ / "x"));
}

TEST_F(OutputFolderTest, AMissingParentIsAnError) {
  const auto folder = OutputFolder::create(root_ / "no" / "model");
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, ErrorCode::io);
}

}  // namespace
}  // namespace tern::convert
