// How rows of a matrix are stored in a file that is written: the common shape of all encoders.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "quant/matrix.h"
#include "tensor/dtype.h"

namespace tern::convert {

/// One tensor that a format makes of a matrix [..., cols].
struct PlaneLayout {
  std::string_view suffix;   ///< of the module's name: ".weight", ".scales", ".biases"
  DType type = DType::f32;   ///< GGUF blocks as their type
  std::uint64_t extent = 0;  ///< of the last axis, in elements of `type`
};

/// The bytes of one row in each plane, in the order of RowFormat::planes; unused ones are empty.
struct RowPlanes {
  std::span<std::byte> codes = {}, scales = {}, biases = {};
};

/// Immutable; called from several threads.
class RowFormat {
 public:
  virtual ~RowFormat() = default;

  /// As plans name it: "affine 4-bit, group 64", "q4_k", "bf16".
  virtual std::string label() const = 0;
  /// Columns of a matrix must be a multiple of it.
  virtual std::size_t unit() const { return 1; }
  /// One to three planes; the first one holds the codes, or the values.
  virtual std::vector<PlaneLayout> planes(std::uint64_t cols) const = 0;
  /// Whether it loses nothing that `matrix` holds, by encode() or by take().
  virtual bool lossless(const quant::Matrix& matrix) const = 0;

  /// Stores a row of finite numbers.
  /// @param importance  weight of each column's error, [row.size()], or empty: all alike
  /// @return the squared error of the row
  virtual double encode(std::span<const float> row, std::span<const float> importance,
                        const RowPlanes& out) const = 0;

  /// Whether `take` stores rows of `matrix` from its codes, without floats between.
  virtual bool takes(const quant::Matrix&) const { return false; }
  virtual void take(const quant::Matrix&, std::size_t, const RowPlanes&) const {}
  /// The largest magnitude that it can store.
  virtual float largest() const { return 3.4e38f; }
};

using RowFormatPtr = std::shared_ptr<const RowFormat>;

/// f32, f16 or bf16 values.
RowFormatPtr plain_format(DType type);

}  // namespace tern::convert
