#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/stats.h"
#include "cli/terminal.h"

namespace tern::cli {
namespace {

constexpr std::chrono::milliseconds kAppearsAfter{300}, kRedrawnEvery{100};

/// "what  [####----]  numbers", or without bar where there is no room.
std::string bar_text(std::string_view what, double part, const std::string& numbers,
                     std::size_t width) {
  const std::size_t used = what.size() + 2 + 2 + 2 + numbers.size() + 1;
  if (used + 8 > width) {
    auto text = fmt::format("{} {:.0f}%", what, 100 * part);
    return text.substr(0, std::max<std::size_t>(width, 1) - 1);
  }
  const std::size_t cells = std::min<std::size_t>(width - used, 40);
  const auto filled = static_cast<std::size_t>(part * static_cast<double>(cells));
  return fmt::format("{}  [{:#<{}}{:-<{}}]  {}", what, "", filled, "", cells - filled, numbers);
}

/// The end of a name that is too long for its column, padded to its width: bars begin one below
/// the other.
std::string clipped(std::string_view name) {
  constexpr std::size_t kColumn = 32;
  const std::string shown = printable(name);
  if (shown.size() <= kColumn) return fmt::format("{:<{}}", shown, kColumn);
  return "..." + shown.substr(shown.size() - (kColumn - 3));
}

double part_of(std::uint64_t done, std::uint64_t total) {
  return total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
}

/// "2:51", "1:02:03".
std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::min(seconds, 359999.0));
  const auto hours = whole / 3600, minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

}  // namespace

std::string progress_text(std::string_view what, std::size_t done, std::size_t total,
                          std::size_t width) {
  done = std::min(done, total);
  const double part = part_of(done, total);
  return bar_text(what, part, fmt::format("{:3.0f}%  {}/{}", 100 * part, done, total), width);
}

std::string transfer_text(std::string_view what, std::uint64_t done, std::uint64_t total,
                          double rate, std::size_t width) {
  done = std::min(done, total);
  const double part = part_of(done, total);
  auto numbers = fmt::format("{:3.0f}%  {}/{}", 100 * part, human_bytes(done), human_bytes(total));
  if (rate >= 1)
    numbers += fmt::format("  {}/s  {}", human_bytes(static_cast<std::uint64_t>(rate)),
                           clock_text(static_cast<double>(total - done) / rate));
  return bar_text(what, part, numbers, width);
}

std::string work_text(std::string_view what, double part, std::uint64_t done, std::uint64_t total,
                      double seconds_left, std::size_t width) {
  part = std::clamp(part, 0.0, 1.0);
  auto numbers = fmt::format("{:3.0f}%  {}/{}", 100 * part, human_bytes(std::min(done, total)),
                             human_bytes(total));
  if (seconds_left > 0) numbers += fmt::format("  {} left", clock_text(std::ceil(seconds_left)));
  return bar_text(what, part, numbers, width);
}

void ProgressLine::begin(std::string_view what, std::size_t total) {
  if (!enabled_) return;
  clear();
  running_ = true;
  what_ = what;
  started_ = {};  // long ago: updates need not wait
  draw(progress_text(what_, 0, total, width_), Clock::now());
}

void ProgressLine::update(std::string_view what, std::size_t done, std::size_t total) {
  const auto now = Clock::now();
  if (due(what, now)) draw(progress_text(what_, done, total, width_), now);
}

void ProgressLine::update_bytes(std::string_view what, std::uint64_t done, std::uint64_t total) {
  const auto now = Clock::now();
  if (!running_ || what != what_) first_ = done;
  if (due(what, now)) draw(transfer_text(what_, done, total, rate(done, now), width_), now);
}

void ProgressLine::update_work(std::string_view what, double part, std::uint64_t done,
                               std::uint64_t total, double seconds_left) {
  const auto now = Clock::now();
  if (due(what, now)) draw(work_text(what_, part, done, total, seconds_left, width_), now);
}

void ProgressLine::update_parts(std::span<const Part> parts, std::string_view what,
                                std::uint64_t done, std::uint64_t total) {
  const auto now = Clock::now();
  if (!running_ || what != what_) first_ = done;
  if (!due(what, now)) return;
  std::string text;
  for (const Part& part : parts)
    text += transfer_text(clipped(part.what), part.done, part.total, 0, width_) + "\n";
  draw(text + transfer_text(what_, done, total, rate(done, now), width_), now);
}

/// Bytes a second since the task began.
double ProgressLine::rate(std::uint64_t done, Clock::time_point now) const {
  const double seconds = std::chrono::duration<double>(now - started_).count();
  return static_cast<double>(done - std::min(first_, done)) / seconds;
}

/// Begins a task that is new; whether it is time to draw.
bool ProgressLine::due(std::string_view what, Clock::time_point now) {
  if (!enabled_) return false;
  if (!running_ || what != what_) {
    clear();
    running_ = true;
    what_ = what;
    started_ = now;
    last_ = {};
  }
  return now - started_ >= kAppearsAfter && now - last_ >= kRedrawnEvery;
}

void ProgressLine::draw(const std::string& text, Clock::time_point now) {
  last_ = now;
  erase();
  lines_ = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  out_->write(text);
  out_->flush();
}

void ProgressLine::erase() {
  if (lines_ > 1) out_->write(fmt::format("\x1b[{}A\r\x1b[J", lines_ - 1));
  if (lines_ <= 1) out_->write(kEraseLine);
}

void ProgressLine::clear() {
  if (lines_ > 0) {
    erase();
    out_->flush();
  }
  running_ = false;
  lines_ = 0;
}

}  // namespace tern::cli
