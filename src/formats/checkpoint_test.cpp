#include "formats/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "formats/file_builder.h"
#include "formats/refusal.h"

namespace tern::formats {
namespace {

namespace fs = std::filesystem;
using enum ErrorCode;

const std::string kTensor =
    safetensors_file(R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
const std::string kGguf =
    GgufBuilder(1, 1).text("general.name", "tiny").tensor("w", {8}, 0, 0).data(32).bytes();

std::string gguf_part(std::uint16_t part, std::uint16_t count, std::int32_t total,
                      std::string_view tensor) {
  GgufBuilder file(1, 3);
  file.scalar("split.no", 2, part).scalar("split.count", 2, count);
  file.scalar("split.tensors.count", 5, total);
  return file.tensor(tensor, {8}, 0, 0).data(32).bytes();
}

/// A folder that is removed at the end of a test.
class CheckpointFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("tern_checkpoint_" + std::to_string(::getpid()) + "_" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, std::string_view contents) const {
    std::ofstream(folder_ / name, std::ios::binary) << contents;
    return folder_ / name;
  }
  auto opening(const std::string& name = "") const {
    return [path = name.empty() ? folder_ : folder_ / name] { return Checkpoint::open(path); };
  }

  fs::path folder_;
};

TEST_F(CheckpointFiles, ADirectoryWithOneSafetensorsFileOpens) {
  write("model.safetensors", kTensor);
  write("config.json", R"({"model_type":"nemotron_h"})");
  write("tokenizer.json", "{}");
  write("empty.txt", "");
  const auto checkpoint = Checkpoint::open(folder_);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->container(), Container::safetensors);
  EXPECT_EQ(checkpoint->display_name(), folder_.string());
  EXPECT_EQ(checkpoint->tensor_bytes(), 4u);
  ASSERT_EQ(checkpoint->files().size(), 1u);
  EXPECT_EQ(checkpoint->files()[0].name, "model.safetensors");
  EXPECT_EQ(checkpoint->files()[0].bytes, kTensor.size());
  EXPECT_EQ(checkpoint->config().at("model_type").as_string(), "nemotron_h");
  EXPECT_TRUE(checkpoint->metadata().entries().empty());
  EXPECT_EQ(**checkpoint->side_file("tokenizer.json"), "{}");
  EXPECT_EQ(**checkpoint->side_file("empty.txt"), "") << "empty is not absent";
  EXPECT_EQ(*checkpoint->side_file("chat_template.jinja"), std::nullopt);
  EXPECT_EQ(checkpoint->side_file("../x").error().code, usage);
}

TEST_F(CheckpointFiles, ViewsOutliveAMoveOfTheCheckpoint) {
  write("model.safetensors", kTensor);
  write("config.json", "{}");
  auto opened = Checkpoint::open(folder_);
  ASSERT_TRUE(opened);
  const std::string_view config = **opened->side_file("config.json");
  const Checkpoint moved = *std::move(opened);
  EXPECT_EQ(as_text(moved.tensors().find("w")->data), "abcd");
  EXPECT_EQ(config, "{}");
}

TEST_F(CheckpointFiles, ASafetensorsFileOpensWithOrWithoutAConfigurationBesideIt) {
  const auto path = write("weights.safetensors", kTensor);
  EXPECT_TRUE(Checkpoint::open(path)->config().empty());
  write("config.json", R"({"a":1})");
  EXPECT_EQ(Checkpoint::open(path)->config().size(), 1u);
}

TEST_F(CheckpointFiles, ADirectoryNeedsItsConfiguration) {
  write("model.safetensors", kTensor);
  EXPECT_TRUE(refuses(opening(), not_found, "config.json"));
  write("config.json", "{");
  EXPECT_TRUE(refuses(opening(), corrupt, "config.json:1:"));
  write("config.json", "[]");
  EXPECT_TRUE(refuses(opening(), corrupt, "no JSON object"));
  write("config.json", R"({"a":1,"a":2})");
  EXPECT_TRUE(refuses(opening(), corrupt, "duplicate key \"a\""));
}

TEST_F(CheckpointFiles, AGgufFileOpensWithItsMetadata) {
  const auto checkpoint = Checkpoint::open(write("m.gguf", kGguf));
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->container(), Container::gguf);
  EXPECT_EQ(checkpoint->metadata().get_string("general.name"), "tiny");
  EXPECT_TRUE(checkpoint->config().empty());
  write("tokenizer.json", "{}");
  EXPECT_EQ(*checkpoint->side_file("tokenizer.json"), std::nullopt);
}

