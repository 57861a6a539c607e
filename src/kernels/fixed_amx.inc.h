// The products of fixed_amx.h: included inside a namespace with the words of an instruction set
// (fixed_words_*.h), TERN_FIXED, and MatrixUnit defined. MatrixUnit says what the matrix unit does:
//
//   MatrixUnit unit(bytes)   a unit for operands of so many columns; ends with it
//   unit.multiply<is_signed>(codes, x, out, turn)
//       out[0] = codes high, out[1] = codes low of x: [row][token]. codes: [16][32] bytes; x: as
//       lines() gives it. `turn` counts up, so that successive products can overlap.

/// Of weights: rows of a tile, and such that meet the activations while those are in the L1 cache.
constexpr std::size_t kTileRows = 16, kPanels = 2;
/// Tiles of tokens whose running sums are kept while codes are in the L1 cache. Theirs is the L2
/// cache: eight take 0.8 MB with 2688 columns.
constexpr std::size_t kMostTiles = 8;

/// A block of a tile that was split: lines of bytes of 16 tokens, four columns of each. First the
/// high bytes of q (with sign) of columns 0-3, 4-7 ... 28-31, then the low ones.
using Lines = std::byte[2][8][64];
static_assert(sizeof(Lines) == sizeof(FixedTile::pairs[0]));

inline const std::byte* lines(const FixedTile& tile, std::size_t block) {
  return reinterpret_cast<const std::byte*>(tile.pairs[block]);
}

TERN_FIXED inline void split(std::span<FixedTile> tiles) {
  for (FixedTile& tile : tiles)
    for (auto& pairs : tile.pairs) {
      std::uint32_t high[8][16], low[8][16];
      for (std::size_t k = 0; k < 8; ++k)
        for (std::size_t t = 0; t < kTileTokens; ++t) {
          const auto a = static_cast<std::uint32_t>(pairs[2 * k][t]);
          const auto b = static_cast<std::uint32_t>(pairs[2 * k + 1][t]);
          low[k][t] = (a & 0xff) | (a >> 8 & 0xff00) | (b & 0xff) << 16 | (b << 8 & 0xff000000);
          high[k][t] =
              (a >> 8 & 0xff) | (a >> 16 & 0xff00) | (b << 8 & 0xff0000) | (b & 0xff000000);
        }
      std::memcpy(pairs, high, sizeof high);
      std::memcpy(pairs + 8, low, sizeof low);
    }
}

/// Running sums of a tile: [block mod 4][row][token].
using Sums = float[4][kTileRows][16];
/// Sums of high and low bytes.
using Products = std::int32_t[2][kTileRows][16];

/// acc += d_w d_x (256 high + low), of one block or half of one; d_w of 16 rows is at `d`.
TERN_FIXED __attribute__((always_inline)) inline void fold(const Products& sums, const float* d,
                                                           Lanes d_x, Lanes* acc) {
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kTileRows; ++r) {
    const Ints sum = add_ints(ints_left<8>(load_ints(sums[0][r])), load_ints(sums[1][r]));
    acc[r] = fma(to_floats(sum), mul(broadcast(d[16 * (r / 4) + r % 4]), d_x), acc[r]);
  }
}
/// acc += m_w (d_x sum of q)
TERN_FIXED __attribute__((always_inline)) inline void fold_minima(const float* m, Lanes scaled_sum,
                                                                  Lanes* acc) {
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kTileRows; ++r)
    acc[r] = fma(broadcast(m[16 * (r / 4) + r % 4]), scaled_sum, acc[r]);
}

/// Adds one block of `units` units to the sums [row][token] of a tile. Each product is under way
/// while the one before it is scaled.
template <bool is_signed, bool minima, std::size_t halves>
TERN_FIXED void add_column(const BytePanel& panel, std::size_t block, std::size_t units,
                           const FixedTile* tiles, const MatrixUnit& unit, float (*sums)[16]) {
  alignas(64) Products products[2];
  Lanes acc[kTileRows];
  const auto start = [&](std::size_t step) TERN_FIXED __attribute__((always_inline)) {
    const std::size_t u = step / halves, half = step % halves;
    unit.multiply<is_signed>(panel.codes[u][block][0] + 16 * half,
                             lines(tiles[u], block) + 256 * half, products[step % 2], step);
  };
  start(0);
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kTileRows; ++r) acc[r] = load(sums[r]);
  for (std::size_t u = 0; u < units; ++u) {
    const Lanes d_x = load(tiles[u].d[block]);
#pragma GCC unroll 2
    for (std::size_t half = 0; half < halves; ++half) {
      const std::size_t step = halves * u + half;
      if (step + 1 < halves * units) start(step + 1);
      fold(products[step % 2], panel.d[u][half] + 4 * block, d_x, acc);
    }
#pragma GCC unroll 2
    for (std::size_t half = 0; minima && half < halves; ++half)
      fold_minima(panel.m[u][half] + 4 * block, load(tiles[u].scaled_sum[half][block]), acc);
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < kTileRows; ++r) store(sums[r], acc[r]);
}

