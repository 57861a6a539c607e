#include "kernels/fixed_amx.h"

#if defined(__x86_64__)

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/fixed_words_avx512.h"

namespace tern::kernels::fixed_amx {
namespace {

using namespace fixed_avx512;

#define TERN_FIXED                                                                     \
  __attribute__((                                                                      \
      target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx2,fma,f16c," \
             "bmi,bmi2,amx-tile,amx-int8")))

/// The matrix unit of the CPU. Its instructions are written out, with the memory that they touch:
/// _tile_loadconfig of g++ 12 tells the compiler of 8 of 64 bytes, and stores to the rest are lost.
class MatrixUnit {
 public:
  TERN_FIXED explicit MatrixUnit(std::size_t bytes) {
    struct alignas(64) {
      std::uint8_t palette = 1, first_row = 0, reserved[14] = {};
      std::uint16_t bytes[16] = {};
      std::uint8_t rows[16] = {};
    } config;
    for (std::size_t sums = 0; sums < 4; ++sums) config.bytes[sums] = 64, config.rows[sums] = 16;
    config.bytes[4] = static_cast<std::uint16_t>(bytes), config.rows[4] = 16;  // codes
    for (const std::size_t x : {5uz, 6uz})  // high and low bytes of activations
      config.bytes[x] = 64, config.rows[x] = static_cast<std::uint8_t>(bytes / 4);
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  TERN_FIXED ~MatrixUnit() { asm volatile("tilerelease"); }
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;

  template <bool is_signed>
  TERN_FIXED __attribute__((always_inline)) void multiply(const std::uint8_t* codes,
                                                          const std::byte* x,
                                                          std::int32_t (*out)[16][16],
                                                          std::size_t turn) const {
    constexpr std::int64_t kCodeStride = 32, kStride = 64;
    asm volatile(
        "tileloadd (%0,%3,1), %%tmm4\n\ttileloadd (%1,%4,1), %%tmm5\n\ttileloadd (%2,%4,1), %%tmm6"
        :
        : "r"(codes), "r"(x), "r"(x + 512), "r"(kCodeStride), "r"(kStride)
        : "memory");
#define TERN_PRODUCTS(by_high, by_low, high, low)                                              \
  asm volatile("tilezero %%tmm" high "\n\ttilezero %%tmm" low "\n\t" by_high                   \
               " %%tmm5, %%tmm4, %%tmm" high "\n\t" by_low " %%tmm6, %%tmm4, %%tmm" low        \
               "\n\ttilestored %%tmm" high ", (%0,%2,1)\n\ttilestored %%tmm" low ", (%1,%2,1)" \
               :                                                                               \
               : "r"(out[0]), "r"(out[1]), "r"(kStride)                                        \
               : "memory")
    if (is_signed && turn % 2 == 0) TERN_PRODUCTS("tdpbssd", "tdpbsud", "0", "1");
    if (is_signed && turn % 2 == 1) TERN_PRODUCTS("tdpbssd", "tdpbsud", "2", "3");
    if (!is_signed && turn % 2 == 0) TERN_PRODUCTS("tdpbusd", "tdpbuud", "0", "1");
    if (!is_signed && turn % 2 == 1) TERN_PRODUCTS("tdpbusd", "tdpbuud", "2", "3");
#undef TERN_PRODUCTS
  }
};

#include "kernels/fixed_amx.inc.h"

TERN_FIXED void multiply(const quant::Matrix& weight, std::size_t begin, std::size_t end,
                         const FixedTile* tiles, std::size_t stride, std::size_t tokens, float* y,
                         std::size_t y_stride) {
  multiply_tiles(*fixed_avx512::kernels(weight), weight, begin, end, tiles, stride, tokens, y,
                 y_stride);
}
#undef TERN_FIXED

/// A matrix of some bytes as codes, and tokens to multiply.
class Trial {
 public:
  Trial(std::size_t rows, std::size_t cols, std::size_t tokens)
      : codes_(rows * cols / 32 * 18), x_(tokens * cols), tokens_(tokens) {
    for (std::byte& b : codes_) b = static_cast<std::byte>(next() >> 24);
    for (std::size_t at = 1; at < codes_.size(); at += 18)
      codes_[at] = std::byte{0x2c};  // the upper byte of an f16 number near 1/16
    for (float& v : x_) v = static_cast<float>(next() >> 8) * 0x1p-23f - 1.0f;
    weight_ = {.scheme = quant::Scheme::q4_0,
               .rows = rows,
               .cols = cols,
               .codes = codes_.data(),
               .code_stride = cols / 32 * 18};
  }

  const FixedKernels& format() const { return *fixed_avx512::kernels(weight_); }

  std::vector<FixedTile> tiles(const FixedTiles& form) const {
    std::vector<FixedTile> made((tokens_ + kTileTokens - 1) / kTileTokens * stride());
    for (std::size_t t = 0; t < tokens_; t += kTileTokens) {
      const float* rows[kTileTokens];
      const std::size_t some = std::min(kTileTokens, tokens_ - t);
      for (std::size_t i = 0; i < some; ++i) rows[i] = x_.data() + (t + i) * weight_.cols;
      make_tiles(format().layout, weight_.cols, {rows, some},
                 made.data() + t / kTileTokens * stride());
    }
    if (form.prepare != nullptr) form.prepare(made);
    return made;
  }

  std::vector<float> run(const FixedTiles& form, const std::vector<FixedTile>& tiles) const {
    std::vector<float> y(tokens_ * weight_.rows);
    form.multiply(weight_, 0, weight_.rows, tiles.data(), stride(), tokens_, y.data(),
                  weight_.rows);
    return y;
  }

  /// Of the fastest of some runs.
  double seconds(const FixedTiles& form) const {
    using Clock = std::chrono::steady_clock;
    const auto made = tiles(form);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 5; ++i) {
      const auto start = Clock::now();
      run(form, made);
      best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best;
  }

 private:
  std::uint32_t state_ = 1;
  std::vector<std::byte> codes_;
  std::vector<float> x_;
  std::size_t tokens_;
  quant::Matrix weight_;

  std::uint32_t next() { return state_ = state_ * 1664525u + 1013904223u; }
  std::size_t stride() const { return (fixed_units(weight_.cols) + 1) / 2 * 2; }
};

bool proves_itself() {
  const Trial trial(64, 1024, 64);
  const FixedKernels& format = trial.format();
  const FixedTiles other = {format.together, format.most_units, nullptr, format.tiles};
  const auto one = trial.run(kTiles, trial.tiles(kTiles));
  const auto two = trial.run(other, trial.tiles(other));
  return std::memcmp(one.data(), two.data(), one.size() * sizeof(float)) == 0 &&
         trial.seconds(kTiles) < trial.seconds(other);
}

}  // namespace

// One tile costs as much as five tokens in rows, by counting instructions.
const FixedTiles kTiles = {kTileTokens, 4, split, multiply};

bool chosen() {
  if (isa_is_forced()) return true;
  static const bool proven = proves_itself();
  return proven;
}

}  // namespace tern::kernels::fixed_amx

#endif
