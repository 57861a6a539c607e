// Arithmetic on numbers that came from a file: a result, or nothing when it would wrap.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

namespace tern {

inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

/// Product of all extents; 1 for none. Nothing when any intermediate product wraps, whatever the
/// order: a zero extent does not hide an overflow.
inline std::optional<std::uint64_t> checked_product(std::span<const std::uint64_t> extents) {
  std::uint64_t product = 1;
  bool empty = false;
  for (const std::uint64_t extent : extents) {
    if (extent == 0) {
      empty = true;
      continue;
    }
    if (__builtin_mul_overflow(product, extent, &product)) return std::nullopt;
  }
  return empty ? 0 : product;
}

/// `value` rounded up to a multiple of `alignment` (> 0).
inline std::optional<std::uint64_t> checked_align(std::uint64_t value, std::uint64_t alignment) {
  const std::uint64_t rest = value % alignment;
  return rest == 0 ? std::optional(value) : checked_add(value, alignment - rest);
}

}  // namespace tern
