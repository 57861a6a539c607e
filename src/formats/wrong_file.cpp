#include "formats/wrong_file.h"

#include <algorithm>
#include <string_view>

namespace tern::formats {
namespace {

struct Kind {
  std::string_view start;  // in lower case
  std::string_view hint;
};

constexpr Kind kKinds[] = {
    {"version https://git-lfs",
     "this is a Git LFS pointer: fetch the file itself with `git lfs pull`"},
    {"<!doctype", "this is a web page: the download address led to a page, not to the file"},
    {"<html", "this is a web page: the download address led to a page, not to the file"},
    {"<?xml", "this is an error page of a download server, not the file"},
    {"{\"error", "this is an error message of a download server, not the file"},
    {"invalid username", "this is an error message of a download server, not the file"},
    {"entry not found", "this is an error message of a download server, not the file"},
    {"gguf", "this is a GGUF file: name it .gguf"},
    {"lmgg", "this is a ggml file from before GGUF: get a newer conversion"},
    {"fmgg", "this is a ggml file from before GGUF: get a newer conversion"},
    {"tjgg", "this is a ggml file from before GGUF: get a newer conversion"},
    {"pk\x03\x04", "this is a zip archive or a PyTorch checkpoint: convert it to safetensors"},
    {"\x1f\x8b", "this is a gzip archive: unpack it first"},
    {"\x28\xb5\x2f\xfd", "this is a zstd archive: unpack it first"},
};

}  // namespace

std::string wrong_file_hint(Bytes file) {
  if (file.empty()) return "the file is empty: the download did not start or the disk was full";
  std::string head(as_text(file.first(std::min<std::size_t>(file.size(), 64))));
  const bool header_of_safetensors = head.size() > 9 && head[8] == '{' && head[7] == 0;
  std::ranges::transform(head, head.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  head.erase(0, std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  for (const Kind& kind : kKinds)
    if (head.starts_with(kind.start)) return std::string(kind.hint);
  if (header_of_safetensors) return "this is a safetensors file: name it .safetensors";
  if (std::ranges::all_of(head, [](char c) { return c == 0; }))
    return "the file begins with zeros: the download or a copy did not finish";
  return {};
}

}  // namespace tern::formats
