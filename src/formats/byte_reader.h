// Reads little-endian fields from untrusted bytes; every read can fail, none can leave the bytes.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/mapped_file.h"

namespace tern::formats {

class ByteReader {
 public:
  /// @param file  its name, for errors; outlives the reader
  ByteReader(Bytes bytes, std::string_view file) : bytes_(bytes), file_(file) {}

  std::uint64_t offset() const { return offset_; }
  std::uint64_t remaining() const { return bytes_.size() - offset_; }

  /// The next `count` bytes. @param what  names them in the error
  Result<Bytes> take(std::uint64_t count, std::string_view what) {
    if (count > remaining()) return ends_inside(count, what);
    const Bytes taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }

  template <class T>
  Result<T> read(std::string_view what) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    static_assert(std::endian::native == std::endian::little);
    TERN_TRY(const Bytes taken, take(sizeof(T), what));
    T value;
    std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }

  /// A 64-bit length and that many bytes: a view into the file.
  Result<std::string_view> string(std::string_view what) {
    TERN_TRY(const auto length, read<std::uint64_t>(what));
    TERN_TRY(const Bytes taken, take(length, what));
    return as_text(taken);
  }

  /// "model.gguf, byte 24"
  std::string place() const { return std::string(file_) + ", byte " + std::to_string(offset_); }

  std::unexpected<Error> corrupt(std::string what, std::string hint = {}) const {
    return fail(ErrorCode::corrupt, std::move(what), place(), std::move(hint));
  }

 private:
  std::unexpected<Error> ends_inside(std::uint64_t count, std::string_view what) const {
    return corrupt(std::string(what) + " takes " + std::to_string(count) + " bytes, " +
                       std::to_string(remaining()) + " are left in the file",
                   "a download that did not finish, or a damaged file");
  }

  Bytes bytes_;
  std::string_view file_;
  std::uint64_t offset_ = 0;
};

}  // namespace tern::formats
