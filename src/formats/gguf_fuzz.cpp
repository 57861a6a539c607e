// Any bytes give a sound table or an error with a place.

#include "base/check.h"
#include "formats/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tern::Bytes file = std::as_bytes(std::span(data, size));
  const auto read = tern::formats::read_gguf(file, "fuzz");
  if (!read) {
    TERN_CHECK(!read.error().where.empty() && !read.error().what.empty());
    return 0;
  }
  const std::byte* previous = file.data();
  for (const tern::Tensor& tensor : read->tensors.tensors()) {
    TERN_CHECK(read->tensors.find(tensor.name) == &tensor);
    TERN_CHECK(tern::checked_tensor_bytes(tensor.type, tensor.shape) == tensor.data.size());
    TERN_CHECK(tensor.data.data() >= previous);
    previous = tensor.data.data() + tensor.data.size();
    TERN_CHECK(previous <= file.data() + file.size());
  }
  for (const auto& entry : read->metadata.entries()) {
    TERN_CHECK(read->metadata.find(entry.key) == &entry.value);
    // Of the wrong type most of the time: an error, never a crash.
    static_cast<void>(read->metadata.get_uint(entry.key));
    static_cast<void>(read->metadata.get_number(entry.key));
    static_cast<void>(read->metadata.get_bool(entry.key));
    static_cast<void>(read->metadata.get_string(entry.key));
    static_cast<void>(read->metadata.get_uints(entry.key));
    static_cast<void>(read->metadata.get_strings(entry.key));
  }
  return 0;
}
