// Files that the reference libraries wrote; tests/golden/formats/make.py says how.
#include <gtest/gtest.h>

#include <boost/crc.hpp>
#include <filesystem>
#include <string>

#include "base/json.h"
#include "base/test_paths.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"

namespace tern::formats {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(source_dir()) / "tests/golden/formats";

std::uint64_t crc32(Bytes bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

json::object manifest_of(const std::string& model) {
  const auto text = read_text_file(kFolder / "manifest.json", 1u << 20);
  EXPECT_TRUE(text) << text.error().message();
  auto manifest = parse_json(*text, "manifest.json");
  EXPECT_TRUE(manifest) << manifest.error().message();
  return manifest->at("models").at(model).as_object();
}

void expect_tensors(const TensorTable& table, const json::object& expected) {
  const json::array& tensors = expected.at("tensors").as_array();
  EXPECT_EQ(table.size(), tensors.size());
  for (const json::value& entry : tensors) {
    const std::string tensor_name(entry.at("name").as_string());
    const Tensor* tensor = table.find(tensor_name);
    ASSERT_NE(tensor, nullptr) << tensor_name;
    EXPECT_EQ(name(tensor->type), entry.at("type").as_string()) << tensor_name;
    EXPECT_EQ(tensor->shape, json::value_to<Shape>(entry.at("shape"))) << tensor_name;
    EXPECT_EQ(crc32(tensor->data), entry.at("crc32").to_number<std::uint64_t>()) << tensor_name;
  }
}

json::value to_json(const GgufArray& array) {
  json::array out;
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        for (const T value : values) out.emplace_back(value);
      },
      array);
  return out;
}

json::value to_json(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value)) return to_json(*array);
  return std::visit(
      []<class T>(const T& scalar) -> json::value {
        if constexpr (std::is_same_v<T, GgufArray>)
          return nullptr;
        else
          return json::value(scalar);
      },
      value);
}

void expect_metadata(const GgufMetadata& metadata, const json::object& expected) {
  const json::object& keys = expected.at("metadata").as_object();
  EXPECT_EQ(metadata.entries().size(), keys.size());
  for (const auto& [key, value] : keys) {
    const GgufValue* found = metadata.find(std::string_view(key.data(), key.size()));
    ASSERT_NE(found, nullptr) << key;
    EXPECT_EQ(to_json(*found), value) << key;
  }
}

TEST(GoldenFormats, SafetensorsOfEveryTypeReadAsTheReferenceWroteThem) {
  const auto file = MappedFile::open(kFolder / "types.safetensors");
  ASSERT_TRUE(file) << file.error().message();
  const auto read = read_safetensors(file->bytes(), "types.safetensors");
  ASSERT_TRUE(read) << read.error().message();
  const auto expected = manifest_of("types.safetensors");
  expect_tensors(read->tensors, expected);
  for (const auto& [key, value] : expected.at("metadata").as_object())
    EXPECT_EQ(read->metadata.at(std::string(key)), value.as_string());
}

TEST(GoldenFormats, ShardedSafetensorsReadAsOneModel) {
  const auto checkpoint = Checkpoint::open(kFolder / "sharded");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->container(), Container::safetensors);
  EXPECT_EQ(checkpoint->files().size(), 2u);
  EXPECT_EQ(checkpoint->tensor_bytes(), 192u);
  EXPECT_EQ(checkpoint->config().at("model_type").as_string(), "tiny");
  expect_tensors(checkpoint->tensors(), manifest_of("sharded"));
}

TEST(GoldenFormats, GgufOfEveryTypeAndKindOfValueReadsAsTheReferenceWroteIt) {
  for (const std::string file : {"types.gguf", "aligned.gguf"}) {
    SCOPED_TRACE(file);
    const auto checkpoint = Checkpoint::open(kFolder / file);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message();
    const auto expected = manifest_of(file);
    expect_tensors(checkpoint->tensors(), expected);
    expect_metadata(checkpoint->metadata(), expected);
  }
}

TEST(GoldenFormats, AnyPartOfASplitGgufOpensTheWholeModel) {
  const auto expected = manifest_of("split-00001-of-00004.gguf");
  for (const char part : {'1', '2', '3', '4'}) {
    const std::string file = std::string("split-0000") + part + "-of-00004.gguf";
    SCOPED_TRACE(file);
    const auto checkpoint = Checkpoint::open(kFolder / file);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message();
    EXPECT_EQ(checkpoint->container(), Container::gguf);
    EXPECT_EQ(checkpoint->files().size(), 4u);
    expect_tensors(checkpoint->tensors(), expected);
    expect_metadata(checkpoint->metadata(), expected);
  }
}

}  // namespace
}  // namespace tern::formats
