// Carries out a plan: tensor by tensor, on all threads, atomically, and again from where it broke
// off.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/thread_pool.h"
#include "convert/estimate.h"
#include "convert/plan.h"

namespace tern::convert {

struct ConvertProgress {
  std::uint64_t bytes = 0, total_bytes = 0;  ///< of all files
  double part = 0;                           ///< of the work, 0 to 1, as Work::part
  double seconds_left = 0;                   ///< 0: not known
};

struct ConvertOptions {
  bool resume = false;  ///< take over what an earlier run of the same plan left
  bool keep = true;     ///< leave what a run wrote that was cancelled or failed, for `resume`
  /// Written between two points to go on from, at most, beside what two seconds write.
  std::uint64_t sync_bytes = std::uint64_t{256} << 20;
  const Estimate* estimate = nullptr;  ///< of the plan, for `progress`; null: by bytes
  /// From one thread; false stops
  std::function<bool(const ConvertProgress&)> progress = {};
};

struct ConvertReport {
  std::uint64_t tensors = 0;
  std::uint64_t weights = 0;        ///< numbers stored
  std::uint64_t bytes = 0;          ///< of all files
  std::uint64_t resumed_bytes = 0;  ///< of them, taken over from an earlier run
  std::uint64_t coded = 0;          ///< weights that were encoded by floats
  double error = 0;                 ///< |W - W'|^2 / |W|^2 over those; 0 when there are none
  double seconds = 0;
};

/// Writes `destination`: a new folder, or one file. It appears when all of it is there; until then
/// everything lies in `<destination>.partial`, which a cancelled or failed run leaves for `resume`,
/// if it is to keep it.
///
/// @error usage        the destination exists; nothing to resume; the plan is another one than that
///                     of the run to resume
/// @error busy         another program writes it now
/// @error io           too little room on the disk, known before anything is written; a full disk
/// @error corrupt      weights that are not finite; the tensor is named, and nothing is left
/// @error unsupported  weights too large for the format; the tensor is named, and nothing is left
/// @error cancelled    `progress` said so
Result<ConvertReport> convert(const Plan& plan, const Source& source,
                              const std::filesystem::path& destination, ThreadPool& pool,
                              const ConvertOptions& options = {});

}  // namespace tern::convert
