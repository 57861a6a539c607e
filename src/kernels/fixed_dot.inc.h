// The products of fixed.h for one instruction set: included inside its namespace with its words,
// after the sums of fixed_sums_words.inc.h or fixed_sums_bytes.inc.h and these definitions:
//   TERN_FIXED          the function attribute that enables the instruction set
//   TERN_UNIT           for what is done with a unit: TERN_FIXED, inlined or not
//   kGroups, kTogether  groups of four rows, and tiles, whose sums registers hold
//   kMostUnits          as FixedKernels::most_units
//   kMostTokens         tokens that meet rows together
//   kAhead, kOneRun     how far ahead memory is asked for, and whether as one run of bytes
//   kStage              bytes of a buffer that four rows are copied to before their turn; 0: they
//   are not

/// Bytes of one scale.
inline std::size_t scale_size(const Matrix& m) {
  return m.scale_type == DType::u8 ? 1 : m.scale_type == DType::f32 ? 4 : 2;
}

/// Where a row's planes are at span `span`.
template <class Format>
TERN_FIXED inline Row row_at(const Matrix& m, std::size_t row, std::size_t span) {
  Row at{m.codes + row * m.code_stride + span * Fixed<Format>::kBytes, nullptr, nullptr};
  if (m.scales == nullptr) return at;
  const std::size_t scale = row * m.scale_stride + span * (256 / m.group) * scale_size(m);
  at.scales = m.scales + scale;
  if (m.biases != nullptr) at.biases = m.biases + scale;
  return at;
}

/// The last columns of a row, fewer than 256, followed by zeros.
template <class Format>
struct Tail {
  std::byte codes[Fixed<Format>::kBytes], scales[64], biases[64];

  TERN_FIXED Row copy(const Matrix& m, const Row& from, std::size_t cols) {
    std::memset(this, 0, sizeof *this);
    std::memcpy(codes, from.codes, cols * Fixed<Format>::kBytes / 256);
    if (m.scales == nullptr) return {codes, nullptr, nullptr};
    const std::size_t size = cols / m.group * scale_size(m);
    std::memcpy(scales, from.scales, size);
    if (m.biases != nullptr) std::memcpy(biases, from.biases, size);
    return {codes, scales, biases};
  }
};

template <class Format>
TERN_FIXED __attribute__((always_inline)) inline void group_scales(const Matrix& matrix,
                                                                   const Row* rows,
                                                                   GroupScales& out) {
  using F = Fixed<Format>;
  if constexpr (requires { sizeof(FourRows<Format>); })
    return FourRows<Format>::scales(rows, matrix, out);
  Scales s[4];
  for (std::size_t r = 0; r < 4; ++r) F::scales(rows[r], matrix, s[r]);
  for (std::size_t h = 0; h < (F::kLayout.halves ? 2 : 1); ++h) {
    const Eight d[4] = {s[0].d[h], s[1].d[h], s[2].d[h], s[3].d[h]};
    interleave(d, out.d[h]);
    if constexpr (F::kMin) {
      const Eight m[4] = {s[0].m[h], s[1].m[h], s[2].m[h], s[3].m[h]};
      interleave(m, out.m[h]);
    }
  }
}

/// Adds unit u of a span of four rows to the sums of T tokens.
template <class Format, std::size_t T, std::size_t u, class Next>
TERN_UNIT void add_unit(const Row* rows, const GroupScales& s, const FixedUnit* x,
                        std::size_t stride, const Next& incoming, Lanes* acc) {
  using F = Fixed<Format>;
  constexpr std::size_t kHalves = F::kLayout.halves ? 2 : 1;
  Ints sums[T][kHalves][4];
  unit_sums<Format, T, u>(rows, x, stride, incoming, sums);
#pragma GCC unroll 4
  for (std::size_t t = 0; t < T; ++t) {
    const FixedUnit& unit = x[t * stride];
#pragma GCC unroll 2
    for (std::size_t h = 0; h < kHalves; ++h)
      acc[t] =
          fma(to_floats(total<Format>(sums[t][h], unit, h)), mul(s.d[h][u], load(unit.d)), acc[t]);
    if constexpr (F::kMin) {
#pragma GCC unroll 2
      for (std::size_t h = 0; h < kHalves; ++h)
        acc[t] = fma(s.m[h][u], load(unit.scaled_sum[h]), acc[t]);
    }
  }
}

