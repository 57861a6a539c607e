#include "kernels/fixed.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/fixed_amx.h"

namespace tern::kernels {
namespace {

/// The column of a block that stands at pair word e < 8 of row j.
constexpr std::size_t column(Order order, std::size_t j, std::size_t e) {
  switch (order) {
    case Order::bytes:
      return 16 * (j / 2) + 2 * e + j % 2;
    case Order::nibbles:
      return 4 * e + j;
    case Order::crumbs:
      return 8 * (e % 4) + 2 * j + e / 4;
    case Order::runs:
      return 8 * j + e;
  }
  return 0;
}

/// The column of a block that stands at byte e < 16 of half h.
constexpr std::size_t byte_column(Order order, std::size_t h, std::size_t e) {
  switch (order) {
    case Order::bytes:
      return 16 * h + e;
    case Order::nibbles:
      return 2 * e + h;
    case Order::crumbs:
      return 4 * (e % 8) + 2 * h + e / 8;
    case Order::runs:  // of codes that do not fit a byte
      break;
  }
  return 0;
}

struct Columns {
  std::uint8_t words[4][32];  ///< [order][8 j + e]
  std::uint8_t bytes[4][32];  ///< [order][16 half + e]
};
constexpr Columns kColumns = [] {
  Columns columns{};
  for (std::size_t order = 0; order < 4; ++order)
    for (std::size_t i = 0; i < 32; ++i) {
      const auto of = static_cast<Order>(order);
      columns.words[order][i] = static_cast<std::uint8_t>(column(of, i / 8, i % 8));
      columns.bytes[order][i] = static_cast<std::uint8_t>(byte_column(of, i / 16, i % 16));
    }
  return columns;
}();
const std::uint8_t* columns_of(const FixedLayout& layout) {
  const auto order = static_cast<std::size_t>(layout.order);
  return layout.bytewise() ? kColumns.bytes[order] : kColumns.words[order];
}

/// The block of columns that stands at `place` (unit and quarter of it).
constexpr std::size_t block_at(const FixedLayout& layout, std::size_t place) {
  if (!layout.interleaved) return place;
  return place / 8 * 8 + 2 * (place % 4) + place / 4 % 2;
}

struct Block {
  std::int32_t q[32] = {};
  std::int32_t sum[2] = {};
  float d = 0;
  float scaled_sum[2] = {};
};

constexpr std::uint32_t kInfinity = 0x7f800000;
/// Below this largest magnitude a block counts as zero: its inverse is no float.
constexpr std::uint32_t kTiny = std::bit_cast<std::uint32_t>(0x1p-110f);

Block make_block(const FixedLayout& layout, const float* x, std::size_t count) {
  Block block;
  float values[32] = {};
  std::copy_n(x, count, values);
  std::uint32_t largest = 0;  // magnitudes are ordered as their bits, NaN last
  for (const float v : values)
    largest = std::max(largest, std::bit_cast<std::uint32_t>(v) & 0x7fffffffu);
  if (largest >= kInfinity) {
    block.d = block.scaled_sum[0] = block.scaled_sum[1] = std::numeric_limits<float>::quiet_NaN();
    return block;
  }
  if (largest < kTiny) return block;
  const float max = std::bit_cast<float>(largest), inverse = 32767.0f / max;
  block.d = max / 32767.0f;
  constexpr float kRound = 0x1.8p23f;  // added and taken away: to the nearest integer, ties to even
  for (std::size_t i = 0; i < 32; ++i)
    block.q[i] = static_cast<std::int32_t>((values[i] * inverse + kRound) - kRound);
  std::int32_t halves[2] = {};
  for (std::size_t i = 0; i < 16; ++i) halves[0] += block.q[i];
  for (std::size_t i = 16; i < 32; ++i) halves[1] += block.q[i];
  block.sum[0] = layout.halves ? halves[0] : halves[0] + halves[1];
  block.sum[1] = halves[1];
  for (std::size_t h = 0; h < 2; ++h)
    block.scaled_sum[h] = block.d * static_cast<float>(block.sum[h]);
  return block;
}

/// Calls `use(place, block)` for every place of the units.
template <class Use>
void for_blocks(const FixedLayout& layout, const float* x, std::size_t cols, std::size_t units,
                const Use& use) {
  for (std::size_t place = 0; place < 4 * units; ++place) {
    const std::size_t first = 32 * block_at(layout, place);
    use(place, first >= cols
                   ? Block()
                   : make_block(layout, x + first, std::min<std::size_t>(32, cols - first)));
  }
}

constexpr std::size_t even(std::size_t units) {
  return (units + 1) / 2 * 2;
}

std::uint8_t high_byte(std::int32_t q) {
  return static_cast<std::uint8_t>(static_cast<std::uint32_t>(q) >> 8);
}
std::uint8_t low_byte(std::int32_t q) {
  return static_cast<std::uint8_t>(q);
}

/// UnitSum of a block, or of half h of it.
std::int32_t sum_of(const FixedLayout& layout, const Block& block, std::size_t h) {
  if (!layout.bytewise() || layout.sum == UnitSum::whole) return block.sum[h];
  std::int32_t sum = 0;
  for (std::size_t i = h * 16; i < (layout.halves ? h * 16 + 16 : 32); ++i)
    sum += layout.sum == UnitSum::low ? low_byte(block.q[i])
                                      : static_cast<std::int8_t>(high_byte(block.q[i]));
  return sum;
}

/// Block `lane` of a unit.
void put_bytes(const Block& block, const std::uint8_t* columns, std::size_t lane, FixedUnit& unit) {
  auto* const bytes = reinterpret_cast<std::uint8_t*>(unit.q);
  for (std::size_t i = 0; i < 32; ++i) {
    std::uint8_t* const at = bytes + i / 16 * 128 + 16 * lane + i % 16;
    at[0] = high_byte(block.q[columns[i]]);
    at[64] = low_byte(block.q[columns[i]]);
  }
}

/// Token t of a block of a tile, in another order than pairs.
void put_token(TileOrder order, const Block& block, const std::uint8_t* columns, std::size_t t,
               std::int32_t (*pairs)[16]) {
  auto* const words = reinterpret_cast<std::int16_t*>(pairs);
  auto* const bytes = reinterpret_cast<std::uint8_t*>(pairs);
  const std::size_t together = order == TileOrder::quads ? 4 : 8;
  for (std::size_t i = 0; i < 32; ++i) {
    const std::int32_t q = block.q[columns[i]];
    if (order == TileOrder::columns) {
      words[i * kTileTokens + t] = static_cast<std::int16_t>(q);
    } else {
      std::uint8_t* const at = bytes + (i / together * kTileTokens + t) * together + i % together;
      at[0] = high_byte(q);
      at[512] = low_byte(q) ^ 0x80;
    }
  }
}

}  // namespace

const FixedKernels* fixed_kernels(const quant::Matrix& weight, Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512 || isa == Isa::amx) {
    const FixedKernels* const found = fixed_avx512::kernels(weight);
    return found != nullptr ? found : fixed_avx2::kernels(weight);
  }
  if (isa == Isa::avx2) return fixed_avx2::kernels(weight);
#elif defined(__aarch64__)
  if (isa == Isa::neon) {
    for (const auto kernels : {fixed_i8mm::kernels, fixed_dotprod::kernels})
      if (const FixedKernels* const found = kernels(weight)) return found;
    return fixed_neon::kernels(weight);
  }
#endif
  static_cast<void>(weight);
  static_cast<void>(isa);
  return nullptr;
}

