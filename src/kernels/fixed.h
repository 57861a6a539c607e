// Matrix products in which activations are 16-bit integers.
//
// A block of 32 activations is x[c] = d q[c] with d = max |x| / 32767 and q rounded to nearest, so
// that an activation errs by less than 2^-16 of the largest in its block. Codes of weights are
// integers as they stand in the file. The sum of a block is exact in 32 bits, whatever the order of
// its terms and however many are added by one instruction; only then scales come in:
//
//   y = sum over blocks b of  d_w(b) d_x(b) (sum of code q)  +  m_w(b) (d_x(b) sum of q)
//
// in float32, four running sums for b mod 4 (or for the blocks' place in a vector), in rising
// order. So one token, many tokens, NEON, AVX2 and AVX-512 give the same bits by
// different instructions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"
#include "quant/matrix.h"
#include "tensor/buffer.h"

namespace tern::kernels {

/// Where a column of a block stands among the sixteen pairs that meet the codes' words; each kind
/// is what unpacking a format gives without a shuffle.
enum class Order : std::uint8_t {
  bytes,    ///< even and odd bytes of values 0-15, then of 16-31
  nibbles,  ///< four consecutive values in a word
  crumbs,   ///< eight consecutive values in a word, even ones and odd ones apart
  runs,     ///< eight consecutive values
};

/// How activations of a tile follow each other. As words: two columns of each token in turn, or one
/// column of every token and then the next. As bytes, first the high ones and then the low ones
/// less 128: four or eight columns of each token in turn.
enum class TileOrder : std::uint8_t { pairs, columns, quads, octets };

#if defined(__aarch64__)
inline constexpr bool kPairsOnly = false;
#else
inline constexpr bool kPairsOnly = true;
#endif

/// What FixedUnit::sum adds: q, its low bytes, or its high ones.
enum class UnitSum : std::uint8_t { whole, low, high };

/// How activations must be laid out to meet a format.
struct FixedLayout {
  Order order = Order::bytes;
  bool interleaved = false;  ///< of 8 blocks first 0, 2, 4, 6 and then 1, 3, 5, 7
  bool halves = false;       ///< a scale covers 16 columns: sums of half blocks
  TileOrder tile = TileOrder::pairs;
  UnitSum sum = UnitSum::whole;

  /// Whether activations are bytes: q = 256 high + low, high with a sign and low without.
  constexpr bool bytewise() const { return !kPairsOnly && tile >= TileOrder::quads; }
  bool operator==(const FixedLayout&) const = default;
};

/// 128 activations of one token, in four blocks. Vectors have four lanes for each block.
struct alignas(64) FixedUnit {
  std::int16_t q[4][32];    ///< [j][8 block + e]; or bytes [half][high, low][16 block + e]
  float d[16];              ///< d_x, four times for each block
  std::int32_t sum[2][16];  ///< UnitSum of the block, or of its halves; four times each
  float scaled_sum[2][16];  ///< d_x times that
};

/// 128 activations each of 16 tokens, token by token in the lanes.
struct alignas(64) FixedTile {
  std::int32_t pairs[4][16][16];  ///< [block][4 j + e / 2][token]: two q; or as TileOrder says, or
                                  ///< bytes (fixed_amx.h)
  float d[4][16];                 ///< [block][token]
  float scaled_sum[2][4][16];     ///< [half][block][token]
};

inline constexpr std::size_t kTileTokens = 16;

/// Sixteen rows as bytes, and their factors.
struct alignas(64) BytePanel {
  static constexpr std::size_t kUnits = 8;  ///< that are unpacked at a time

  std::uint8_t codes[kUnits][4][16][32];  ///< [unit][block][row][8 j + e]
  float d[kUnits][2][64];                 ///< [unit][half][16 (row / 4) + 4 block + row % 4]
  float m[kUnits][2][64];                 ///< of 1
};

/// What products of bytes need of a format whose codes fit into them.
struct FixedBytes {
  bool is_signed;  ///< what `unpack` gives
  bool minima;     ///< whether there are factors of 1

  /// Units [first, first + count) of up to 16 rows; `first` is even. Rows that do not exist repeat
  /// others.
  void (*unpack)(const quant::Matrix& weight, std::size_t first_row, std::size_t rows,
                 std::size_t first, std::size_t count, BytePanel& panel);
};

/// One storage format on one instruction set.
struct FixedKernels {
  FixedLayout layout;

  /// How many tokens of tiles are multiplied together, and up to how many of what is left of them
  /// take less time in `rows`.
  std::size_t together, most_units;

  /// y[t * y_stride + r - begin] for rows [begin, end) and every token; `units` holds `stride`
  /// units for each token.
  void (*rows)(const quant::Matrix& weight, std::size_t begin, std::size_t end,
               const FixedUnit* units, std::size_t stride, std::size_t tokens, float* y,
               std::size_t y_stride);

  /// The same for many tokens; `tiles` holds `stride` tiles for each 16 of them.
  void (*tiles)(const quant::Matrix& weight, std::size_t begin, std::size_t end,
                const FixedTile* tiles, std::size_t stride, std::size_t tokens, float* y,
                std::size_t y_stride);

  const FixedBytes* bytes;  ///< null where codes are wider, or nothing needs them
};

/// A product of many tokens: as the last members of FixedKernels.
struct FixedTiles {
  std::size_t together, most_units;

  /// What is done to the tiles of make_tiles first, if anything.
  void (*prepare)(std::span<FixedTile> tiles);

  void (*multiply)(const quant::Matrix& weight, std::size_t begin, std::size_t end,
                   const FixedTile* tiles, std::size_t stride, std::size_t tokens, float* y,
                   std::size_t y_stride);
};

/// Null when weights of this format, or this CPU, have no such form.
const FixedKernels* fixed_kernels(const quant::Matrix& weight, Isa isa);
/// The fastest form for many tokens: that of `kernels`, or of AMX.
FixedTiles fixed_tiles(const FixedKernels& kernels, Isa isa);
/// The instruction set of the products where `isa` was chosen: less than Isa::amx where tiles of
/// bytes do not prove themselves. The first call may take milliseconds.
Isa products_isa(Isa isa);
namespace fixed_avx2 {
const FixedKernels* kernels(const quant::Matrix& weight);
}
namespace fixed_avx512 {
const FixedKernels* kernels(const quant::Matrix& weight);
}
namespace fixed_neon {
const FixedKernels* kernels(const quant::Matrix& weight);
}
namespace fixed_dotprod {
const FixedKernels* kernels(const quant::Matrix& weight);
}
namespace fixed_i8mm {
const FixedKernels* kernels(const quant::Matrix& weight);
}

/// 128-column units that `cols` columns fill, the last one perhaps in part.
constexpr std::size_t fixed_units(std::size_t cols) {
  return (cols + 127) / 128;
}

/// Lays out x [cols] in `units`, fixed_units(cols) rounded up to even of them. What is not finite
/// makes its block NaN.
void make_units(const FixedLayout& layout, std::span<const float> x, FixedUnit* units);

/// The same for up to 16 tokens, whose activations [cols] are at x[0], x[1] ...; others are zero.
void make_tiles(const FixedLayout& layout, std::size_t cols, std::span<const float* const> x,
                FixedTile* tiles);

}  // namespace tern::kernels