TEST_F(CheckpointFiles, FilesWithoutAnExtensionAreToldApartByTheirFirstBytes) {
  EXPECT_EQ(Checkpoint::open(write("sha256-1", kGguf))->container(), Container::gguf);
  EXPECT_EQ(Checkpoint::open(write("sha256-2", kTensor))->container(), Container::safetensors);
  write("sha256-3", "hello, world");
  EXPECT_TRUE(refuses(opening("sha256-3"), unsupported, "neither"));
  write("sha256-4", "");
  EXPECT_TRUE(refuses(opening("sha256-4"), unsupported, "neither"));
}

TEST_F(CheckpointFiles, ADirectoryWithOneGgufModelOpensWhateverElseIsThere) {
  write("m.gguf", kGguf);
  write("mmproj-m-f16.gguf", kGguf);
  write("README.md", "");
  const auto checkpoint = Checkpoint::open(folder_);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->files()[0].name, "m.gguf");
}

TEST_F(CheckpointFiles, SeveralGgufModelsInADirectoryAreListed) {
  write("m-Q4_K_M.gguf", kGguf);
  write("m-Q8_0.gguf", kGguf);
  EXPECT_TRUE(refuses(opening(), usage, "2 GGUF models: \"m-Q4_K_M.gguf\", \"m-Q8_0.gguf\""));
}

TEST_F(CheckpointFiles, APlaceWithoutAModelSaysWhatWasLookedFor) {
  EXPECT_TRUE(refuses(opening("nowhere"), not_found, "no such file"));
  EXPECT_TRUE(refuses(opening("nowhere.gguf"), not_found, "no such file"));
  EXPECT_TRUE(refuses(opening(), not_found, "model.safetensors.index.json"));
  write("mmproj.gguf", kGguf);
  EXPECT_TRUE(refuses(opening(), not_found, "only the encoder"));
  write("model-00001-of-00002.safetensors", kTensor);
  EXPECT_TRUE(refuses(opening(), not_found, "no model.safetensors.index.json"));
}

TEST_F(CheckpointFiles, PartsOfASplitGgufOpenTogether) {
  write("m-00001-of-00002.gguf", gguf_part(0, 2, 2, "a"));
  write("m-00002-of-00002.gguf", gguf_part(1, 2, 2, "b"));
  for (const std::string name : {"", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) {
    const auto checkpoint = opening(name)();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message();
    EXPECT_EQ(checkpoint->tensors().size(), 2u);
    EXPECT_EQ(checkpoint->files().size(), 2u);
  }
}

TEST_F(CheckpointFiles, MissingPartsOfASplitGgufAreNamed) {
  write("m-00002-of-00003.gguf", gguf_part(1, 3, 3, "b"));
  EXPECT_TRUE(refuses(opening(), not_found,
                      "2 of 3 files of the model are missing: \"m-00001-of-00003.gguf\", "
                      "\"m-00003-of-00003.gguf\""));
}

TEST_F(CheckpointFiles, PartsThatContradictTheirNamesOrEachOtherAreRefused) {
  const std::string one = "m-00001-of-00002.gguf", other = "m-00002-of-00002.gguf";
  const auto pair = [&](std::string_view first, std::string_view second) {
    write(one, first);
    write(other, second);
    return opening(one);
  };
  const auto good = gguf_part(0, 2, 2, "a");
  const auto b = gguf_part(1, 2, 2, "b");
  ASSERT_TRUE(pair(good, b)());
  EXPECT_TRUE(refuses(pair(b, good), corrupt, "split.no"));
  EXPECT_TRUE(refuses(pair(good, good), corrupt, "\"split.no\" is 0 instead of 1"));
  EXPECT_TRUE(refuses(pair(good, gguf_part(1, 3, 2, "b")), corrupt, "\"split.count\" is 3"));
  EXPECT_TRUE(
      refuses(pair(good, gguf_part(1, 2, 3, "b")), corrupt, "2 tensors in all, this one 3"));
  EXPECT_TRUE(refuses(pair(gguf_part(0, 2, 3, "a"), gguf_part(1, 2, 3, "b")), corrupt,
                      "declare 3 tensors in all, they hold 2"));
  EXPECT_TRUE(refuses(pair(gguf_part(0, 2, -1, "a"), b), corrupt, "found -1"));
  EXPECT_TRUE(refuses(pair(good, gguf_part(1, 2, 2, "a")), corrupt, "also in another file"));
  EXPECT_TRUE(refuses(pair(good, kGguf), corrupt, "no key \"split.no\""));
  EXPECT_TRUE(refuses(pair(good, ""), corrupt, other));
}

TEST_F(CheckpointFiles, PartNumbersThatMakeNoSenseAreRefused) {
  write("m-00003-of-00002.gguf", kGguf);
  EXPECT_TRUE(refuses(opening("m-00003-of-00002.gguf"), corrupt, "part 3 of 2"));
  write("m-00000-of-00002.gguf", kGguf);
  EXPECT_TRUE(refuses(opening("m-00000-of-00002.gguf"), corrupt, "part 0 of 2"));
  write("m-00001-of-00000.gguf", kGguf);
  EXPECT_TRUE(refuses(opening("m-00001-of-00000.gguf"), corrupt, "part 1 of 0"));
  write("m-00001-of-99999.gguf", kGguf);
  EXPECT_TRUE(refuses(opening("m-00001-of-99999.gguf"), too_large, "99999"));
  write("renamed.gguf", gguf_part(0, 12, 12, "a"));
  EXPECT_TRUE(refuses(opening("renamed.gguf"), corrupt, "-00001-of-00012.gguf"));
  write("only-00001-of-00001.gguf", kGguf);
  EXPECT_TRUE(opening("only-00001-of-00001.gguf")()) << "one part of one needs no keys";
}

TEST_F(CheckpointFiles, WhatIsNoRegularFileIsRefused) {
  fs::create_directory(folder_ / "folder.gguf");
  EXPECT_TRUE(refuses(opening("folder.gguf"), not_found, "no model in this folder"));
  ASSERT_EQ(::mkfifo((folder_ / "pipe.gguf").c_str(), 0600), 0);
  EXPECT_TRUE(refuses(opening("pipe.gguf"), io, "not a regular file"));
  fs::create_symlink(folder_ / "nowhere", folder_ / "dangling.gguf");
  EXPECT_TRUE(refuses(opening("dangling.gguf"), not_found, "no such file"));
  fs::create_symlink("loop.gguf", folder_ / "loop.gguf");
  EXPECT_TRUE(refuses(opening("loop.gguf"), io, "loop.gguf"));
}

TEST_F(CheckpointFiles, LinksAreFollowedAsADownloadCacheNeedsIt) {
  fs::create_directory(folder_ / "blobs");
  write("blobs/1", gguf_part(0, 2, 2, "a"));
  write("blobs/2", gguf_part(1, 2, 2, "b"));
  fs::create_directory(folder_ / "snapshot");
  fs::create_symlink("../blobs/1", folder_ / "snapshot/m-00001-of-00002.gguf");
  fs::create_symlink("../blobs/2", folder_ / "snapshot/m-00002-of-00002.gguf");
  const auto checkpoint = opening("snapshot/m-00001-of-00002.gguf")();
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->tensors().size(), 2u);
}

