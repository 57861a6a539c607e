#include "cli/output.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace tern::cli {
namespace {

TEST(Output, WritesEverythingInOrder) {
  std::array<int, 2> ends;
  ASSERT_EQ(::pipe(ends.data()), 0);
  Output output(ends[1], "test");
  output.write("one ");
  output.write("two");
  output.flush();
  ::close(ends[1]);
  std::array<char, 100> got{};
  EXPECT_EQ(::read(ends[0], got.data(), got.size()), 7);
  EXPECT_STREQ(got.data(), "one two");
  ::close(ends[0]);
}

TEST(Output, AReaderThatHasGoneIsNoError) {
  ::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> ends;
  ASSERT_EQ(::pipe(ends.data()), 0);
  ::close(ends[0]);
  Output output(ends[1], "test");
  output.write("x");
  output.flush();
  EXPECT_TRUE(output.closed());
  EXPECT_TRUE(output.status());
  ::close(ends[1]);
}

TEST(Output, AFullDiskIsAnError) {
  const int full = ::open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  Output output(full, "standard output");
  output.write("x");
  output.flush();
  EXPECT_FALSE(output.closed());
  const auto status = output.status();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::io);
  EXPECT_EQ(status.error().where, "standard output");
  ::close(full);
}

}  // namespace
}  // namespace tern::cli
