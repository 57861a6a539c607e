// State as bytes, for files: little-endian numbers and blocks, without a name or a checksum, which
// are the file's (engine/session_file.h).
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"

namespace tern::state {

/// Takes the next bytes; its errors end the writing.
using Sink = std::function<Result<void>(Bytes)>;

inline Result<void> store(const Sink& sink, std::uint64_t number) {
  static_assert(std::endian::native == std::endian::little);
  return sink(std::as_bytes(std::span(&number, 1)));
}

/// Untrusted bytes, read in order.
class Source {
 public:
  explicit Source(Bytes bytes) : bytes_(bytes) {}

  std::size_t remaining() const { return bytes_.size(); }

  /// @error corrupt  fewer are left. @param what  names them in the error
  Result<Bytes> take(std::uint64_t count, std::string_view what) {
    if (count > bytes_.size())
      return fail(ErrorCode::corrupt, std::string(what) + " takes " + std::to_string(count) +
                                          " bytes, " + std::to_string(bytes_.size()) + " are left");
    const Bytes taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }

  Result<std::uint64_t> number(std::string_view what) {
    TERN_TRY(const Bytes taken, take(sizeof(std::uint64_t), what));
    std::uint64_t value = 0;
    std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }

  /// @error corrupt  above `most`
  Result<std::uint64_t> number_up_to(std::uint64_t most, std::string_view what) {
    TERN_TRY(const std::uint64_t value, number(what));
    if (value <= most) return value;
    return fail(ErrorCode::corrupt, std::string(what) + " is " + std::to_string(value) +
                                        ", at most " + std::to_string(most) + " is possible");
  }

 private:
  Bytes bytes_;
};

}  // namespace tern::state
