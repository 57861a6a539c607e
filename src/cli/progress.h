// A line on the terminal, or a few, that say how far a long task is.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cli/output.h"

namespace tern::cli {

/// "reading the prompt  [########--------]  50%  1024/2048", at most `width` - 1 columns.
std::string progress_text(std::string_view what, std::size_t done, std::size_t total,
                          std::size_t width);

/// "downloading  [####----]  50%  8.9 GB/17.8 GB  52.1 MB/s  2:51", the same way. `rate` in bytes a
/// second; 0: not known yet.
std::string transfer_text(std::string_view what, std::uint64_t done, std::uint64_t total,
                          double rate, std::size_t width);

/// "converting  [####----]  50%  8.9 GB/17.8 GB  2:51 left", the same way: `part` of the work, 0 to
/// 1, is not that of the bytes. `seconds_left` 0: not known yet.
std::string work_text(std::string_view what, double part, std::uint64_t done, std::uint64_t total,
                      double seconds_left, std::size_t width);

/// Draws over itself. Appears only for tasks that take a while, and leaves no trace.
class ProgressLine {
 public:
  /// A line that is not `enabled` (no terminal) never draws.
  ProgressLine(Output& out, bool enabled, std::size_t width)
      : out_(&out), enabled_(enabled), width_(width) {}

  /// Draws at once, for a task that is known to take long before its first update.
  void begin(std::string_view what, std::size_t total);
  void update(std::string_view what, std::size_t done, std::size_t total);
  /// The same for bytes: with rate and remaining time.
  void update_bytes(std::string_view what, std::uint64_t done, std::uint64_t total);
  /// The same for work whose remaining time is known otherwise.
  void update_work(std::string_view what, double part, std::uint64_t done, std::uint64_t total,
                   double seconds_left);
  /// The same with a line for each of `parts` before that of the whole.
  struct Part {
    std::string_view what;
    std::uint64_t done = 0, total = 0;  ///< bytes
  };
  void update_parts(std::span<const Part> parts, std::string_view what, std::uint64_t done,
                    std::uint64_t total);
  /// Removes the lines; the next update starts a new task.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  bool due(std::string_view what, Clock::time_point now);
  double rate(std::uint64_t done, Clock::time_point now) const;
  void draw(const std::string& text, Clock::time_point now);
  void erase();

  Output* out_;
  bool enabled_;
  std::size_t width_;
  bool running_ = false;
  std::size_t lines_ = 0;  ///< on the screen
  std::string what_;
  std::uint64_t first_ = 0;  ///< bytes that were there when the task began
  Clock::time_point started_, last_;
};

}  // namespace tern::cli