/// Makes the factors of blocks from column `cols` on zero.
template <class Format>
TERN_FIXED __attribute__((always_inline)) inline void hide(GroupScales& s, std::size_t cols) {
  using F = Fixed<Format>;
  const std::size_t lanes = (cols + 31) / 32 * 4;
  for (std::size_t h = 0; h < (F::kLayout.halves ? 2 : 1); ++h)
    for (std::size_t u = 0; u < 2; ++u) {
      const std::size_t inside = std::min<std::size_t>(16, lanes - std::min(lanes, 16 * u));
      s.d[h][u] = first_lanes(s.d[h][u], inside);
      if constexpr (F::kMin) s.m[h][u] = first_lanes(s.m[h][u], inside);
    }
}

constexpr int kRead = 0, kIntoL2 = 2;  // of __builtin_prefetch

/// Memory is asked for kAhead bytes before its use. Into the L2 cache: the L1 cache has too few
/// misses under way to hide the latency of memory.
TERN_FIXED __attribute__((always_inline)) inline void ask(const std::byte* p) {
  __builtin_prefetch(p, kRead, kIntoL2);
}

/// Asks for the codes that a span of four rows will be followed by, as the one run of bytes that
/// they are (kOneRun), or row by row.
template <class Format>
TERN_FIXED __attribute__((always_inline)) inline void ask_codes(const Row* rows, std::size_t ahead,
                                                                const std::byte*& run) {
  constexpr std::size_t kBytes = Fixed<Format>::kBytes;
  if constexpr (kOneRun) {
#pragma GCC unroll 32
    for (std::size_t line = 0; line < 4 * kBytes; line += 64) ask(run + line);
    run += 4 * kBytes;
  } else {
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 4; ++r)
#pragma GCC unroll 8
      for (std::size_t line = 0; line < kBytes; line += 64) ask(rows[r].codes + ahead + line);
  }
}

/// Bytes from the first code of four rows to their last one.
template <class Format>
std::size_t four_rows(const Matrix& m) {
  return 3 * m.code_stride + m.cols * Fixed<Format>::kBytes / 256;
}

