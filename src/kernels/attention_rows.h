// What the forms of attention share: which tokens a row sees, and the scalar form.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

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

/// How a form cuts rows into tiles, whose sums stay in registers.
struct RowTiles {
  std::size_t floats = 1;  ///< rows that meet an unpacked page of plain numbers at once: 16 or 6
  std::size_t whole = 1;   ///< of whole numbers
  std::size_t direct = 1;  ///< up to so many rows meet what is decoded without writing it anywhere

  /// Whether a page of plain numbers is unpacked for rows of one KV head.
  bool unpacks(std::size_t rows, std::size_t head_dim) const {
    return rows > direct && head_dim % 16 == 0 && head_dim <= kKvUnpackedDim;
  }
  /// The most rows of a tile.
  std::size_t limit(const KvLayout& keys, std::size_t rows, std::size_t head_dim) const {
    return keys.whole() ? whole : unpacks(rows, head_dim) ? floats : direct;
  }
};

/// Rows of the next tile of `left`: 16, 4, 2 or 1; with a limit of six 6, 5, 4, 2 or 1, cut into
/// nearly equal ones.
inline std::size_t next_tile(std::size_t left, std::size_t limit) {
  if (limit == 6 && left > limit) {
    const std::size_t tiles = (left + limit - 1) / limit;
    left = (left + tiles - 1) / tiles;
  }
  const std::size_t rows = std::min(left, limit);
  if (limit != 6 && rows >= 4) return rows >= 16 ? 16 : 4;
  return rows == 3 ? 2 : rows;
}

/// Greatest magnitude of what is rounded to 16 bits.
inline constexpr float kWholeQuery = 32767;

/// Elements of a key that pair `pair` of a segment holds: neighbours, or with 2 and 3 bits, whose
/// words hold four elements, every other one.
inline std::pair<std::size_t, std::size_t> key_pair(KvCode code, std::size_t pair) {
  if (code == KvCode::code4 || code == KvCode::code8) return {2 * pair, 2 * pair + 1};
  const std::size_t first = pair / 2 * 4 + pair % 2;
  return {first, first + 2};
}

namespace scalar {
std::size_t attend_doubles(std::size_t rows, std::size_t head_dim);
void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch);
}  // namespace scalar

}  // namespace tern::kernels
