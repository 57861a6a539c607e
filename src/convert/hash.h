// A short fingerprint of bytes: FNV-1a of 64 bits. Tells accidents apart, not attacks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tern::convert {

inline std::uint64_t hash_of(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash ^= static_cast<std::uint64_t>(byte);
    hash *= 0x100000001b3;
  }
  return hash;
}

inline std::uint64_t hash_of(std::string_view text) {
  return hash_of(std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace tern::convert
