#include "cli/stats.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <array>

namespace tern::cli {
namespace {

template <std::size_t N>
std::string scaled(std::uint64_t value, const std::array<std::string_view, N>& units) {
  double number = static_cast<double>(value);
  std::size_t unit = 0;
  while (number >= 999.95 && unit + 1 < N) {
    number /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} {}", value, units[0])
                   : fmt::format("{:.{}f} {}", number, number < 10 ? 2 : 1, units[unit]);
}

}  // namespace

double rate(std::size_t tokens, std::chrono::duration<double> time) {
  return time.count() > 0 ? static_cast<double>(tokens) / time.count() : 0;
}

std::uint64_t peak_memory() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

std::string human_bytes(std::uint64_t bytes) {
  return scaled(bytes, std::array<std::string_view, 6>{"B", "kB", "MB", "GB", "TB", "PB"});
}

std::string human_count(std::uint64_t count) {
  auto text = scaled(count, std::array<std::string_view, 4>{"", "K", "M", "B"});
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

std::string stats_text(const Generation& generation) {
  const std::size_t read = generation.prompt_tokens - generation.reused_tokens;
  std::string text = fmt::format("Prompt: {} tokens, {:.1f} tokens/s", generation.prompt_tokens,
                                 rate(read, generation.prefill_time));
  if (generation.reused_tokens > 0) text += fmt::format(" ({} reused)", generation.reused_tokens);
  text += fmt::format("\nGeneration: {} tokens, {:.1f} tokens/s", generation.tokens.size(),
                      rate(generation.tokens.size(), generation.decode_time));
  if (generation.reasoning_tokens > 0)
    text += fmt::format(" ({} thinking)", generation.reasoning_tokens);
  text += fmt::format(", ended by {}, seed {}\n", name(generation.finish), generation.seed);
  return text + fmt::format("Peak memory: {}\n", human_bytes(peak_memory()));
}

}  // namespace tern::cli
