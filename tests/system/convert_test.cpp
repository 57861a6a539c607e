// tern convert, as it is used: killed, stopped, on a full disk, and again.
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <random>
#include <thread>

#include "process.h"

namespace tern::system {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using testing::HasSubstr;

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::directory_iterator(folder))
    out[entry.path().filename()] = read_file(entry.path());
  return out;
}

std::vector<std::string> conversion(const std::string& to, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"convert",  "demo",         to,    "--to",
                                        "mlx-4bit", "--shard-size", "256K"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(ConvertProgram, WritesAModelThatAnswers) {
  const TemporaryFolder folder;
  const auto to = folder.file("demo-4bit");
  const auto written = run_tern(conversion(to));
  ASSERT_EQ(written.status, 0) << written.err;
  EXPECT_THAT(written.out, HasSubstr("relative error"));
  const auto answer = run_tern({"generate", "-m", to, "-p", "Solve: 17 * 23", "--temp", "0"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("391"));
}

TEST(ConvertProgram, ADryRunPrintsTheBytesAndWritesNothing) {
  const TemporaryFolder folder;
  const auto to = folder.file("x");
  const auto dry = run_tern(conversion(to, {"--dry-run", "--json"}));
  ASSERT_EQ(dry.status, 0) << dry.err;
  EXPECT_TRUE(fs::is_empty(folder.path()));
  ASSERT_EQ(run_tern(conversion(to)).status, 0);
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(to)) bytes += entry.file_size();
  EXPECT_EQ(json::parse(dry.out).at("bytes").to_number<std::uint64_t>(), bytes);
  EXPECT_THAT(run_tern(conversion(to, {"--dry-run"})).out, HasSubstr("switch_mlp.fc1.scales"));
}

TEST(ConvertProgram, KilledAtAnyMomentItGoesOnToTheSameBytes) {
  // TERN_KILLS=50 in ctest -C long.
  const char* const wish = std::getenv("TERN_KILLS");
  const int kills = wish == nullptr ? 10 : std::atoi(wish);
  const TemporaryFolder folder;
  const auto whole = folder.file("whole"), to = folder.file("killed");
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(run_tern(conversion(whole)).status, 0);
  const Seconds each = std::chrono::steady_clock::now() - start;
  const auto expected = files_of(whole);
  std::mt19937 random(1);
  int killed = 0;
  for (int i = 0; i < 4 * kills && killed < kills; ++i) {
    Process process({.arguments = conversion(to, {"--resume"})});
    process.close_input();
    std::this_thread::sleep_for(each * std::uniform_real_distribution<double>(0, 1)(random));
    process.signal(SIGKILL);
    process.finish();
    if (!fs::exists(to)) {
      ++killed;
      continue;
    }
    ASSERT_EQ(files_of(to), expected);  // it was faster than the signal
    fs::remove_all(to);
  }
  EXPECT_GT(killed, 0);
  const auto last = run_tern(conversion(to, {"--resume"}));
  ASSERT_EQ(last.status, 0) << last.err;
  EXPECT_EQ(files_of(to), expected);
  EXPECT_FALSE(fs::exists(to + ".partial"));
}

TEST(ConvertProgram, InterruptedItSaysHowToGoOn) {
  const TemporaryFolder folder;
  const auto to = folder.file("stopped");
  for (int i = 0; i < 20; ++i) {
    Process process({.arguments = conversion(to)});
    process.close_input();
    ASSERT_TRUE(process.wait_for("estimated"));  // the line before the first byte
    process.signal(SIGINT);
    const auto outcome = process.finish();
    if (fs::exists(to)) {  // it was done already
      fs::remove_all(to);
      continue;
    }
    EXPECT_EQ(outcome.status, 130);
    EXPECT_THAT(outcome.err, HasSubstr("--resume"));
    EXPECT_TRUE(fs::exists(to + ".partial"));
    EXPECT_EQ(run_tern(conversion(to, {"--resume"})).status, 0);
    return;
  }
  GTEST_SKIP() << "the conversion was always faster than the signal";
}

TEST(ConvertProgram, AFullDiskLeavesNothingUnderTheFinalName) {
  const TemporaryFolder folder;
  const fs::path disk = folder.path() / "disk";
  fs::create_directories(disk);
  if (::mount("none", disk.c_str(), "tmpfs", 0, "size=2m") != 0)
    GTEST_SKIP() << "mounting a small file system is not permitted here";
  const auto small = run_tern(conversion(disk / "model"));
  EXPECT_EQ(small.status, 74) << small.err;
  EXPECT_THAT(small.err, HasSubstr("bytes are needed"));
  EXPECT_TRUE(fs::is_empty(disk));
  // Enough at first, and then another program takes it.
  EXPECT_EQ(::mount("none", disk.c_str(), "tmpfs", MS_REMOUNT, "size=6m"), 0);
  Process process({.arguments = conversion(disk / "model")});
  process.close_input();
  process.wait_for("estimated");
  const std::string ballast = run_bash("head -c 5m /dev/zero > " + (disk / "ballast").string()).err;
  const auto full = process.finish();
  if (full.status != 0) {
    EXPECT_EQ(full.status, 74) << full.err;
    EXPECT_FALSE(fs::exists(disk / "model"));
    fs::remove(disk / "ballast");
    EXPECT_EQ(run_tern(conversion(disk / "model", {"--resume"})).status, 0);
  }
  EXPECT_TRUE(fs::exists(disk / "model/config.json"));
  ::umount(disk.c_str());
}

TEST(ImatrixProgram, WritesWhatConvertReads) {
  const TemporaryFolder folder;
  const auto text = folder.write("text.txt", "<|im_start|>user\nSolve: 17 * 23<|im_end|>\n");
  const auto to = folder.file("imatrix.gguf");
  const auto made =
      run_tern({"imatrix", "-m", "demo", "-f", text, "--special", "-o", to, "--json"});
  ASSERT_EQ(made.status, 0) << made.err;
  const auto report = json::parse(made.out);
  EXPECT_EQ(report.at("chunks").to_number<int>(), 1);
  EXPECT_GT(report.at("tokens").to_number<int>(), 10);
  EXPECT_GT(report.at("unseen").to_number<int>(), 0);  // so few tokens do not reach all experts
  EXPECT_EQ(run_tern({"convert", "demo", folder.file("with"), "--to", "mlx-2bit", "--imatrix", to})
                .status,
            0);
  EXPECT_EQ(run_tern({"convert", "demo", folder.file("without"), "--to", "mlx-2bit"}).status, 0);
  EXPECT_NE(files_of(folder.file("with")), files_of(folder.file("without")));
  EXPECT_EQ(run_tern({"imatrix", "-m", "demo", "-f", text}).status, 64);
  EXPECT_EQ(run_tern({"imatrix", "-m", "demo", "-f", text, "-o", folder.path()}).status, 64);
}

TEST(ImatrixProgram, InterruptedItLeavesNoFile) {
  const TemporaryFolder folder;
  Process process(Invocation{.arguments = {"imatrix", "demo", "--windows", "200", "-c", "2048",
                                           "-o", folder.file("imatrix.gguf")}},
                  Process::Streams::terminal);
  EXPECT_TRUE(process.wait_for("squaring inputs"));
  process.signal(SIGINT);
  EXPECT_EQ(process.finish().status, 130);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(ConvertProgram, RefusesWhatItCannotDo) {
  const TemporaryFolder folder;
  const auto refused = [](std::vector<std::string> arguments, int status, const char* said) {
    const auto outcome = run_tern(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(said));
  };
  const auto to = folder.file("x");
  refused({"convert"}, 64, "SRC");
  refused({"convert", "demo"}, 64, "DST");
  refused({"convert", "demo", to}, 64, "--to");
  refused({"convert", "demo", to, "--to", "mlx-7bit"}, 64, "unknown format");
  refused({"convert", "demo", to, "--to", "mlx-4bit", "--override", "nothing=6"}, 64, "matches no");
  refused({"convert", "demo", to, "--to", "bf16", "--group-size", "32"}, 64, "--group-size");
  refused({"convert", "demo", to, "--to", "mlx-mxfp4", "--group-size", "64"}, 64, "groups of 32");
  refused({"convert", "demo", to, "--to", "mlx-4bit", "--shard-size", "5"}, 64, "--shard-size");
  refused({"convert", "demo", folder.path(), "--to", "mlx-4bit", "--seed", "3"}, 64, "--seed");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace tern::system
