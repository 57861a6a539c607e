// Somebody who wants to see what the matrices of a model are applied to.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "quant/matrix.h"

namespace tern::model {

/// The inputs of one product: rows of x, [.., weight.cols], in the order of the step's tokens.
/// Those of a rotated matrix are R x (Matrix::rotated).
struct Inputs {
  const quant::Matrix& weight;
  const float* x;
  std::size_t count;                         ///< of rows that the matrix is applied to
  std::span<const std::uint32_t> rows = {};  ///< which rows of x; empty: the first `count`
};

class InputObserver {
 public:
  virtual ~InputObserver() = default;
  /// Called on the thread that drives the step, before x changes; products of one call read
  /// different matrices. Rows of a sequence that failed are zeros.
  virtual void see(std::span<const Inputs> products, ThreadPool& pool) = 0;
};

}  // namespace tern::model
