// Codes rows of a raw float32 file as GGUF blocks and keys: what gguf_encode_check.py compares.
// usage: tern_gguf_encode_dump TYPE searched|reference COLUMNS IN OUT.gguf
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "formats/gguf_writer.h"
#include "quant/gguf_encode.h"

namespace {

using namespace tern;

std::vector<float> read_floats(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

Result<void> write(const std::vector<std::string>& arguments) {
  DType type = DType::f32;
  for (std::size_t i = 0; i < kDTypeCount; ++i)
    if (name(static_cast<DType>(i)) == arguments[1]) type = static_cast<DType>(i);
  const auto fit =
      arguments[2] == "reference" ? quant::GgufFit::reference : quant::GgufFit::searched;
  const std::size_t cols = std::stoul(arguments[3]);
  const std::vector<float> values = read_floats(arguments[4].c_str());
  const std::vector<formats::GgufKey> keys = {
      {"general.architecture", std::string("test")},
      {"test.texts", std::vector<std::string>{"one", "", "three"}},
      {"test.numbers", std::vector<std::int32_t>{1, -2}},
      {"test.byte", std::uint8_t{7}},
      {"test.real", 0.5},
      {"test.flag", true}};
  TERN_TRY(auto file, formats::GgufWriter::create(
                          arguments[5], keys,
                          {{"w", type, {values.size() / cols, cols}}, {"v", DType::f32, {cols}}}));
  std::vector<std::byte> row(*checked_row_bytes(type, cols));
  for (std::size_t i = 0; i < values.size(); i += cols) {
    quant::encode_gguf_row(type, std::span(values).subspan(i, cols), {}, fit, row);
    TERN_TRY_VOID(file.write("w", row));
  }
  TERN_TRY_VOID(file.write("v", std::as_bytes(std::span(values).first(cols))));
  return file.commit();
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 6) return 2;
  const auto written = write(std::vector<std::string>(arguments, arguments + count));
  if (!written) std::fprintf(stderr, "%s\n", written.error().message().c_str());
  return written ? 0 : 1;
}
