// Builds small model files, right and wrong, for tests.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/mapped_file.h"

namespace tern::formats {

inline Bytes as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <class T>
std::string little_endian(T value) {
  static_assert(std::is_arithmetic_v<T>);
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

/// A safetensors file with any header text, and `data_bytes` bytes after it.
inline std::string safetensors_file(std::string_view header, std::size_t data_bytes) {
  std::string file = little_endian(std::uint64_t{header.size()}) + std::string(header);
  for (std::size_t i = 0; i < data_bytes; ++i) file += static_cast<char>('a' + i % 26);
  return file;
}

/// Writes GGUF field by field and remembers where each number stands, so that a test can lie about
/// every one of them.
class GgufBuilder {
 public:
  struct Field {
    std::string what;
    std::size_t offset;
    std::size_t bytes;
  };

  explicit GgufBuilder(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    text_ = "GGUF";
    number("version", version);
    number("tensor count", tensors);
    number("key count", keys);
  }

  template <class T>
  GgufBuilder& number(std::string what, T value) {
    fields_.push_back({std::move(what), text_.size(), sizeof value});
    text_ += little_endian(value);
    return *this;
  }
  GgufBuilder& string(const std::string& what, std::string_view value) {
    number("length of " + what, std::uint64_t{value.size()});
    text_ += value;
    return *this;
  }
  GgufBuilder& raw(std::string_view bytes) {
    text_ += bytes;
    return *this;
  }

  GgufBuilder& key(std::string_view name, std::uint32_t type) {
    string("key", name);
    return number("value type", type);
  }
  template <class T>
  GgufBuilder& scalar(std::string_view name, std::uint32_t type, T value) {
    return key(name, type).number("value of " + std::string(name), value);
  }
  GgufBuilder& text(std::string_view name, std::string_view value) {
    return key(name, 8).string("string", value);
  }
  GgufBuilder& array(std::string_view name, std::uint32_t type, std::uint64_t count) {
    return key(name, 9).number("element type", type).number("element count", count);
  }
  /// @param dims  in the order of the file, fastest first
  GgufBuilder& tensor(std::string_view name, const std::vector<std::uint64_t>& dims,
                      std::uint32_t type, std::uint64_t offset) {
    string("tensor name", name);
    number("dimension count", static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) number("dimension", dim);
    number("tensor type", type);
    return number("offset", offset);
  }
  /// Padding to `alignment`, then `count` bytes.
  GgufBuilder& data(std::size_t count, std::size_t alignment = 32) {
    while (text_.size() % alignment != 0) text_ += '\0';
    for (std::size_t i = 0; i < count; ++i) text_ += static_cast<char>('a' + i % 26);
    return *this;
  }

  const std::string& bytes() const { return text_; }
  const std::vector<Field>& fields() const { return fields_; }

 private:
  std::string text_;
  std::vector<Field> fields_;
};

}  // namespace tern::formats