using AddColumn = void(const BytePanel&, std::size_t, std::size_t, const FixedTile*,
                       const MatrixUnit&, float (*)[16]);
inline AddColumn* add_column_of(const FixedKernels& format) {
  const bool halves = format.layout.halves, minima = format.bytes->minima;
  if (!format.bytes->is_signed) {
    if (!minima) return halves ? add_column<false, false, 2> : add_column<false, false, 1>;
    return halves ? add_column<false, true, 2> : add_column<false, true, 1>;
  }
  if (!minima) return halves ? add_column<true, false, 2> : add_column<true, false, 1>;
  return halves ? add_column<true, true, 2> : add_column<true, true, 1>;
}

/// y[t * y_stride + r] of four rows and four tokens at `sums`.
TERN_FIXED inline void turn(const float* sums, float* y, std::size_t y_stride) {
  __m128 v[4];
  for (std::size_t i = 0; i < 4; ++i) v[i] = _mm_loadu_ps(sums + 16 * i);
  _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
  for (std::size_t i = 0; i < 4; ++i) _mm_storeu_ps(y + i * y_stride, v[i]);
}

/// y of one tile, from its running sums.
TERN_FIXED inline void finish(const Sums& sums, std::size_t rows, std::size_t tokens, float* y,
                              std::size_t y_stride) {
  alignas(64) float all[kTileRows][16];
  for (std::size_t r = 0; r < kTileRows; ++r)
    store(all[r],
          add(add(load(sums[0][r]), load(sums[2][r])), add(load(sums[1][r]), load(sums[3][r]))));
  for (std::size_t r = 0; r < rows; r += 4)
    for (std::size_t t = 0; t < tokens; t += 4) {
      float turned[4][4];
      const bool whole = rows - r >= 4 && tokens - t >= 4;
      turn(all[r] + t, whole ? y + t * y_stride + r : turned[0], whole ? y_stride : 4);
      for (std::size_t i = 0; !whole && i < std::min<std::size_t>(4, tokens - t); ++i)
        std::copy_n(turned[i], std::min<std::size_t>(4, rows - r), y + (t + i) * y_stride + r);
    }
}

struct Workspace {
  BytePanel panels[kPanels];
  alignas(64) Sums sums[kPanels][kMostTiles];
};

/// Up to kPanels times 16 rows and kMostTiles tiles.
TERN_FIXED inline void multiply_panels(const FixedKernels& format, const quant::Matrix& m,
                                       std::size_t first_row, std::size_t rows,
                                       const FixedTile* tiles, std::size_t stride,
                                       std::size_t tokens, const MatrixUnit& unit, float* y,
                                       std::size_t y_stride, Workspace& work) {
  AddColumn* const add_column = add_column_of(format);
  const std::size_t count = (tokens + kTileTokens - 1) / kTileTokens, units = fixed_units(m.cols);
  const std::size_t panels = (rows + kTileRows - 1) / kTileRows;
  for (std::size_t p = 0; p < panels; ++p)
    std::memset(work.sums[p], 0, count * sizeof work.sums[p][0]);
  for (std::size_t first = 0; first < units; first += BytePanel::kUnits) {
    const std::size_t some = std::min(BytePanel::kUnits, units - first);
    for (std::size_t p = 0; p < panels; ++p)
      format.bytes->unpack(m, first_row + kTileRows * p, std::min(kTileRows, rows - kTileRows * p),
                           first, some, work.panels[p]);
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t block = 0; block < 4; ++block)
        for (std::size_t p = 0; p < panels; ++p)
          add_column(work.panels[p], block, some, tiles + i * stride + first, unit,
                     work.sums[p][i][block]);
  }
  for (std::size_t p = 0; p < panels; ++p)
    for (std::size_t i = 0; i < count; ++i)
      finish(work.sums[p][i], std::min(kTileRows, rows - kTileRows * p),
             std::min(kTileTokens, tokens - i * kTileTokens),
             y + i * kTileTokens * y_stride + kTileRows * p, y_stride);
}

/// As FixedTiles::multiply, for weights of `format`.
TERN_FIXED inline void multiply_tiles(const FixedKernels& format, const quant::Matrix& m,
                                      std::size_t begin, std::size_t end, const FixedTile* tiles,
                                      std::size_t stride, std::size_t tokens, float* y,
                                      std::size_t y_stride) {
  constexpr std::size_t kTokens = kMostTiles * kTileTokens, kRows = kPanels * kTileRows;
  thread_local Buffer<Workspace> work(1);
  const MatrixUnit unit(format.layout.halves ? 16 : 32);
  for (std::size_t t = 0; t < tokens; t += kTokens)
    for (std::size_t r = begin; r < end; r += kRows)
      multiply_panels(format, m, r, std::min(kRows, end - r), tiles + t / kTileTokens * stride,
                      stride, std::min(kTokens, tokens - t), unit, y + t * y_stride + r - begin,
                      y_stride, work[0]);
}
