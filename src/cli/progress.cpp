#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal.h"

namespace tern::cli {
namespace {

constexpr std::chrono::milliseconds kAppearsAfter{300}, kRedrawnEvery{100};

}  // namespace

std::string progress_text(std::string_view what, std::size_t done, std::size_t total,
                          std::size_t width) {
  done = std::min(done, total);
  const double part = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  const auto numbers = fmt::format("{:3.0f}%  {}/{}", 100 * part, done, total);
  const std::size_t used = what.size() + 2 + 2 + 2 + numbers.size() + 1;
  if (used + 8 > width) {
    auto text = fmt::format("{} {:.0f}%", what, 100 * part);
    return text.substr(0, std::max<std::size_t>(width, 1) - 1);
  }
  const std::size_t cells = std::min<std::size_t>(width - used, 40);
  const auto filled = static_cast<std::size_t>(part * static_cast<double>(cells));
  return fmt::format("{}  [{:#<{}}{:-<{}}]  {}", what, "", filled, "", cells - filled, numbers);
}

void ProgressLine::begin(std::string_view what, std::size_t total) {
  if (!enabled_) return;
  clear();
  running_ = true;
  what_ = what;
  started_ = {};  // long ago: updates need not wait
  draw(0, total, Clock::now());
}

void ProgressLine::update(std::string_view what, std::size_t done, std::size_t total) {
  if (!enabled_) return;
  const auto now = Clock::now();
  if (!running_ || what != what_) {
    clear();
    running_ = true;
    what_ = what;
    started_ = now;
    last_ = {};
  }
  if (now - started_ < kAppearsAfter || now - last_ < kRedrawnEvery) return;
  draw(done, total, now);
}

void ProgressLine::draw(std::size_t done, std::size_t total, Clock::time_point now) {
  last_ = now;
  drawn_ = true;
  out_->write(kEraseLine);
  out_->write(progress_text(what_, done, total, width_));
  out_->flush();
}

void ProgressLine::clear() {
  if (drawn_) {
    out_->write(kEraseLine);
    out_->flush();
  }
  running_ = drawn_ = false;
}

}  // namespace tern::cli
