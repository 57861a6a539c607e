#include "hub/cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "hub/digest.h"
#include "hub/environment.h"
#include "hub/file_lock.h"
#include "hub/remove.h"

namespace tern::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kOld(40, '1'), kNew(40, '2');

class Cache : public ::testing::Test {
 protected:
  Cache() : root(fs::temp_directory_path() / ("tern-hub-" + std::to_string(::getpid()))) {
    fs::remove_all(root);
    fs::create_directories(root);
  }
  ~Cache() override { fs::remove_all(root); }

  static void write(const fs::path& path, std::string_view text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  void add(const std::string& commit, const std::string& path, const std::string& etag) {
    write(cache.blob(etag), "bytes of " + etag);
    EXPECT_TRUE(cache.link(commit, path, etag));
  }

  fs::path root;
  RepoCache cache{root, "owner/model"};
  ModelName name{"owner/model-TQ-KV", "owner/model", ""};
};

TEST_F(Cache, FindsACompleteModelThroughItsRef) {
  add(kNew, "config.json", "c");
  add(kNew, "model.safetensors", "m");
  EXPECT_EQ(find_cached(root, name).error().code, ErrorCode::not_found);
  ASSERT_TRUE(cache.write_ref("main", kNew));
  const auto model = find_cached(root, name);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_EQ(model->path, cache.snapshot(kNew));
  EXPECT_EQ(model->repository, "owner/model");
  EXPECT_EQ(model->bytes, 20u);
  EXPECT_TRUE(find_cached(root, name, kNew));
  EXPECT_EQ(find_cached(root, name, "other").error().code, ErrorCode::not_found);
  EXPECT_EQ(find_cached(root, name, "../x").error().code, ErrorCode::usage);
}

TEST_F(Cache, AModelWithoutAllBytesIsIncomplete) {
  add(kNew, "config.json", "c");
  add(kNew, "model.safetensors", "m");
  ASSERT_TRUE(cache.write_ref("main", kNew));
  fs::remove(cache.blob("m"));
  const auto model = find_cached(root, name);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::not_found);
}

TEST_F(Cache, LinksAreRelativeAsThoseOfHuggingFaceHub) {
  add(kNew, "deep/er/x.gguf", "g");
  const auto target = fs::read_symlink(cache.snapshot(kNew) / "deep/er/x.gguf");
  EXPECT_EQ(target, "../../../../blobs/g");
  EXPECT_THAT(cache.files(kNew), ElementsAre("deep/er/x.gguf"));
}

TEST_F(Cache, ARefThatHoldsNoCommitIsAnError) {
  write(cache.ref("main"), "../../etc");
  EXPECT_EQ(cache.commit_of("main").error().code, ErrorCode::corrupt);
  write(cache.ref("main"), kNew + "\n");
  EXPECT_EQ(cache.commit_of("main"), kNew);
  write(cache.ref("refs/pr/1"), kNew);
  EXPECT_THAT(cache.revisions_of(kNew), ElementsAre("main", "refs/pr/1"));
}

TEST_F(Cache, ListsItsRepositories) {
  fs::create_directories(root / "models--a--b");
  fs::create_directories(root / "models--evil--..");
  fs::create_directories(root / "datasets--c--d");
  EXPECT_THAT(cached_repositories(root), ElementsAre("a/b"));
}

TEST_F(Cache, RemovingARevisionKeepsWhatOthersUse) {
  add(kOld, "config.json", "c");
  add(kOld, "model.safetensors", "old");
  add(kNew, "config.json", "c");
  add(kNew, "model.safetensors", "new");
  ASSERT_TRUE(cache.write_ref("v1", kOld));
  ASSERT_TRUE(cache.write_ref("main", kNew));
  const auto plan = plan_removal(cache, "v1");
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->blobs, ElementsAre(cache.blob("old")));
  ASSERT_TRUE(remove(cache, *plan));
  EXPECT_FALSE(fs::exists(cache.snapshot(kOld)));
  EXPECT_FALSE(fs::exists(cache.ref("v1")));
  EXPECT_TRUE(find_cached(root, name));
  const auto rest = plan_removal(cache, "");
  ASSERT_TRUE(rest && remove(cache, *rest));
  EXPECT_FALSE(fs::exists(cache.folder()));
  EXPECT_EQ(plan_removal(cache, "").error().code, ErrorCode::not_found);
}

