// Codes the rows of a planned tensor, a slab at a time, on all threads.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "convert/plan.h"

namespace tern::convert {

class RowCoder {
 public:
  /// Takes the bytes of plane `plane`, in order; planes come one after the other.
  using Sink = std::function<Result<void>(std::size_t plane, std::span<const std::byte>)>;

  /// Coded between two writes.
  static constexpr std::size_t kSlabWeights = std::size_t{4} << 20;
  /// Coded by one thread in one go.
  static constexpr std::size_t kGrainWeights = std::size_t{1} << 15;

  explicit RowCoder(ThreadPool& pool) : pool_(pool) {}

  /// @param slab_done  called between slabs with the bytes that went to the sink; false stops
  /// @error corrupt, unsupported, cancelled  as convert(); and what the sink says
  Result<void> run(const Coding& coding, const std::string& name, const Sink& sink,
                   const std::function<bool(std::uint64_t)>& slab_done);

  /// Codes the first `rows` rows of the first matrix and keeps nothing: a trial of what it costs.
  void try_rows(const Coding& coding, std::size_t rows);

  std::uint64_t coded() const { return coded_; }
  double error() const { return error_; }
  double square() const { return square_; }

 private:
  struct Planes;
  struct RowSums {
    double error = 0, square = 0;
    float largest = 0;  ///< not finite if a weight is not
  };
  void code_rows(const Coding& coding, const quant::Matrix& matrix, std::size_t first,
                 std::span<const float> importance, Planes& planes, std::vector<RowSums>& sums);
  Result<void> add(const std::vector<RowSums>& sums, const RowFormat& format,
                   const std::string& name);

  ThreadPool& pool_;
  std::uint64_t coded_ = 0;
  double error_ = 0, square_ = 0;
};

}  // namespace tern::convert
