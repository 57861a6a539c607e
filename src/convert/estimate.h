// How long a conversion takes: before it starts, and from where it is.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/thread_pool.h"
#include "convert/plan.h"

namespace tern::convert {

/// Bytes a second that a disk is taken to write where it cannot be tried: a slow SSD's.
inline constexpr double kAssumedWriteRate = 3e8;

/// Seconds that a plan takes on this machine, by parts that follow one another.
struct Estimate {
  double coding = 0;   ///< decoding and encoding, from trials of a few rows of each kind
  double reading = 0;  ///< from trials of a few megabytes of the source
  double writing = 0;
  std::vector<std::vector<double>> tensors = {};  ///< of the same: [files][tensors of the file]

  double seconds() const { return coding + reading + writing; }
};

/// Tries rows of `plan` on all threads of `pool`, in some tenths of a second. What else the machine
/// does meanwhile, and later, is not known: an estimate, no promise.
/// @param write_rate  bytes a second, more than 0
Estimate estimate(const Plan& plan, ThreadPool& pool, double write_rate);

/// Bytes a second that reach the disk of `destination`, by a file without a name in the nearest
/// folder above it that exists. kAssumedWriteRate where none can be made there, and for less than
/// 100 MB, which do not pay for the trial.
double measure_write_rate(const std::filesystem::path& destination, std::uint64_t bytes);

/// How far a plan is: tensors count by what they cost, not by their bytes.
class Work {
 public:
  /// @param estimate  null: tensors count by their bytes
  Work(const Plan& plan, const Estimate* estimate);

  /// The first `files` files, and `tensors` tensors of the next one, were made by an earlier run.
  void skip(std::size_t files, std::size_t tensors);
  /// `bytes` of a tensor are made.
  void add(std::size_t file, std::size_t tensor, std::uint64_t bytes);

  /// 0 to 1.
  double part() const;
  /// After `elapsed` seconds of this run. Starts as the estimate, and trusts the run's own speed
  /// the more the longer it lasts. 0: not known.
  double seconds_left(double elapsed) const;

 private:
  const Plan& plan_;
  std::vector<std::vector<double>> costs_;
  double total_ = 0, skipped_ = 0, done_ = 0;  // done_: by this run
  bool seconds_ = false;                       // the costs are seconds
};

}  // namespace tern::convert
