// A stored tensor: a name, a shape, a type, and bytes that somebody has proved to fit both.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace tern {

/// Extents, outermost first, as PyTorch prints them; GGUF's reversed order is undone by its reader.
using Shape = std::vector<std::uint64_t>;

/// "[128, 1856, 2688]"
std::string to_string(const Shape& shape);

/// A view into a mapped file; it does not own its bytes. Rows are contiguous, last axis fastest.
struct Tensor {
  std::string name;
  DType type = DType::f32;
  Shape shape;
  std::span<const std::byte> data;

  std::uint64_t elements() const {
    std::uint64_t n = 1;
    for (const auto extent : shape) n *= extent;
    return n;
  }
};

}  // namespace tern
