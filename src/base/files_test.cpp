// MappedFile and AtomicFile against a real file system.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/atomic_file.h"
#include "base/mapped_file.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using enum ErrorCode;

/// A folder that is removed at the end of a test.
class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("tern_files_" + std::to_string(::getpid()) + "_" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, std::string_view text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  std::string read(const std::string& name) const {
    const auto text = read_text_file(folder_ / name, 1u << 20);
    return text ? *text : "error: " + text.error().message();
  }
  std::size_t count() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

using MappedFiles = Files;
using AtomicFiles = Files;

TEST_F(MappedFiles, ShowTheBytesOfAFile) {
  auto file = MappedFile::open(write("a", "hello"));
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(as_text(file->bytes()), "hello");
  EXPECT_EQ(file->resident_bytes(), static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  const MappedFile moved = *std::move(file);
  EXPECT_EQ(as_text(moved.bytes()), "hello");
}

TEST_F(MappedFiles, StayWhenTheirNameIsGone) {
  const auto path = write("a", "hello");
  const auto file = MappedFile::open(path);
  fs::remove(path);
  EXPECT_EQ(as_text(file->bytes()), "hello");
}

TEST_F(MappedFiles, MayBeEmpty) {
  const auto file = MappedFile::open(write("empty", ""));
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_TRUE(file->bytes().empty());
  EXPECT_EQ(file->resident_bytes(), 0u);
}

TEST_F(MappedFiles, RefuseWhatIsMissingOrNoRegularFileWithoutWaiting) {
  const auto code = [&](const fs::path& path) {
    const auto file = MappedFile::open(path);
    EXPECT_FALSE(file);
    EXPECT_EQ(file.error().where, path.string());
    return file.error().code;
  };
  EXPECT_EQ(code(folder_ / "nothing"), not_found);
  EXPECT_EQ(code(write("file", "") / "below"), not_found);
  EXPECT_EQ(code(folder_), io);
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(code(folder_ / "fifo"), io);
  EXPECT_EQ(code("/dev/null"), io);
  fs::create_symlink("nothing", folder_ / "dangling");
  EXPECT_EQ(code(folder_ / "dangling"), not_found);
}

TEST_F(MappedFiles, AreReadWholeUpToALimit) {
  const auto path = write("a", "hello");
  EXPECT_EQ(read_text_file(path, 5), "hello");
  EXPECT_EQ(read_text_file(path, 4).error().code, too_large);
}

TEST_F(AtomicFiles, HaveTheirNameOnlyWhenTheyAreComplete) {
  {
    auto file = AtomicFile::create(folder_ / "a");
    ASSERT_TRUE(file) << file.error().message();
    ASSERT_TRUE(file->write("one "));
    ASSERT_TRUE(file->write(std::as_bytes(std::span("two", 3))));
    EXPECT_FALSE(fs::exists(folder_ / "a"));
    ASSERT_TRUE(file->commit());
    EXPECT_EQ(read("a"), "one two");
  }
  EXPECT_EQ(read("a"), "one two");
  EXPECT_EQ(count(), 1u) << "the partial file is gone";
}

TEST_F(AtomicFiles, LeaveNothingWhenTheyAreAbandoned) {
  write("a", "old");
  {
    auto file = AtomicFile::create(folder_ / "a");
    ASSERT_TRUE(file->write("new"));
    const AtomicFile moved = *std::move(file);
    EXPECT_EQ(count(), 2u);
  }
  EXPECT_EQ(read("a"), "old");
  EXPECT_EQ(count(), 1u);
}

TEST_F(AtomicFiles, ReplaceWhatWasThere) {
  write("a", "old and longer");
  auto file = AtomicFile::create(folder_ / "a");
  ASSERT_TRUE(file->write("new"));
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(read("a"), "new");
}

TEST_F(AtomicFiles, KeepTheOldContentsWhenTheProcessIsKilled) {
  write("a", "old");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto file = AtomicFile::create(folder_ / "a");
    if (!file || !file->write("half of the new con")) ::_exit(1);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read("a"), "old");
  auto file = AtomicFile::create(folder_ / "a");
  ASSERT_TRUE(file) << "what the killed process left is no obstacle";
  ASSERT_TRUE(file->write("new"));
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(read("a"), "new");
  EXPECT_EQ(count(), 1u);
}

TEST_F(AtomicFiles, HaveOneWriterAtATime) {
  auto first = AtomicFile::create(folder_ / "a");
  ASSERT_TRUE(first->write("first"));
  EXPECT_EQ(AtomicFile::create(folder_ / "a").error().code, busy);
  ASSERT_TRUE(first->commit());
  EXPECT_EQ(read("a"), "first") << "the second writer touched nothing";
  auto second = AtomicFile::create(folder_ / "a");
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(read("a"), "first");
}

TEST_F(AtomicFiles, ReportWhatTheOperatingSystemRefuses) {
  EXPECT_EQ(AtomicFile::create(folder_ / "nowhere/a").error().code, io);
  fs::create_directories(folder_ / "taken/full");
  auto file = AtomicFile::create(folder_ / "taken");
  ASSERT_TRUE(file);
  const auto result = file->commit();
  ASSERT_FALSE(result) << "a folder is not replaced by a file";
  EXPECT_EQ(result.error().code, io);
  EXPECT_EQ(count(), 1u) << "the partial file is gone";
}

TEST_F(AtomicFiles, ReportAWriteThatDoesNotFit) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  auto file = AtomicFile::create(folder_ / "a");
  const auto result = file->write(std::string(10'000, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, io);
}

TEST_F(AtomicFiles, DoNotWriteThroughALinkThatStandsInTheirWay) {
  write("precious", "keep me");
  fs::create_symlink("precious", folder_ / "a.partial");
  EXPECT_FALSE(AtomicFile::create(folder_ / "a"));
  EXPECT_EQ(read("precious"), "keep me");
}

}  // namespace
}  // namespace tern
