// Dot products, sixteen lanes at a time, for one instruction set. dot.cpp includes this once for
// each, inside its namespace, after these are defined (there is no include guard):
//   TERN_TARGET             the function attribute that enables the instruction set
//   Lanes                   sixteen floats and the words of quant/lanes_avx512.h for them
//   kTileRows, kTileTokens  how many sums stay in registers
// Whatever the tiles, a sum takes its columns in rising order, lane c mod 16.

/// Adds W[r, c] x[t, c] to the lanes of R x T sums, for c < cols. w rows are kDotCols apart, sums
/// are [T][kDotRows][16].
template <std::size_t R, std::size_t T>
TERN_TARGET __attribute__((always_inline)) inline void add_products(const float* w, const float* x,
                                                                    std::size_t x_stride,
                                                                    std::size_t cols, float* sums) {
  Lanes acc[T][R];
  for (std::size_t t = 0; t < T; ++t)
    for (std::size_t r = 0; r < R; ++r) acc[t][r] = load(sums + (t * kDotRows + r) * 16);
  std::size_t c = 0;
  for (; c + 16 <= cols; c += 16) {
    Lanes w16[R];
    for (std::size_t r = 0; r < R; ++r) w16[r] = load(w + r * kDotCols + c);
    for (std::size_t t = 0; t < T; ++t) {
      const Lanes x16 = load(x + t * x_stride + c);
      for (std::size_t r = 0; r < R; ++r) acc[t][r] = fma(w16[r], x16, acc[t][r]);
    }
  }
  if (c < cols) {  // lanes past the end add 0 * 0
    for (std::size_t t = 0; t < T; ++t) {
      const Lanes x16 = load_first(x + t * x_stride + c, cols - c);
      for (std::size_t r = 0; r < R; ++r)
        acc[t][r] = fma(load_first(w + r * kDotCols + c, cols - c), x16, acc[t][r]);
    }
  }
  for (std::size_t t = 0; t < T; ++t)
    for (std::size_t r = 0; r < R; ++r) store(sums + (t * kDotRows + r) * 16, acc[t][r]);
}

/// All kDotRows rows of T tokens, in tiles that fit the registers.
template <std::size_t T>
TERN_TARGET void add_rows(const float* w, const float* x, std::size_t x_stride, std::size_t cols,
                          float* sums) {
  constexpr std::size_t R = T == 1 ? kDotRows : kTileRows;
  for (std::size_t r = 0; r < kDotRows; r += R)
    add_products<R, T>(w + r * kDotCols, x, x_stride, cols, sums + r * 16);
}

TERN_TARGET inline void add_tokens(const float* w, const float* x, std::size_t tokens,
                                   std::size_t x_stride, std::size_t cols, float* sums) {
  std::size_t t = 0;
  const auto run = [&](auto count) {
    add_rows<count()>(w, x + t * x_stride, x_stride, cols, sums + t * kDotRows * 16);
    t += count();
  };
  while (tokens - t >= kTileTokens) run(std::integral_constant<std::size_t, kTileTokens>());
  switch (tokens - t) {  // less than kTileTokens, which is at most 4
    case 3:
      return run(std::integral_constant<std::size_t, 3>());
    case 2:
      return run(std::integral_constant<std::size_t, 2>());
    case 1:
      return run(std::integral_constant<std::size_t, 1>());
    default:
      return;
  }
}

/// DotRows for any number of tokens: rows are decoded into the L1 cache, a block of columns at a
/// time, and meet every token there.
TERN_TARGET inline void dot_tokens(const quant::Matrix& weight, quant::DecodeRow* decode,
                                   std::size_t first_row, std::size_t rows, const float* x,
                                   std::size_t tokens, std::size_t x_stride, float* y,
                                   std::size_t y_stride) {
  alignas(64) float w[kDotRows * kDotCols];
  alignas(64) float sums[kDotTokens * kDotRows * 16];
  std::fill_n(sums, tokens * kDotRows * 16, 0.0f);
  if (rows < kDotRows) std::fill_n(w, kDotRows * kDotCols, 0.0f);  // for sums that nobody reads

  for (std::size_t c = 0; c < weight.cols; c += kDotCols) {
    const std::size_t cols = std::min(kDotCols, weight.cols - c);
    const quant::Matrix part = weight.columns(c, cols);
    for (std::size_t r = 0; r < rows; ++r) decode(part, first_row + r, {w + r * kDotCols, cols});
    add_tokens(w, x + c, tokens, x_stride, cols, sums);
  }
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t r = 0; r < rows; ++r)
      y[t * y_stride + r] = sum(load(sums + (t * kDotRows + r) * 16));
}