FixedTiles fixed_tiles(const FixedKernels& kernels, Isa isa) {
#if defined(__x86_64__)
  if (kernels.bytes != nullptr && products_isa(isa) == Isa::amx) return fixed_amx::kTiles;
#endif
  static_cast<void>(isa);
  return {kernels.together, kernels.most_units, nullptr, kernels.tiles};
}

Isa products_isa(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::amx && !fixed_amx::chosen()) return Isa::avx512;
#endif
  return isa;
}

void make_units(const FixedLayout& layout, std::span<const float> x, FixedUnit* units) {
  const std::uint8_t* const columns = columns_of(layout);
  for_blocks(layout, x.data(), x.size(), even(fixed_units(x.size())),
             [&](std::size_t place, const Block& block) {
               FixedUnit& unit = units[place / 4];
               const std::size_t lane = place % 4;
               if (layout.bytewise())
                 put_bytes(block, columns, lane, unit);
               else
                 for (std::size_t j = 0; j < 4; ++j)
                   for (std::size_t e = 0; e < 8; ++e)
                     unit.q[j][8 * lane + e] =
                         static_cast<std::int16_t>(block.q[columns[8 * j + e]]);
               std::fill_n(unit.d + 4 * lane, 4, block.d);
               for (std::size_t h = 0; h < 2; ++h) {
                 std::fill_n(unit.sum[h] + 4 * lane, 4, sum_of(layout, block, h));
                 std::fill_n(unit.scaled_sum[h] + 4 * lane, 4, block.scaled_sum[h]);
               }
             });
}

void make_tiles(const FixedLayout& layout, std::size_t cols, std::span<const float* const> x,
                FixedTile* tiles) {
  const std::uint8_t* const columns = columns_of(layout);
  const std::size_t units = even(fixed_units(cols));
  if (x.size() < kTileTokens) std::fill_n(tiles, units, FixedTile{});
  for (std::size_t t = 0; t < x.size(); ++t)
    for_blocks(layout, x[t], cols, units, [&](std::size_t place, const Block& block) {
      FixedTile& tile = tiles[place / 4];
      const std::size_t lane = place % 4;
      if (!kPairsOnly && layout.tile != TileOrder::pairs)
        put_token(layout.tile, block, columns, t, tile.pairs[lane]);
      else
        for (std::size_t i = 0; i < 16; ++i) {
          const auto low = static_cast<std::uint16_t>(block.q[columns[2 * i]]);
          const auto high = static_cast<std::uint16_t>(block.q[columns[2 * i + 1]]);
          tile.pairs[lane][i][t] = static_cast<std::int32_t>(low | (std::uint32_t{high} << 16));
        }
      tile.d[lane][t] = block.d;
      for (std::size_t h = 0; h < 2; ++h) tile.scaled_sum[h][lane][t] = block.scaled_sum[h];
    });
}

}  // namespace tern::kernels