/// Up to four rows, whose codes are at `staged` if it is not null, and T tokens. Inlined, so that
/// the compiler sees that `incoming` writes to a buffer that nothing else is in.
template <class Format, std::size_t T>
TERN_FIXED __attribute__((always_inline)) inline void dot_group(
    const Matrix& m, std::size_t first_row, std::size_t rows, const std::byte* staged,
    Incoming incoming, const FixedUnit* x, std::size_t stride, float* y, std::size_t y_stride) {
  using F = Fixed<Format>;
  Row at[4];  // rows that do not exist repeat the first; nobody reads their sums
  for (std::size_t r = 0; r < 4; ++r) at[r] = row_at<Format>(m, first_row + (r < rows ? r : 0), 0);
  if (staged != nullptr)
    for (std::size_t r = 0; r < 4; ++r) at[r].codes = staged + r * m.code_stride;
  const std::size_t step = incoming.to != nullptr ? 4 * F::kBytes : 0;
  const std::size_t ahead = (kAhead / (4 * m.code_stride + 1) + 1) * 4;
  const std::size_t ahead_codes = ahead * m.code_stride, ahead_scales = ahead * m.scale_stride;
  constexpr bool kPlanes = !requires { Format::kValues; };
  const std::byte* run = at[0].codes + kAhead;
  const std::size_t scale_step = kPlanes ? 256 / m.group * scale_size(m) : 0;

  Lanes acc[T];
  for (std::size_t t = 0; t < T; ++t) acc[t] = broadcast(0);
  GroupScales s;
  const FixedUnit* const end = x + m.cols / 256 * 2;
  for (; x != end; x += 2) {
    if constexpr (kStage == 0) ask_codes<Format>(at, ahead_codes, run);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 4; ++r) {
      if constexpr (kPlanes) ask(at[r].scales + ahead_scales);
      if constexpr (kPlanes && F::kMin) ask(at[r].biases + ahead_scales);
    }
    group_scales<Format>(m, at, s);
    add_unit<Format, T, 0>(at, s, x, stride, incoming, acc);
    add_unit<Format, T, 1>(at, s, x + 1, stride, incoming, acc);
    incoming.advance(step);
    for (std::size_t r = 0; r < 4; ++r) {
      at[r].codes += F::kBytes;
      if constexpr (kPlanes) at[r].scales += scale_step;
      if constexpr (kPlanes && F::kMin) at[r].biases += scale_step;
    }
  }
  incoming.finish(four_rows<Format>(m) - m.cols / 256 * 4 * F::kBytes);
  if (const std::size_t rest = m.cols % 256; rest != 0) {
    Tail<Format> tails[4];
    // What follows a row is another row, whose factors are hidden. After the last ones it may be
    // nothing: they are copied.
    const bool copied = (m.rows - first_row - rows) * m.code_stride < F::kBytes ||
                        (kPlanes && (m.rows - first_row - rows) * m.scale_stride < 64);
    if (copied)
      for (std::size_t r = 0; r < 4; ++r) at[r] = tails[r].copy(m, at[r], rest);
    group_scales<Format>(m, at, s);
    if (!copied) hide<Format>(s, rest);
    add_unit<Format, T, 0>(at, s, x, stride, NothingComes(), acc);
    if (rest > 128) add_unit<Format, T, 1>(at, s, x + 1, stride, NothingComes(), acc);
  }
  for (std::size_t t = 0; t < T; ++t) {
    float sums[4];
    store_strides(sums, acc[t]);
    std::memcpy(y + t * y_stride, sums, rows * sizeof(float));
  }
}

/// Asks for what dot_group(first_row) would have been asked for before, had there been rows before.
template <class Format>
TERN_FIXED void warm(const Matrix& m, std::size_t begin, std::size_t end) {
  const std::byte* const first = m.codes + begin * m.code_stride;
  const std::size_t bytes = std::min(kAhead, (end - begin) * m.code_stride);
  for (std::size_t line = 0; line < bytes; line += 64) ask(first + line);
}

/// Up to four rows and any number of tokens. What comes in does so with the first of them.
template <class Format>
TERN_FIXED __attribute__((always_inline)) inline void dot_tokens(
    const Matrix& m, std::size_t r, std::size_t rows, const std::byte* staged, Incoming incoming,
    const FixedUnit* x, std::size_t stride, std::size_t tokens, float* y, std::size_t y_stride) {
  if constexpr (kMostTokens >= 4)
    for (; tokens >= 4; tokens -= 4, x += 4 * stride, y += 4 * y_stride, incoming.to = nullptr)
      dot_group<Format, 4>(m, r, rows, staged, incoming, x, stride, y, y_stride);
  if constexpr (kMostTokens >= 2)
    for (; tokens >= 2; tokens -= 2, x += 2 * stride, y += 2 * y_stride, incoming.to = nullptr)
      dot_group<Format, 2>(m, r, rows, staged, incoming, x, stride, y, y_stride);
  for (; tokens > 0; --tokens, x += stride, y += y_stride, incoming.to = nullptr)
    dot_group<Format, 1>(m, r, rows, staged, incoming, x, stride, y, y_stride);
}

template <class Format>
TERN_FIXED void dot_rows(const Matrix& m, std::size_t begin, std::size_t end,
                         const FixedUnit* units, std::size_t stride, std::size_t tokens, float* y,
                         std::size_t y_stride) {
  warm<Format>(m, begin, end);
  // A row is read up to a span beyond its end.
  alignas(64) std::byte buffers[2][std::max<std::size_t>(kStage, 1)];
  const bool stage = four_rows<Format>(m) + Fixed<Format>::kBytes <= kStage;
  const std::byte* staged = nullptr;
  for (std::size_t r = begin; r < end; r += 4) {
    Incoming next;
    if (stage && r + 8 <= end)
      next = {m.codes + (r + 4) * m.code_stride, buffers[staged == buffers[0] ? 1 : 0]};
    dot_tokens<Format>(m, r, std::min<std::size_t>(4, end - r), staged, next, units, stride, tokens,
                       y + r - begin, y_stride);
    staged = next.to;
  }
}

