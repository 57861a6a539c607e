// dot_lanes.inc.h, and dot products of rows with one token, from the codes straight into the sums.
// Included by dot.cpp in its place for each instruction set that has quant/fast_decoders.h.
#include "kernels/dot_lanes.inc.h"

/// DotRows for one token. Four rows at a time, so that four sums hide each other's latency.
template <class Format>
TERN_TARGET void dot_one(const quant::Matrix& weight, std::size_t first_row, std::size_t rows,
                         const float* x, float* y) {
  using Row = Cursor<Format>;
  constexpr std::size_t kVectors = Row::kValues / 16;
  // Rows that do not exist repeat the first; nobody reads their sums.
  const auto at = [&](std::size_t r) { return first_row + (r < rows ? r : 0); };
  Row row[kDotRows] = {{weight, at(0)}, {weight, at(1)}, {weight, at(2)}, {weight, at(3)}};
  Lanes acc[kDotRows] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};

  const std::size_t units = Row::group_units(weight);
  constexpr std::size_t kAhead = 16384;  // bytes; the L1 cache alone cannot wait for so many
  const std::size_t ahead =
      (kAhead / (kDotRows * weight.code_stride + 1) + 1) * kDotRows * weight.code_stride;
  const float* const end = x + weight.cols / Row::kValues * Row::kValues;
  while (x != end) {
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kDotRows; ++r) {
      row[r].begin_group();
      if constexpr (requires { row[r].at; })          // plain numbers
        __builtin_prefetch(row[r].at + ahead, 0, 2);  // to be read, into the L2 cache
    }
    for (std::size_t u = 0; u < units; ++u, x += Row::kValues) {
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kDotRows; ++r) {
        Lanes w[kVectors];
        row[r].next(w);
        for (std::size_t i = 0; i < kVectors; ++i) acc[r] = fma(w[i], load(x + 16 * i), acc[r]);
      }
    }
  }
  if constexpr (Row::kHasTail) {
    const std::size_t rest = weight.cols % Row::kValues;
    if (rest > 0)
      for (std::size_t r = 0; r < kDotRows; ++r)
        acc[r] = fma(row[r].tail(rest), load_first(x, rest), acc[r]);
  }
  float sums[kDotRows];
  for (std::size_t r = 0; r < kDotRows; ++r) sums[r] = sum(acc[r]);
  std::copy_n(sums, rows, y);
}

template <class Format>
TERN_TARGET void dot_rows(const quant::Matrix& weight, std::size_t first_row, std::size_t rows,
                          const float* x, std::size_t tokens, std::size_t x_stride, float* y,
                          std::size_t y_stride) {
  if (tokens == 1) return dot_one<Format>(weight, first_row, rows, x, y);
  dot_tokens(weight, decode_row<Format>, first_row, rows, x, tokens, x_stride, y, y_stride);
}
