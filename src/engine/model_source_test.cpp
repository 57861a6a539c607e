#include "engine/model_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "hub/cache.h"

namespace tern::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::string_view kName =
    "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit-TQ-KV";
constexpr std::string_view kParent =
    "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit";

/// A cache of the test's own, and no network.
class FindModel : public ::testing::Test {
 protected:
  FindModel() : root(fs::temp_directory_path() / ("tern-find-" + std::to_string(::getpid()))) {
    fs::create_directories(root);
    ::setenv("HF_HUB_CACHE", root.c_str(), 1);
    ::setenv("HF_HUB_OFFLINE", "1", 1);
  }
  ~FindModel() override {
    fs::remove_all(root);
    ::unsetenv("HF_HUB_CACHE");
    ::unsetenv("HF_HUB_OFFLINE");
  }

  /// A repository of files with one byte each.
  fs::path add(std::string_view repository, const std::vector<std::string>& files) {
    const std::string commit(40, 'a');
    const hub::RepoCache cache(root, repository);
    fs::create_directories(cache.folder() / "blobs");
    std::ofstream(cache.blob("e")) << 'x';
    for (const std::string& file : files) EXPECT_TRUE(cache.link(commit, file, "e"));
    EXPECT_TRUE(cache.write_ref("main", commit));
    return cache.snapshot(commit);
  }

  fs::path root;
};

TEST_F(FindModel, TheDemoHasNoPath) {
  EXPECT_EQ(find_model("demo")->path, "");
}

TEST_F(FindModel, APathIsTakenAsItIs) {
  EXPECT_EQ(find_model(root.string())->path, root);
  EXPECT_EQ(find_model("/no/such/path")->path, "/no/such/path");
  EXPECT_EQ(open_checkpoint("/no/such/path").error().code, ErrorCode::not_found);
}

TEST_F(FindModel, ANameIsFoundInTheCacheOfItsParent) {
  const auto snapshot = add(kParent, {"config.json", "model.safetensors"});
  for (const std::string_view name :
       {kName, kParent, std::string_view("turboquant-mlx-4bit-tq-kv")}) {
    const auto source = find_model(name);
    ASSERT_TRUE(source) << source.error().message();
    EXPECT_EQ(source->path, snapshot);
    EXPECT_EQ(source->name, name);
  }
}

TEST_F(FindModel, ARepositoryOfThatVeryNameComesBeforeItsParent) {
  add(kParent, {"config.json", "model.safetensors"});
  const auto own = add(kName, {"config.json", "model.safetensors"});
  EXPECT_EQ(find_model(kName)->path, own);
}

TEST_F(FindModel, WhatIsNotThereSaysHowToGetIt) {
  const auto source = find_model(kName);
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().code, ErrorCode::not_found);
  EXPECT_THAT(source.error().hint, HasSubstr("tern pull"));
  EXPECT_THAT(source.error().hint, HasSubstr(kParent));
}

TEST_F(FindModel, WhatIsIncompleteSaysWhatIsMissing) {
  add(kParent, {"model.safetensors"});
  const auto source = find_model(kParent);
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().code, ErrorCode::not_found);
  EXPECT_THAT(source.error().what, HasSubstr("config.json"));
}

TEST_F(FindModel, NobodyIsAskedWhenTheEnvironmentForbidsIt) {
  const auto source = find_model(kName, {.pull = true});
  ASSERT_FALSE(source);
  EXPECT_THAT(source.error().what, HasSubstr("HF_HUB_OFFLINE"));
}

TEST_F(FindModel, OnlyNamesHaveRevisions) {
  EXPECT_EQ(find_model("demo", {.revision = "v1"}).error().code, ErrorCode::usage);
  EXPECT_EQ(find_model(root.string(), {.revision = "v1"}).error().code, ErrorCode::usage);
}

}  // namespace
}  // namespace tern::engine