TEST_F(CheckpointFiles, OpeningTouchesNoTensorData) {
  constexpr std::uint64_t kBytes = std::uint64_t{40} << 30;  // a sparse file
  const auto path =
      write("big.safetensors",
            safetensors_file(R"({"w":{"dtype":"U8","shape":[)" + std::to_string(kBytes) +
                                 R"(],"data_offsets":[0,)" + std::to_string(kBytes) + "]}}",
                             0));
  fs::resize_file(path, fs::file_size(path) + kBytes);
  const double start = cpu_seconds();
  const auto checkpoint = Checkpoint::open(path);
  EXPECT_LT(cpu_seconds() - start, 0.1);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->tensor_bytes(), kBytes);
  const Tensor* w = checkpoint->tensors().find("w");
  EXPECT_LE(checkpoint->resident_bytes(), 4u << 20) << "the header and what is read ahead";
  EXPECT_EQ(w->data[kBytes - 1], std::byte{0}) << "the last byte can be read";
}

TEST_F(CheckpointFiles, ResidentBytesFollowWhatIsRead) {
  const auto path = write("m.gguf", kGguf);
  const auto checkpoint = Checkpoint::open(path);
  ASSERT_TRUE(checkpoint);
  EXPECT_GT(checkpoint->resident_bytes(), 0u);
  EXPECT_EQ(checkpoint->resident_bytes() % static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)), 0u);
}

TEST(CheckpointInMemory, OpensLikeADirectory) {
  const auto checkpoint = Checkpoint::from_memory(
      "embedded", {{"config.json", as_bytes("{}")}, {"model.safetensors", as_bytes(kTensor)}});
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->display_name(), "embedded");
  EXPECT_EQ(as_text(checkpoint->tensors().find("w")->data), "abcd");
  EXPECT_EQ(checkpoint->resident_bytes(), kTensor.size());
  EXPECT_EQ(**checkpoint->side_file("config.json"), "{}");
  EXPECT_EQ(*checkpoint->side_file("tokenizer.json"), std::nullopt);
  EXPECT_TRUE(refuses([] { return Checkpoint::from_memory("embedded", {}); }, not_found,
                      "embedded: no model"));
}

}  // namespace
}  // namespace tern::formats
