// A checksum that tells damaged or exchanged bytes; not one that resists an attacker.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include "base/mapped_file.h"

namespace tern {

/// XXH3, 128 bits, of bytes that come in pieces. Source: xxHash 0.8, stable since 0.8.0.
class Hash128 {
 public:
  using Value = std::array<std::byte, 16>;  ///< canonical (big-endian)

  Hash128();
  Hash128(Hash128&&) noexcept;
  Hash128& operator=(Hash128&&) noexcept;
  ~Hash128();

  void update(Bytes bytes);
  Value value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Lower-case hexadecimal digits.
std::string hex(const Hash128::Value& value);

}  // namespace tern
