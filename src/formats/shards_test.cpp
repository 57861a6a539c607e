#include "formats/shards.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/file_builder.h"
#include "formats/refusal.h"

namespace tern::formats {
namespace {

using enum ErrorCode;

constexpr std::string_view kIndexName = "model.safetensors.index.json";

std::string shard_of(std::string_view tensor) {
  return safetensors_file(
      "{\"" + std::string(tensor) + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
}
const std::string kShardA = shard_of("a");
const std::string kShardB = shard_of("b");

/// A model of two shards, x and y, with this index.
Result<Checkpoint> open(std::string_view index, std::string_view x = kShardA,
                        std::string_view y = kShardB) {
  return Checkpoint::from_memory("m", {{"config.json", as_bytes("{}")},
                                       {kIndexName, as_bytes(index)},
                                       {"x.safetensors", as_bytes(x)},
                                       {"y.safetensors", as_bytes(y)}});
}
std::string mapped(std::string_view map) {
  return R"({"metadata":{"total_size":8},"weight_map":)" + std::string(map) + "}";
}
const std::string kIndex = mapped(R"({"a":"x.safetensors","b":"y.safetensors"})");

TEST(Shards, AreOneModel) {
  const auto checkpoint = open(kIndex);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->tensor_bytes(), 8u);
  EXPECT_EQ(checkpoint->files()[1].name, "y.safetensors");
}

TEST(Shards, MayHoldTensorsThatTheIndexDoesNotList) {
  const auto checkpoint =
      open(mapped(R"({"a":"x.safetensors"})"),
           safetensors_file(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                            R"("extra":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                            4));
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_NE(checkpoint->tensors().find("extra"), nullptr);
  EXPECT_EQ(checkpoint->tensors().find("b"), nullptr) << "a file that nobody names is not opened";
}

TEST(Shards, AnIndexThatNamesTheSingleFileWorksAsMlxWritesIt) {
  const auto checkpoint = Checkpoint::from_memory(
      "m", {{"config.json", as_bytes("{}")},
            {kIndexName, as_bytes(R"({"weight_map":{"a":"model.safetensors"}})")},
            {"model.safetensors", as_bytes(kShardA)}});
  EXPECT_TRUE(checkpoint) << checkpoint.error().message();
}

struct Lie {
  std::string name;
  std::string index;
  ErrorCode code;
  std::string words;
};

void PrintTo(const Lie& lie, std::ostream* out) {
  *out << lie.name;
}

std::vector<Lie> lies() {
  std::string many = "{";
  for (std::size_t i = 0; i <= kMaxFiles; ++i) {
    if (i > 0) many += ',';
    many += '"' + std::to_string(i) + "\":\"" + std::to_string(i) + ".safetensors\"";
  }
  std::vector<Lie> lies = {
      {"empty_text", "", corrupt, "JSON"},
      {"no_json", "not json", corrupt, "JSON"},
      {"array", "[]", corrupt, "weight_map"},
      {"no_weight_map", R"({"metadata":{}})", corrupt, "weight_map"},
      {"weight_map_is_an_array", mapped("[]"), corrupt, "weight_map"},
      {"weight_map_is_empty", mapped("{}"), corrupt, "weight_map"},
      {"weight_map_is_null", mapped("null"), corrupt, "weight_map"},
      {"weight_map_twice", R"({"weight_map":{},"weight_map":{}})", corrupt, "duplicate"},
      {"tensor_twice", mapped(R"({"a":"x.safetensors","a":"y.safetensors"})"), corrupt,
       "duplicate key \"a\""},
      {"mapped_to_a_number", mapped(R"({"a":1})"), corrupt, "\"a\""},
      {"mapped_to_null", mapped(R"({"a":null})"), corrupt, "\"a\""},
      {"mapped_to_a_list", mapped(R"({"a":["x.safetensors"]})"), corrupt, "\"a\""},
      {"shard_missing", mapped(R"({"a":"x.safetensors","b":"z.safetensors"})"), not_found,
       "1 of 2 files of the model are missing: \"z.safetensors\""},
      {"several_shards_missing", mapped(R"({"a":"u","b":"v","c":"w"})"), not_found,
       "3 of 3 files of the model are missing: \"u\", \"v\", \"w\""},
      {"tensor_in_no_shard", mapped(R"({"a":"x.safetensors","c":"y.safetensors"})"), corrupt,
       "tensor \"c\" is mapped to \"y.safetensors\""},
      {"tensors_swapped", mapped(R"({"a":"y.safetensors","b":"x.safetensors"})"), corrupt,
       "does not hold it"},
      {"shard_is_the_index", mapped(R"({"a":"model.safetensors.index.json"})"), too_large,
       "model.safetensors.index.json"},
      {"shard_is_the_configuration", mapped(R"({"a":"config.json"})"), corrupt, "config.json"},
      {"too_many_shards", mapped(many + "}"), too_large, "1024"},
      {"nesting_too_deep", std::string(100, '['), too_large, "JSON"},
  };
  const std::pair<std::string, std::string> names[] = {{"empty", ""},
                                                       {"dot", "."},
                                                       {"dot_dot", ".."},
                                                       {"parent", "../x.safetensors"},
                                                       {"absolute", "/etc/passwd"},
                                                       {"subfolder", "a/x.safetensors"},
                                                       {"trailing_slash", "x/"},
                                                       {"current", "./x.safetensors"},
                                                       {"backslash", R"(..\\x.safetensors)"},
                                                       {"nul", R"(x.safetensors\u0000.txt)"},
                                                       {"line_break", R"(x\n.safetensors)"},
                                                       {"escape", R"(\u001b[2Jx)"},
                                                       {"delete", R"(x\u007f)"},
                                                       {"too_long", std::string(256, 'x')}};
  for (const auto& [kind, shard] : names)
    lies.push_back({"shard_name_" + kind, mapped("{\"a\":\"" + shard + "\"}"), corrupt,
                    "is no plain file name"});
  return lies;
}

class HostileIndex : public testing::TestWithParam<Lie> {};

TEST_P(HostileIndex, IsRefusedWithItsPlace) {
  const Lie& lie = GetParam();
  EXPECT_TRUE(refuses([&] { return open(lie.index); }, lie.code, lie.words));
}

const auto kByName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Shards, HostileIndex, testing::ValuesIn(lies()), kByName);

TEST(HostileShards, IndexAndShardsAreRefusedWhenCutAnywhere) {
  ASSERT_TRUE(open(kIndex));
  for (std::size_t n = 0; n < kIndex.size(); ++n)
    EXPECT_TRUE(refuses([&] { return open(kIndex.substr(0, n)); }, corrupt, "index.json")) << n;
  for (std::size_t n = 0; n < kShardB.size(); ++n)
    EXPECT_TRUE(
        refuses([&] { return open(kIndex, kShardA, kShardB.substr(0, n)); }, corrupt, "y.safeten"))
        << n;
}

TEST(HostileShards, OfWhichTwoHoldTheSameTensorAreRefused) {
  const auto both = safetensors_file(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                                     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                                     4);
  EXPECT_TRUE(refuses([&] { return open(kIndex, kShardA, both); }, corrupt,
                      "m/y.safetensors: tensor \"a\" is also in another file"));
}

TEST(PartNames, AreTakenApartAndPutTogether) {
  const auto part = parse_part_name("a-b.Q4_K-00002-of-00012.gguf");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->stem, "a-b.Q4_K");
  EXPECT_EQ(part->part, 2u);
  EXPECT_EQ(part->count, 12u);
  EXPECT_EQ(part->of_part(11), "a-b.Q4_K-00011-of-00012.gguf");
  for (const char* name :
       {"m.gguf", "-00001-of-00002.gguf", "m-1-of-2.gguf", "m-00001-of-00002.GGUF",
        "m-0000a-of-00002.gguf", "m_00001-of-00002.gguf", "m-00001-of-00002.gguf.part",
        "m-000001-of-00002.gguf5", ""})
    EXPECT_FALSE(parse_part_name(name)) << name;
}

}  // namespace
}  // namespace tern::formats
