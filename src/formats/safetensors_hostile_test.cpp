// Files that lie. Each case is a small valid file with one thing wrong.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/file_builder.h"
#include "formats/refusal.h"
#include "formats/safetensors.h"

namespace tern::formats {
namespace {

using enum ErrorCode;

Result<Safetensors> read(std::string_view file) {
  return read_safetensors(as_bytes(file), "model.safetensors");
}

struct Lie {
  std::string name;
  std::string file;
  ErrorCode code;
  std::string words;
};

void PrintTo(const Lie& lie, std::ostream* out) {
  *out << lie.name;
}

/// One tensor with 8 bytes of data behind it.
std::string one(std::string_view fields) {
  return safetensors_file("{\"t\":{" + std::string(fields) + "}}", 8);
}
std::string shaped(std::string_view shape) {
  return one(R"("dtype":"U8","shape":)" + std::string(shape) + R"(,"data_offsets":[0,8])");
}
std::string placed(std::string_view offsets) {
  return one(R"("dtype":"U8","shape":[8],"data_offsets":)" + std::string(offsets));
}
/// Two U8 tensors in `data` bytes.
std::string two(std::string_view a, std::string_view b, std::size_t data) {
  const auto entry = [](std::string_view name, std::string_view rest) {
    return "\"" + std::string(name) + R"(":{"dtype":"U8",)" + std::string(rest) + "}";
  };
  return safetensors_file("{" + entry("a", a) + "," + entry("b", b) + "}", data);
}
std::string with_length(std::uint64_t length) {
  return little_endian(length) + "{}" + std::string(30, ' ');
}

std::vector<Lie> lies_about_the_file() {
  std::string bad_utf8 = one(R"("dtype":"U8","shape":[8],"data_offsets":[0,8])");
  bad_utf8[10] = static_cast<char>(0xff);
  return {
      {"empty_file", "", corrupt, "empty"},
      {"shorter_than_its_length_field", "\x10\0\0", corrupt, "8 bytes"},
      {"header_longer_than_the_file", with_length(33), corrupt, "33"},
      {"header_length_just_over_the_limit", with_length(100'000'001), too_large, "100000001"},
      {"header_length_2_to_the_63", with_length(std::uint64_t{1} << 63), too_large, "100000000"},
      {"header_length_all_ones", with_length(~std::uint64_t{0}), too_large, "18446744073709551615"},
      {"header_length_zero", with_length(0), corrupt, "'{'"},
      {"header_length_one", with_length(1), corrupt, "header:1:"},
      {"lfs_pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
       too_large, "git lfs pull"},
      {"web_page", "<!DOCTYPE html><html><body>Not found</body></html>", too_large, "web page"},
      {"web_page_after_blank_lines", "\n\n  <HTML><body></body></html>", too_large, "web page"},
      {"json_error_reply", R"({"error":"Repository not found"})", too_large, "download server"},
      {"gguf_under_the_wrong_name", "GGUF\x03" + std::string(40, '\0'), too_large, "GGUF"},
      {"zip_archive", "PK\x03\x04" + std::string("\x14\0\0\0\x08\0", 6), too_large, "zip"},
      {"all_zeros", std::string(64, '\0'), corrupt, "zeros"},
      {"header_begins_with_a_space", safetensors_file(" {}", 0), corrupt, "'{'"},
      {"header_is_an_array", safetensors_file("[]", 0), corrupt, "'{'"},
      {"header_is_a_string", safetensors_file("\"{}\"", 0), corrupt, "'{'"},
      {"header_ends_early", safetensors_file("{\"t\":", 8), corrupt, "header:1:"},
      {"second_value_after_the_header", safetensors_file("{}{}", 0), corrupt, "after the value"},
      {"nul_after_the_header", safetensors_file(std::string("{}\0", 3), 0), corrupt, "after"},
      {"name_that_is_not_utf8", bad_utf8, corrupt, "header:1:"},
      {"nesting_too_deep",
       safetensors_file("{\"a\":" + std::string(99, '[') + std::string(99, ']') + "}", 0),
       too_large, "header:1:"},
      {"metadata_is_an_array", safetensors_file(R"({"__metadata__":[]})", 0), corrupt,
       "__metadata__"},
      {"metadata_value_is_a_number", safetensors_file(R"({"__metadata__":{"k":1}})", 0), corrupt,
       "\"k\""},
      {"metadata_value_is_null", safetensors_file(R"({"__metadata__":{"k":null}})", 0), corrupt,
       "\"k\""},
      {"metadata_twice", safetensors_file(R"({"__metadata__":{},"__metadata__":{}})", 0), corrupt,
       "duplicate"},
      {"metadata_key_twice", safetensors_file(R"({"__metadata__":{"k":"a","k":"b"}})", 0), corrupt,
       "duplicate"},
  };
}

std::vector<Lie> lies_about_entries() {
  return {
      {"entry_is_a_number", safetensors_file(R"({"t":1})", 8), corrupt, "\"t\""},
      {"entry_is_an_array", safetensors_file(R"({"t":[]})", 8), corrupt, "\"t\""},
      {"unknown_field", one(R"("dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1)"), corrupt,
       "\"x\""},
      {"field_twice", one(R"("dtype":"U8","shape":[8],"shape":[8],"data_offsets":[0,8])"), corrupt,
       "duplicate"},
      {"no_dtype", one(R"("shape":[8],"data_offsets":[0,8])"), corrupt, "dtype"},
      {"no_shape", one(R"("dtype":"U8","data_offsets":[0,8])"), corrupt, "shape"},
      {"no_offsets", one(R"("dtype":"U8","shape":[8])"), corrupt, "data_offsets"},
      {"dtype_is_a_number", one(R"("dtype":1,"shape":[8],"data_offsets":[0,8])"), corrupt, "dtype"},
      {"dtype_unknown", one(R"("dtype":"F7","shape":[8],"data_offsets":[0,8])"), unsupported, "F7"},
      {"dtype_in_lower_case", one(R"("dtype":"u8","shape":[8],"data_offsets":[0,8])"), unsupported,
       "u8"},
      {"dtype_empty", one(R"("dtype":"","shape":[8],"data_offsets":[0,8])"), unsupported, "dtype"},
      {"dtype_sub_byte", one(R"("dtype":"F4","shape":[16],"data_offsets":[0,8])"), unsupported,
       "F4"},
      {"shape_is_a_number", shaped("8"), corrupt, "shape"},
      {"shape_is_nested", shaped("[[8]]"), corrupt, "shape"},
      {"nine_axes", shaped("[8,1,1,1,1,1,1,1,1]"), unsupported, "9 axes"},
      {"shape_too_small", shaped("[7]"), corrupt, "takes 7 bytes"},
      {"shape_too_large", shaped("[9]"), corrupt, "takes 9 bytes"},
      {"shape_with_zero_but_with_data", shaped("[8,0]"), corrupt, "takes 0 bytes"},
      {"scalar_with_too_much_data", shaped("[]"), corrupt, "takes 1 bytes"},
      {"extents_wrap_to_zero", shaped("[4294967296,4294967296]"), corrupt, "wraps 64 bits"},
      {"extents_wrap_to_the_right_size", shaped("[9223372036854775812,2]"), corrupt,
       "wraps 64 bits"},
      {"extents_wrap_behind_a_zero", shaped("[0,9223372036854775808,2]"), corrupt, "wraps 64 bits"},
      {"bytes_wrap_behind_a_zero",
       one(R"("dtype":"F64","shape":[9223372036854775808,0],"data_offsets":[0,0])"), corrupt,
       "wraps 64 bits"},
      {"bytes_wrap_to_the_right_size",
       one(R"("dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8])"), corrupt,
       "wraps 64 bits"},
      {"offsets_are_an_object", placed("{}"), corrupt, "data_offsets"},
      {"one_offset", placed("[0]"), corrupt, "1 numbers"},
      {"three_offsets", placed("[0,8,8]"), corrupt, "3 numbers"},
      {"offsets_backwards", placed("[8,0]"), corrupt, "before it begins"},
      {"offsets_past_the_end", placed("[1,9]"), corrupt, "past"},
      {"offsets_far_past_the_end", placed("[9223372036854775808,9223372036854775816]"), corrupt,
       "past"},
      {"offsets_that_wrap", placed("[18446744073709551608,0]"), corrupt, "before it begins"},
      {"end_all_ones", placed("[0,18446744073709551615]"), corrupt, "18446744073709551615"},
      {"data_cut_short",
       safetensors_file(R"({"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", 7), corrupt,
       "past"},
      {"control_characters_in_a_name_are_not_echoed", safetensors_file("{\"\\u001b[31m\":1}", 0),
       corrupt, "\\x1b[31m"},
  };
}

std::vector<Lie> lies_about_the_data() {
  const std::string a04 = R"("shape":[4],"data_offsets":[0,4])";
  return {
      {"names_twice",
       safetensors_file(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                        2),
       corrupt, "duplicate"},
      {"names_twice_by_an_escape",
       safetensors_file(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("\u0074":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                        2),
       corrupt, "duplicate"},
      {"tensors_overlap_by_one", two(a04, R"("shape":[4],"data_offsets":[3,7])", 7), corrupt,
       "overlap tensor \"a\" at 0..4"},
      {"tensors_share_their_bytes", two(a04, a04, 4), corrupt, "overlap"},
      {"tensor_inside_another",
       two(R"("shape":[9],"data_offsets":[0,9])", R"("shape":[2],"data_offsets":[3,5])", 9),
       corrupt, "overlap"},
      {"empty_tensor_inside_another", two(a04, R"("shape":[0],"data_offsets":[2,2])", 4), corrupt,
       "overlap"},
      {"empty_tensor_past_the_end", two(a04, R"("shape":[0],"data_offsets":[5,5])", 4), corrupt,
       "past"},
      {"gap_between_tensors", two(a04, R"("shape":[4],"data_offsets":[5,9])", 9), corrupt,
       "belong to no tensor"},
      {"gap_before_the_first_tensor",
       two(R"("shape":[4],"data_offsets":[1,5])", R"("shape":[4],"data_offsets":[5,9])", 9),
       corrupt, "belong to no tensor"},
      {"trailing_byte", two(a04, R"("shape":[4],"data_offsets":[4,8])", 9), corrupt,
       "belong to no tensor"},
      {"trailing_bytes_without_tensors", safetensors_file("{}", 1), corrupt, "belong to no tensor"},
      {"polyglot_with_an_archive_behind",
       two(a04, R"("shape":[4],"data_offsets":[4,8])", 8) + "PK\x03\x04", corrupt,
       "belong to no tensor"},
  };
}

class HostileSafetensors : public testing::TestWithParam<Lie> {};

TEST_P(HostileSafetensors, IsRefusedWithItsPlace) {
  const Lie& lie = GetParam();
  EXPECT_TRUE(refuses([&] { return read(lie.file); }, lie.code, lie.words));
  EXPECT_TRUE(refuses([&] { return read(lie.file); }, lie.code, "model.safetensors"));
}

const auto kByName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(File, HostileSafetensors, testing::ValuesIn(lies_about_the_file()),
                         kByName);
INSTANTIATE_TEST_SUITE_P(Entry, HostileSafetensors, testing::ValuesIn(lies_about_entries()),
                         kByName);
INSTANTIATE_TEST_SUITE_P(Data, HostileSafetensors, testing::ValuesIn(lies_about_the_data()),
                         kByName);

constexpr std::string_view kValid =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]}})";

