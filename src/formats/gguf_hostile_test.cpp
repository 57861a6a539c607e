// Files that lie. Each case is a small valid file with one thing wrong; the arithmetic ones are the
// shapes of published faults of other readers.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "formats/file_builder.h"
#include "formats/gguf.h"
#include "formats/refusal.h"

namespace tern::formats {
namespace {

using enum ErrorCode;

constexpr std::uint64_t kOnes = ~std::uint64_t{0};
constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;

Result<Gguf> read(std::string_view file) {
  return read_gguf(as_bytes(file), "model.gguf");
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

std::string header(std::uint32_t version, std::uint64_t tensors = 0, std::uint64_t keys = 0) {
  return GgufBuilder(tensors, keys, version).raw(std::string(64, '\0')).bytes();
}

std::vector<Lie> lies_about_the_file() {
  std::string big_endian = header(3);
  std::swap(big_endian[4], big_endian[7]);
  return {
      {"empty_file", "", corrupt, "empty"},
      {"three_bytes", "GGU", corrupt, "GGUF"},
      {"only_the_magic_number", "GGUF", corrupt, "version"},
      {"magic_in_lower_case", "gguf" + header(3).substr(4), corrupt, "GGUF"},
      {"lfs_pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", corrupt,
       "git lfs pull"},
      {"web_page", "<!doctype html><html>", corrupt, "web page"},
      {"error_reply", "Entry not found", corrupt, "download server"},
      {"invalid_credentials", "Invalid username or password.", corrupt, "download server"},
      {"zip_archive", "PK\x03\x04...", corrupt, "zip"},
      {"all_zeros", std::string(64, '\0'), corrupt, "zeros"},
      {"old_ggml_file", "tjgg" + std::string(8, '\3'), corrupt, "before GGUF"},
      {"safetensors_under_the_wrong_name", safetensors_file("{}        ", 0), corrupt,
       "safetensors"},
      {"version_0", header(0), unsupported, "version 0"},
      {"version_1", header(1), unsupported, "newer conversion"},
      {"version_4", header(4), unsupported, "version 4"},
      {"version_all_ones", header(~0u), unsupported, "4294967295"},
      {"big_endian", big_endian, unsupported, "big-endian"},
      {"more_tensors_than_bytes", header(3, 3), corrupt, "3 tensors"},
      {"tensor_count_2_to_the_63", header(3, kHalf), corrupt, "9223372036854775808 tensors"},
      {"tensor_count_all_ones", header(3, kOnes), corrupt, "18446744073709551615 tensors"},
      {"tensor_count_that_wraps_when_multiplied", header(3, kOnes / 32 + 2), corrupt, "tensors"},
      {"more_keys_than_bytes", header(3, 0, 6), corrupt, "6 metadata keys"},
      {"key_count_2_to_the_63", header(3, 0, kHalf), corrupt, "metadata keys"},
      {"key_count_all_ones", header(3, 0, kOnes), corrupt, "metadata keys"},
      {"tensor_count_over_the_limit",
       GgufBuilder(131'073, 0).raw(std::string(131'073 * 32, '\0')).bytes(), too_large, "131072"},
      {"key_count_over_the_limit",
       GgufBuilder(0, 65'537).raw(std::string(65'537 * 13, '\0')).bytes(), too_large, "65536"},
  };
}

/// A file with one key whose value follows, and room behind it.
std::string keyed(GgufBuilder builder) {
  return builder.raw(std::string(64, '\0')).bytes();
}
std::string aligned(std::uint32_t type, std::uint64_t value, std::size_t bytes) {
  return keyed(
      GgufBuilder(0, 1).key("general.alignment", type).raw(little_endian(value).substr(0, bytes)));
}

std::vector<Lie> lies_about_keys() {
  const auto file = [] { return GgufBuilder(0, 1); };
  const auto length = [&](std::uint64_t n) { return keyed(file().number("key length", n)); };
  const auto text = [&](std::uint64_t n) { return keyed(file().key("k", 8).number("length", n)); };
  const auto array = [&](std::uint32_t type, std::uint64_t n) {
    return keyed(file().array("k", type, n));
  };
  return {
      {"key_length_past_the_end", length(1000), corrupt, "1000 bytes"},
      {"key_length_2_to_the_63", length(kHalf), corrupt, "a metadata key"},
      {"key_length_all_ones", length(kOnes), corrupt, "a metadata key"},
      {"key_length_that_wraps_the_offset", length(kOnes - 31), corrupt, "a metadata key"},
      {"key_over_64_kilobytes", keyed(file().string("key", std::string(65'536, 'k'))), corrupt,
       "65536"},
      {"key_twice", keyed(GgufBuilder(0, 2).scalar("k", 4, 1u).scalar("k", 4, 1u)), corrupt,
       "duplicate"},
      {"value_type_13", keyed(file().key("k", 13)), corrupt, "value type 13"},
      {"value_type_all_ones", keyed(file().key("k", ~0u)), corrupt, "4294967295"},
      {"bool_that_is_2", keyed(file().scalar("k", 7, std::uint8_t{2})), corrupt, "a bool is 2"},
      {"bool_in_an_array_that_is_255", keyed(file().array("k", 7, 1).raw("\xff")), corrupt,
       "a bool is 255"},
      {"string_past_the_end", text(1000), corrupt, "1000 bytes"},
      {"string_length_2_to_the_63", text(kHalf), corrupt, "a string"},
      {"string_length_all_ones", text(kOnes), corrupt, "a string"},
      {"string_length_minus_the_offset", text(kOnes - 48), corrupt, "a string"},
      {"number_cut_off", file().key("k", 10).raw("\1\2\3").bytes(), corrupt, "8 bytes"},
      {"array_of_arrays", array(9, 1), unsupported, "array of arrays"},
      {"array_of_unknown_elements", array(13, 1), corrupt, "value type 13"},
      {"array_longer_than_the_file", array(10, 9), corrupt, "9 array elements"},
      {"array_count_2_to_the_63", array(0, kHalf), corrupt, "array elements"},
      {"array_count_all_ones", array(0, kOnes), corrupt, "array elements"},
      {"array_of_u64_that_wraps_to_zero_bytes", array(10, std::uint64_t{1} << 61), corrupt,
       "array elements"},
      {"array_of_u32_that_wraps_to_four_bytes", array(4, (std::uint64_t{1} << 62) + 1), corrupt,
       "array elements"},
      {"array_of_strings_without_room_for_lengths", array(8, 9), corrupt, "array elements"},
      {"string_in_an_array_past_the_end",
       keyed(file().array("k", 8, 1).number("length", kOnes - 7)), corrupt, "a string"},
      {"array_over_the_element_limit",
       file()
           .array("k", 0, kMaxGgufArrayElements + 1)
           .raw(std::string(kMaxGgufArrayElements + 1, '\1'))
           .bytes(),
       too_large, "16777216"},
      {"alignment_0", aligned(4, 0, 4), corrupt, "general.alignment\" is 0"},
      {"alignment_1", aligned(4, 1, 4), corrupt, "is 1"},
      {"alignment_4", aligned(4, 4, 4), corrupt, "is 4"},
      {"alignment_24", aligned(4, 24, 4), corrupt, "power of two"},
      {"alignment_of_two_gigabytes", aligned(4, 1u << 31, 4), corrupt, "2147483648"},
      {"alignment_2_to_the_63", aligned(10, kHalf, 8), corrupt, "9223372036854775808"},
      {"alignment_all_ones", aligned(10, kOnes, 8), corrupt, "18446744073709551615"},
      {"alignment_negative", aligned(5, kOnes, 4), corrupt, "found -1"},
      {"alignment_is_a_float", aligned(6, 0, 4), corrupt, "found a float"},
      {"alignment_is_a_string", keyed(file().text("general.alignment", "32")), corrupt,
       "found a string"},
      {"alignment_is_an_array", keyed(file().array("general.alignment", 4, 0)), corrupt,
       "found an array"},
      {"control_characters_in_a_key_are_not_echoed", keyed(file().key("\x1b[2J", 99)), corrupt,
       "\\x1b[2J"},
  };
}

/// One tensor "t" with 64 bytes of data behind it.
std::string one(const std::vector<std::uint64_t>& dims, std::uint32_t type, std::uint64_t offset) {
  return GgufBuilder(1, 0).tensor("t", dims, type, offset).data(64).bytes();
}

std::vector<Lie> lies_about_tensors() {
  const auto name_length = [](std::uint64_t n) {
    return GgufBuilder(1, 0).number("length", n).raw(std::string(64, '\0')).bytes();
  };
  const auto dimensions = [](std::uint32_t n) {
    return GgufBuilder(1, 0)
        .string("name", "t")
        .number("count", n)
        .raw(std::string(99, '\1'))
        .bytes();
  };
  std::vector<Lie> lies = {
      {"name_past_the_end", name_length(100), corrupt, "a tensor name"},
      {"name_length_all_ones", name_length(kOnes), corrupt, "a tensor name"},
      {"no_dimensions", dimensions(0), corrupt, "0 axes"},
      {"five_dimensions", dimensions(5), corrupt, "5 axes"},
      {"dimension_count_all_ones", dimensions(~0u), corrupt, "4294967295 axes"},
      {"extent_zero", one({0}, 0, 0), corrupt, "[0]"},
      {"extent_zero_beside_a_huge_one", one({kHalf, 0}, 0, 0), corrupt, "is 0"},
      {"extent_negative_one", one({kOnes}, 0, 0), corrupt, "wraps"},
      {"extent_too_small", one({7}, 0, 0), corrupt, "belong to no tensor"},
      {"extent_too_large", one({17}, 0, 0), corrupt, "past"},
      {"size_beyond_the_file", one({1u << 30}, 0, 0), corrupt, "past"},
      {"offset_beyond_the_file", one({16}, 0, 1u << 30), corrupt, "past"},
      {"offset_just_behind_the_data", one({16}, 0, 64), corrupt, "past"},
      {"offset_2_to_the_63", one({16}, 0, kHalf), corrupt, "past"},
      {"offset_all_ones", one({16}, 0, kOnes), corrupt, "wrap 64"},
      {"offset_misaligned", one({8}, 0, 4), corrupt, "multiple of 32"},
      {"row_of_q4_0_not_whole_blocks", one({33}, 2, 0), corrupt, "are no whole number"},
      {"row_of_q8_0_smaller_than_a_block", one({16, 2}, 8, 0), corrupt, "are no whole number"},
      {"row_of_q4_k_not_whole_blocks", one({128, 2}, 12, 0), corrupt, "are no whole number"},
      // Products that wrap 64 bits: llama.cpp pull request 14595, CVE-2025-53630.
      {"cve_2025_53630_extents_wrap_to_zero", one({1ull << 32, 1ull << 32}, 0, 0), corrupt,
       "wraps"},
      {"cve_2025_53630_extents_wrap_to_the_right_count", one({16, (1ull << 60) + 1}, 0, 0), corrupt,
       "wraps"},
      {"cve_2025_53630_four_extents_wrap",
       one({1ull << 17, 1ull << 17, 1ull << 17, 1ull << 17}, 0, 0), corrupt, "wraps"},
      // The bytes wrap although the count of elements does not: its bypass, CVE-2026-27940.
      {"cve_2026_27940_bytes_wrap_to_zero", one({1ull << 62}, 0, 0), corrupt, "wraps"},
      {"cve_2026_27940_bytes_wrap_to_the_right_size", one({(1ull << 62) + 16}, 0, 0), corrupt,
       "wraps"},
      {"cve_2026_27940_f64_bytes_wrap", one({(1ull << 61) + 8}, 28, 0), corrupt, "wraps"},
      {"cve_2026_27940_offset_and_size_wrap", one({16}, 0, kOnes - 31), corrupt, "wrap 64"},
      // Rounding up to the alignment wraps: llama.cpp pull request 24759.
      {"padded_size_wraps", one({kOnes - 7}, 24, 0), corrupt, "past"},
      {"padded_offset_wraps", one({1}, 24, kOnes - 31), corrupt, "past"},
      // Bytes of blocks wrap: llama.cpp pull request 27200.
      {"q4_0_bytes_wrap", one({32 * (kOnes / 32 / 18 + 2)}, 2, 0), corrupt, "past"},
      {"q8_0_bytes_wrap", one({kOnes - 31}, 8, 0), corrupt, "wraps"},
      {"q6_k_elements_wrap_to_zero", one({1ull << 40, 1ull << 24}, 14, 0), corrupt, "past"},
      {"mxfp4_elements_wrap_to_zero", one({1ull << 32, 1ull << 32}, 39, 0), corrupt, "past"},
      // Reads beyond the file while quantizing: Ollama, CVE-2026-7482.
      {"cve_2026_7482_size_beyond_the_file", one({1ull << 20, 1ull << 20}, 1, 0), corrupt, "past"},
      {"cve_2026_7482_offset_beyond_the_file", one({16}, 0, 1ull << 40), corrupt, "past"},
  };
  for (const std::uint32_t type : {4u, 5u, 9u, 15u, 31u, 36u, 40u, 1000u, 0x80000000u, ~0u})
    lies.push_back({"type_" + std::to_string(type), one({32}, type, 0), unsupported,
                    "tensor \"t\": type " + std::to_string(type)});
  lies.push_back({"type_known_by_name_only", one({256}, 16, 0), unsupported, "iq2_xxs"});
  return lies;
}

/// Two F32 tensors of 8 elements each.
std::string two(std::string_view a, std::uint64_t at, std::string_view b, std::uint64_t bt,
                std::size_t data) {
  return GgufBuilder(2, 0).tensor(a, {8}, 0, at).tensor(b, {8}, 0, bt).data(data).bytes();
}

std::vector<Lie> lies_about_the_data() {
  return {
      {"names_twice", two("t", 0, "t", 32, 64), corrupt, "two tensors are named \"t\""},
      {"tensors_share_their_bytes", two("a", 0, "b", 0, 32), corrupt, "overlap tensor \"a\""},
      {"tensors_overlap",
       GgufBuilder(2, 0).tensor("a", {16}, 0, 0).tensor("b", {16}, 0, 32).data(96).bytes(), corrupt,
       "overlap tensor \"a\" at 0..64"},
      {"gap_between_tensors", two("a", 0, "b", 64, 96), corrupt, "belong to no tensor"},
      {"gap_before_the_first_tensor", two("a", 32, "b", 64, 96), corrupt, "belong to no tensor"},
      {"last_tensor_cut_off", two("a", 0, "b", 32, 63), corrupt, "past"},
      {"data_section_missing", GgufBuilder(1, 0).tensor("a", {8}, 0, 0).bytes(), corrupt,
       "before its tensor data"},
      {"trailing_bytes", two("a", 0, "b", 32, 96), corrupt, "belong to no tensor"},
      {"polyglot_with_an_archive_behind",
       two("a", 0, "b", 32, 64) + "PK\x03\x04" + std::string(60, 'z'), corrupt,
       "belong to no tensor"},
      {"trailing_bytes_without_tensors", GgufBuilder(0, 0).data(32).bytes(), corrupt,
       "belong to no tensor"},
  };
}

class HostileGguf : public testing::TestWithParam<Lie> {};

TEST_P(HostileGguf, IsRefusedWithItsPlace) {
  const Lie& lie = GetParam();
  EXPECT_TRUE(refuses([&] { return read(lie.file); }, lie.code, lie.words));
  EXPECT_TRUE(refuses([&] { return read(lie.file); }, lie.code, "model.gguf"));
}

const auto kByName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(File, HostileGguf, testing::ValuesIn(lies_about_the_file()), kByName);
INSTANTIATE_TEST_SUITE_P(Key, HostileGguf, testing::ValuesIn(lies_about_keys()), kByName);
INSTANTIATE_TEST_SUITE_P(Tensor, HostileGguf, testing::ValuesIn(lies_about_tensors()), kByName);
INSTANTIATE_TEST_SUITE_P(Data, HostileGguf, testing::ValuesIn(lies_about_the_data()), kByName);

/// A file with one of everything, whose last tensor ends with the file.
GgufBuilder valid() {
  GgufBuilder file(3, 5);
  file.scalar("general.alignment", 4, 32u).text("general.name", "tiny");
  file.array("counts", 4, 3).number("element", 5u).number("element", 6u).number("element", 7u);
  file.array("tokens", 8, 2).string("element", "one").string("element", "two");
  file.scalar("scale", 12, 0.25);
  file.tensor("norm", {24}, 0, 0).tensor("proj", {64, 3}, 8, 96).tensor("conv", {4, 2, 8}, 1, 320);
  return file.data(320 + 128);
}

TEST(HostileGgufFile, IsRefusedWhenCutAnywhere) {
  const std::string file = valid().bytes();
  ASSERT_TRUE(read(file));
  for (std::size_t n = 0; n < file.size(); ++n) {
    // An exact copy, so that a read past the end is one past the allocation.
    const std::vector<char> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_TRUE(refuses([&] { return read({cut.data(), n}); }, corrupt, "model.gguf"))
        << "cut at " << n;
  }
}

TEST(HostileGgufFile, IsRefusedWhenAnyOfItsNumbersIsALie) {
  const GgufBuilder builder = valid();
  for (const GgufBuilder::Field& field : builder.fields()) {
    // Values of keys mean nothing to the reader, but for the alignment.
    if (field.what == "element" || field.what == "value of scale") continue;
    const std::uint64_t top = std::uint64_t{1} << (8 * field.bytes - 1);
    std::uint64_t truth = 0;
    std::memcpy(&truth, builder.bytes().data() + field.offset, field.bytes);
    for (const std::uint64_t lie : {std::uint64_t{0}, std::uint64_t{1}, kOnes, top, top - 1,
                                    truth + 1, truth - 1, truth * 2, truth + (top >> 1)}) {
      if (field.what == "version" && lie == 2) continue;  // a version that is read, too
      // A type of the same width describes the same bytes, and one element may end in padding.
      const bool neighbour = lie - truth + 1 <= 2;
      if (neighbour && (field.what.ends_with("type") || field.what == "dimension")) continue;
      std::string file = builder.bytes();
      if (std::memcmp(file.data() + field.offset, &lie, field.bytes) == 0) continue;
      std::memcpy(file.data() + field.offset, &lie, field.bytes);
      const auto result = read(file);
      ASSERT_FALSE(result) << field.what << " at " << field.offset << " is " << lie;
      EXPECT_NE(result.error().where.find("model.gguf"), std::string::npos) << field.what;
      EXPECT_NE(result.error().code, internal);
    }
  }
}

TEST(HostileGgufFile, SurvivesEveryByteBeingChanged) {
  const std::string file = valid().bytes();
  for (std::size_t at = 0; at < file.size(); ++at)
    for (const int flip : {0x01, 0x20, 0x80, 0xff}) {
      std::string changed = file;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      const auto result = read(changed);
      EXPECT_TRUE(result || !result.error().where.empty());
    }
}

}  // namespace
}  // namespace tern::formats