// Many tokens: rows are unpacked once into the L1 cache and meet tile after tile there.

template <class Format, std::size_t u>
TERN_FIXED __attribute__((always_inline)) inline void unpack_unit(const Row* rows,
                                                                  const GroupScales& s,
                                                                  std::size_t group,
                                                                  std::size_t unit, Panel& panel) {
  using F = Fixed<Format>;
  for (std::size_t r = 0; r < 4; ++r) {
    Ints w[4];
    F::template unpack<u>(rows[r].codes, w);
    store_codes<Format>(w, unit, 4 * group + r, panel);
  }
  for (std::size_t h = 0; h < (F::kLayout.halves ? 2 : 1); ++h) {
    store(panel.d[group][unit][h], s.d[h][u]);
    if constexpr (F::kMin) store(panel.m[group][unit][h], s.m[h][u]);
  }
}

/// Units [first, first + count) of four rows; `first` is even.
template <class Format, class AnyPanel>
TERN_FIXED void unpack_group(const Matrix& m, std::size_t first_row, std::size_t rows,
                             std::size_t first, std::size_t count, std::size_t group,
                             AnyPanel& panel) {
  for (std::size_t unit = 0; unit < count; unit += 2) {
    const std::size_t span = (first + unit) / 2, cols = m.cols - 256 * span;
    Row at[4];
    Tail<Format> tails[4];
    for (std::size_t r = 0; r < 4; ++r) {
      at[r] = row_at<Format>(m, first_row + (r < rows ? r : 0), span);
      if (cols < 256) at[r] = tails[r].copy(m, at[r], cols);
    }
    GroupScales s;
    group_scales<Format>(m, at, s);
    unpack_unit<Format, 0>(at, s, group, unit, panel);
    unpack_unit<Format, 1>(at, s, group, unit + 1, panel);
  }
}

/// The same of `groups` times four rows, or fewer. A group that does not exist repeats the first.
template <class Format, std::size_t groups, class AnyPanel>
TERN_FIXED void unpack_panel(const Matrix& m, std::size_t first_row, std::size_t rows,
                             std::size_t first, std::size_t count, AnyPanel& panel) {
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t skip = 4 * g < rows ? 4 * g : 0;
    unpack_group<Format>(m, first_row + skip, std::min<std::size_t>(4, rows - skip), first, count,
                         g, panel);
  }
}

/// Running sums of a tile: [block mod 4][row][token].
using Sums = float[4][4 * kGroups][16];

/// at += a x, for a factor in every lane.
TERN_FIXED __attribute__((always_inline)) inline void add_to(float* at, Lanes a, Lanes x) {
  store(at, fma(a, x, load(at)));
}

/// Adds the panel's units of V tiles, `stride` apart, to the sums of each.
template <std::size_t V, bool min, bool halves>
TERN_FIXED void add_panel(const Panel& panel, std::size_t units, const FixedTile* first,
                          std::size_t stride, Sums* acc) {
  constexpr std::size_t kHalves = halves ? 2 : 1;
  for (std::size_t unit = 0; unit < units; ++unit) {
    const FixedTile* tiles[V];
    for (std::size_t v = 0; v < V; ++v) tiles[v] = first + v * stride + unit;
    for (std::size_t block = 0; block < 4; ++block) {
      for (std::size_t h = 0; h < kHalves; ++h) {
        Ints sums[4 * kGroups][V];
        block_sums<V, kHalves>(panel, unit, block, h, tiles, sums);
#pragma GCC unroll 8
        for (std::size_t r = 0; r < 4 * kGroups; ++r) {
          const Lanes d = broadcast(panel.d[r / 4][unit][h][4 * block + r % 4]);
#pragma GCC unroll 4
          for (std::size_t v = 0; v < V; ++v)
            add_to(acc[v][block][r], to_floats(sums[r][v]), mul(d, load(tiles[v]->d[block])));
        }
      }
      if constexpr (min) {
        for (std::size_t h = 0; h < kHalves; ++h)
          for (std::size_t r = 0; r < 4 * kGroups; ++r) {
            const Lanes m = broadcast(panel.m[r / 4][unit][h][4 * block + r % 4]);
            for (std::size_t v = 0; v < V; ++v)
              add_to(acc[v][block][r], m, load(tiles[v]->scaled_sum[h][block]));
          }
      }
    }
  }
}

