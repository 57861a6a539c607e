// What the forms of attention share: which tokens a row sees, and the scalar form.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/attention.h"

namespace tern::kernels {

/// Positions [0, first) and [from, to).
struct Seen {
  std::size_t first = 0, from = 0, to = 0;

  bool operator()(std::size_t s) const { return s < first || (s >= from && s < to); }
  bool any(std::size_t begin, std::size_t end) const {
    return begin < first || std::max(begin, from) < std::min(end, to);
  }
  /// Bit s is token page_begin + s.
  std::uint64_t of_page(std::size_t page_begin) const {
    const auto below = [&](std::size_t end) {
      return end <= page_begin                   ? 0
             : end - page_begin >= kKvPageTokens ? ~std::uint64_t{0}
                                                 : (std::uint64_t{1} << (end - page_begin)) - 1;
    };
    return below(first) | (below(to) & ~below(from));
  }
};

/// What a query at `position` reads of a view.
inline Seen seen_by(const KvHead& kv, std::size_t position, bool recent) {
  const std::size_t all = position + 1;
  if (!kv.windowed) return recent ? Seen{} : Seen{0, 0, all};
  if (position < kv.start) return recent ? Seen{0, 0, all} : Seen{};
  const std::size_t sinks = std::min(kv.sinks, all);
  const std::size_t aged = std::max(sinks, all - std::min(kv.window, all));
  return recent ? Seen{sinks, aged, all} : Seen{0, sinks, aged};
}

inline std::size_t row_offset(const Queries& queries, std::size_t row, std::size_t head_dim) {
  return row / queries.heads * queries.stride + row % queries.heads * head_dim;
}

/// Rows that are taken together when `left` of them are, at most `most`: 16, 4, 2 or 1.
inline std::size_t tile_of(std::size_t left, std::size_t most) {
  const std::size_t rows = std::min(left, most);
  return rows >= 16 ? 16 : rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
}

namespace scalar {
std::size_t attend_doubles(std::size_t rows, std::size_t head_dim);
void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch);
}  // namespace scalar

}  // namespace tern::kernels