TEST_F(Cache, NothingIsRemovedWhileSomebodyDownloads) {
  add(kNew, "model.gguf", "g");
  const auto lock = FileLock::try_acquire(cache.lock("g"));
  ASSERT_TRUE(lock && *lock);
  const auto plan = plan_removal(cache, "");
  ASSERT_TRUE(plan);
  EXPECT_EQ(remove(cache, *plan).error().code, ErrorCode::busy);
  EXPECT_TRUE(fs::exists(cache.blob("g")));
}

TEST_F(Cache, ALockIsHeldByOneAtATime) {
  {
    const auto first = FileLock::try_acquire(root / "x/y.lock");
    ASSERT_TRUE(first && *first);
    const auto second = FileLock::try_acquire(root / "x/y.lock");
    ASSERT_TRUE(second);
    EXPECT_FALSE(*second);
  }
  const auto again = FileLock::try_acquire(root / "x/y.lock");
  EXPECT_TRUE(again && *again);
}

TEST(Digests, AreThoseOfSha256sumAndGit) {
  const auto bytes = std::as_bytes(std::span("hello\n", 6));
  Digest sha = Digest::sha256(), git = Digest::git_blob(6);
  sha.update(bytes);
  git.update(bytes);
  EXPECT_EQ(sha.hex(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  EXPECT_EQ(git.hex(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

/// Environment variables for the length of a test.
class EnvironmentVariables : public ::testing::Test {
 protected:
  EnvironmentVariables() {
    for (const char* name : kNames) ::unsetenv(name);
    ::setenv("HOME", "/home/u", 1);
  }
  ~EnvironmentVariables() override {
    for (const char* name : kNames) ::unsetenv(name);
    if (!home_.empty()) ::setenv("HOME", home_.c_str(), 1);
  }
  static fs::path cache() { return read_environment().value_or(Environment{}).cache; }

 private:
  static constexpr const char* kNames[] = {"HF_HOME",
                                           "HF_HUB_CACHE",
                                           "HUGGINGFACE_HUB_CACHE",
                                           "XDG_CACHE_HOME",
                                           "HF_ENDPOINT",
                                           "HF_TOKEN",
                                           "HF_TOKEN_PATH",
                                           "HUGGING_FACE_HUB_TOKEN",
                                           "HF_HUB_OFFLINE",
                                           "TRANSFORMERS_OFFLINE",
                                           "HF_HUB_DOWNLOAD_TIMEOUT",
                                           "HF_HUB_DISABLE_IMPLICIT_TOKEN"};
  std::string home_ = std::getenv("HOME") ? std::getenv("HOME") : "";
};

TEST_F(EnvironmentVariables, SayWhereTheCacheIs) {
  EXPECT_EQ(cache(), "/home/u/.cache/huggingface/hub");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(cache(), "/x/huggingface/hub");
  ::setenv("HF_HOME", "~/hf", 1);
  EXPECT_EQ(cache(), "/home/u/hf/hub");
  ::setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
  EXPECT_EQ(cache(), "/old");
  ::setenv("HF_HUB_CACHE", "/new", 1);
  EXPECT_EQ(cache(), "/new");
}

TEST_F(EnvironmentVariables, SayWhichHubAndWithWhichToken) {
  EXPECT_EQ(read_environment()->endpoint, "https://huggingface.co");
  EXPECT_FALSE(read_environment()->offline);
  ::setenv("HF_ENDPOINT", "http://127.0.0.1:9/", 1);
  ::setenv("HF_TOKEN", " hf_x\n", 1);
  ::setenv("HF_HUB_OFFLINE", "yes", 1);
  ::setenv("HF_HUB_DOWNLOAD_TIMEOUT", "3", 1);
  const auto environment = read_environment();
  ASSERT_TRUE(environment);
  EXPECT_EQ(environment->endpoint, "http://127.0.0.1:9");
  EXPECT_EQ(environment->token, "hf_x");
  EXPECT_TRUE(environment->offline);
  EXPECT_EQ(environment->patience, std::chrono::seconds(3));
  ::setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
  EXPECT_EQ(read_environment()->token, "");
}

TEST_F(EnvironmentVariables, ThatCannotBeMeantAreErrors) {
  ::setenv("HF_ENDPOINT", "ftp://x", 1);
  EXPECT_THAT(read_environment().error().where, HasSubstr("HF_ENDPOINT"));
  ::unsetenv("HF_ENDPOINT");
  ::setenv("HF_TOKEN", "a\r\nHost: b", 1);
  EXPECT_EQ(read_environment().error().code, ErrorCode::usage);
  ::unsetenv("HF_TOKEN");
  ::setenv("HF_HUB_DOWNLOAD_TIMEOUT", "soon", 1);
  EXPECT_EQ(read_environment().error().code, ErrorCode::usage);
}

}  // namespace
}  // namespace tern::hub
