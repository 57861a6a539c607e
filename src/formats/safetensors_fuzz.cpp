// Any bytes give a sound table or an error with a place.
#include <cstring>

#include "base/check.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tern::Bytes file = std::as_bytes(std::span(data, size));
  const auto read = tern::formats::read_safetensors(file, "fuzz");
  if (!read) {
    TERN_CHECK(!read.error().where.empty() && !read.error().what.empty());
    return 0;
  }
  std::size_t covered = 0;
  for (const tern::Tensor& tensor : read->tensors.tensors()) {
    TERN_CHECK(read->tensors.find(tensor.name) == &tensor);
    TERN_CHECK(tern::checked_tensor_bytes(tensor.type, tensor.shape) == tensor.data.size());
    TERN_CHECK(tensor.data.data() >= file.data());
    TERN_CHECK(tensor.data.data() + tensor.data.size() <= file.data() + file.size());
    covered += tensor.data.size();
  }
  std::uint64_t header = 0;
  std::memcpy(&header, data, sizeof header);
  TERN_CHECK(8 + header + covered == size);
  return 0;
}