TEST(HostileSafetensorsFile, IsRefusedWhenCutAnywhere) {
  const auto file = safetensors_file(kValid, 34);
  ASSERT_TRUE(read(file));
  for (std::size_t n = 0; n < file.size(); ++n) {
    // An exact copy, so that a read past the end is one past the allocation.
    const std::string cut(file.data(), n);
    EXPECT_TRUE(refuses([&] { return read(cut); }, corrupt, "model.safetensors")) << "cut at " << n;
  }
}

TEST(HostileSafetensorsFile, IsRefusedWhenAnyNumberOfItsHeaderIsALie) {
  // Every number of the valid header in turn: 2 3 0 24 5 24 34.
  std::vector<std::pair<std::size_t, std::size_t>> numbers;
  for (std::size_t at = 1; at < kValid.size(); ++at) {
    if ((kValid[at - 1] != '[' && kValid[at - 1] != ',') || kValid[at] == '"') continue;
    numbers.emplace_back(at, kValid.find_first_of(",]", at) - at);
  }
  ASSERT_EQ(numbers.size(), 7u);
  const char* const lies[] = {"0",
                              "1",
                              "-1",
                              "18446744073709551615",
                              "9223372036854775808",
                              "18446744073709551616",
                              "-9223372036854775808",
                              "-9223372036854775809",
                              "1.0",
                              "2.5",
                              "1e1",
                              "1e400",
                              "-0.0",
                              "100000000000000000000000000000000000000000000000000",
                              "\"1\"",
                              "null",
                              "true",
                              "[]",
                              "[1]",
                              "{}",
                              "NaN",
                              "Infinity",
                              "-Infinity",
                              "0x1",
                              "01",
                              "+1",
                              "1.",
                              ".5",
                              "",
                              "1_000",
                              "/*1*/1"};
  for (const auto& [at, length] : numbers) {
    for (const std::string lie : lies) {
      if (lie == kValid.substr(at, length)) continue;
      std::string header(kValid);
      header.replace(at, length, lie);
      const auto result = read(safetensors_file(header, 34));
      ASSERT_FALSE(result) << header;
      EXPECT_NE(result.error().code, internal) << header;
      EXPECT_NE(result.error().where.find("model.safetensors"), std::string::npos) << header;
    }
  }
}

TEST(HostileSafetensorsFile, SurvivesEveryByteBeingChanged) {
  const auto file = safetensors_file(kValid, 34);
  for (std::size_t at = 0; at < 8 + kValid.size(); ++at)
    for (const int flip : {0x01, 0x20, 0x80, 0xff}) {
      std::string changed = file;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      const auto result = read(changed);
      EXPECT_TRUE(result || !result.error().where.empty());
    }
}

}  // namespace
}  // namespace tern::formats
