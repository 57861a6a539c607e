// A folder of files in memory: a sound checkpoint or an error with a place.
//
// The input holds the files: a name's length and the name, two bytes for the length of the
// contents, and the contents; the last file takes what is left. A safetensors file loses its length
// field on the way in, so that the fuzzer need not guess how long its header is: the header ends at
// the first "\n", which is replaced by a space.
#include <cstring>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "formats/checkpoint.h"

namespace {

std::string_view take(std::string_view& input, std::size_t count) {
  const auto taken = input.substr(0, count);
  input.remove_prefix(taken.size());
  return taken;
}

std::size_t take_number(std::string_view& input, std::size_t bytes) {
  std::size_t number = 0;
  for (const char c : take(input, bytes)) number = number * 256 + static_cast<unsigned char>(c);
  return number;
}

std::string contents_of(std::string_view name, std::string_view text) {
  std::string contents(text);
  if (!name.ends_with(".safetensors")) return contents;
  const std::size_t newline = contents.find('\n');
  if (newline == std::string::npos) return contents;
  contents[newline] = ' ';
  const std::uint64_t length = newline + 1;
  std::string field(sizeof length, '\0');
  std::memcpy(field.data(), &length, sizeof length);
  return field + contents;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::list<std::string> contents;  // stays where it is
  std::vector<tern::formats::MemoryFile> files;
  while (!input.empty() && files.size() < 16) {
    const auto name = take(input, take_number(input, 1));
    const std::size_t length = take_number(input, 2);
    contents.push_back(contents_of(name, take(input, length)));
    files.push_back({name, std::as_bytes(std::span(contents.back()))});
  }
  const auto checkpoint = tern::formats::Checkpoint::from_memory("fuzz", files);
  if (!checkpoint) {
    TERN_CHECK(!checkpoint.error().where.empty() && !checkpoint.error().what.empty());
    return 0;
  }
  std::uint64_t bytes = 0;
  for (const tern::Tensor& tensor : checkpoint->tensors().tensors()) {
    TERN_CHECK(checkpoint->tensors().find(tensor.name) == &tensor);
    bytes += tensor.data.size();
  }
  TERN_CHECK(bytes == checkpoint->tensor_bytes());
  TERN_CHECK(checkpoint->side_file("config.json").has_value());
  return 0;
}