/// y of one tile, from its running sums.
TERN_FIXED inline void finish(const Sums& acc, std::size_t rows, std::size_t tokens, float* y,
                              std::size_t y_stride) {
  for (std::size_t r = 0; r < rows; ++r) {
    float sums[16];
    store(sums, add(add(load(acc[0][r]), load(acc[2][r])), add(load(acc[1][r]), load(acc[3][r]))));
    for (std::size_t t = 0; t < tokens; ++t) y[t * y_stride + r] = sums[t];
  }
}

/// Tiles whose running sums are kept while a panel is in the cache.
constexpr std::size_t kPanelTiles = 8;

/// kGroups times four rows (or fewer) and kPanelTiles tiles (or fewer).
template <class Format>
TERN_FIXED void multiply_panel(const Matrix& m, std::size_t first_row, std::size_t rows,
                               const FixedTile* tiles, std::size_t stride, std::size_t tokens,
                               float* y, std::size_t y_stride) {
  using F = Fixed<Format>;
  alignas(64) Sums acc[kPanelTiles];
  Panel panel;
  const std::size_t count = (tokens + kTileTokens - 1) / kTileTokens, units = fixed_units(m.cols);
  std::memset(acc, 0, count * sizeof acc[0]);
  for (std::size_t unit = 0; unit < units; unit += kPanelUnits) {
    const std::size_t some = std::min(kPanelUnits, units - unit);
    unpack_panel<Format, kGroups>(m, first_row, rows, unit, some, panel);
    std::size_t i = 0;
    for (; i + kTogether <= count; i += kTogether)
      add_panel<kTogether, F::kMin, F::kLayout.halves>(panel, some, tiles + i * stride + unit,
                                                       stride, acc + i);
    for (; i < count; ++i)
      add_panel<1, F::kMin, F::kLayout.halves>(panel, some, tiles + i * stride + unit, stride,
                                               acc + i);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first = i * kTileTokens;
    finish(acc[i], rows, std::min(kTileTokens, tokens - first), y + first * y_stride, y_stride);
  }
}

template <class Format>
TERN_FIXED void multiply_tiles(const Matrix& m, std::size_t begin, std::size_t end,
                               const FixedTile* tiles, std::size_t stride, std::size_t tokens,
                               float* y, std::size_t y_stride) {
  constexpr std::size_t kTokens = kPanelTiles * kTileTokens, kRows = 4 * kGroups;
  for (std::size_t t = 0; t < tokens; t += kTokens)
    for (std::size_t r = begin; r < end; r += kRows)
      multiply_panel<Format>(m, r, std::min(kRows, end - r), tiles + t / kTileTokens * stride,
                             stride, std::min(kTokens, tokens - t), y + t * y_stride + r - begin,
                             y_stride);
}

template <class Format>
const FixedBytes* bytes_of() {
  if constexpr (kPairsOnly && !requires { Fixed<Format>::kWords; }) {
    static constexpr FixedBytes kBytes = {Fixed<Format>::kZero != 0, Fixed<Format>::kMin,
                                          unpack_panel<Format, 4, BytePanel>};
    return &kBytes;
  } else {
    return nullptr;
  }
}

/// What a format has; null for formats without a Fixed.
template <class Format>
const FixedKernels* kernels_of() {
  if constexpr (requires { Fixed<Format>::kBytes; }) {
    static const FixedKernels kKernels = {
        layout_of<Format>(), kTogether * kTileTokens, kMostUnits,
        dot_rows<Format>,    multiply_tiles<Format>,  bytes_of<Format>()};
    return &kKernels;
  } else {
    return nullptr;
  }
}
