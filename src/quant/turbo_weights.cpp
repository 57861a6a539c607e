#include "quant/turbo_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/cpu.h"
#include "quant/codec_kernels.h"
#include "quant/rotation.h"
#include "tensor/half.h"

namespace tern::quant {
namespace {

constexpr std::size_t kLeastBits = 2, kMostBits = 5;

template <std::size_t bits>
struct Levels {
  alignas(64) float values[32];

  constexpr Levels() {
    for (std::size_t i = 0; i < 32; ++i)
      values[i] = kTurboStep * static_cast<float>(kTurboSteps<bits>[i]);
  }
};
template <std::size_t bits>
constexpr Levels<bits> kLevels;

/// The nearest of the levels.
Codebook codebook_of(std::size_t bits) {
  const float* const levels = turbo_levels(bits);
  Codebook codebook;
  codebook.levels.assign(levels, levels + (std::size_t{1} << bits));
  for (std::size_t i = 0; i + 1 < codebook.levels.size(); ++i)
    codebook.bounds.push_back((codebook.levels[i] + codebook.levels[i + 1]) / 2);
  return codebook;
}

/// Codes of a group, their f16 scale, and the squared error.
struct Coded {
  std::array<std::uint8_t, kTurboGroup> codes;
  std::uint16_t scale = 0;
  float error = 0;
};

/// The nearest codes for `scale`, rounded to f16; then the best scale for them.
Coded code(const float* r, float square, float scale, const CodebookTable& table, float& best) {
  Coded out;
  out.scale = float_to_f16(scale);
  const float s = f16_to_float(out.scale);
  const Fit fit = codec_kernels(active_isa())
                      .assign(r, kTurboGroup, s > 0 ? 1 / s : 0, table, out.codes.data());
  out.error = square - 2 * s * fit.cross + s * s * fit.square;
  best = fit.cross / fit.square;
  return out;
}

/// Least error over several scales; from each, the best scale of the codes found is tried next.
Coded search(const float* r, const CodebookTable& table) {
  constexpr float kLeastScale = 0x1p-24f;  // of f16
  constexpr int kStarts = 13, kRounds = 4;
  const float square = codec_kernels(active_isa()).square_sum(r, kTurboGroup);
  const float rms = std::sqrt(square / kTurboGroup);
  float next = 0;
  Coded best = code(r, square, rms, table, next);
  if (rms < kLeastScale) return best;
  for (int start = 0; start < kStarts; ++start) {
    next = rms * (0.7f + 0.05f * static_cast<float>(start));
    std::uint16_t scale = 0;
    for (int round = 0; round < kRounds; ++round) {
      const Coded trial = code(r, square, next, table, next);
      if (trial.scale == scale) break;  // it has settled
      scale = trial.scale;
      if (trial.error < best.error) best = trial;
    }
  }
  return best;
}

/// Eight codes into `bits` bytes, the first in the lowest bits.
void pack8(const std::uint8_t* codes, std::size_t bits, std::byte* out) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word |= std::uint64_t{codes[i]} << (bits * i);
  for (std::size_t i = 0; i < bits; ++i) out[i] = static_cast<std::byte>(word >> (8 * i));
}

}  // namespace

const float* turbo_levels(std::size_t bits) {
  TERN_CHECK(bits >= kLeastBits && bits <= kMostBits);
  static constexpr const float* kAll[] = {kLevels<2>.values, kLevels<3>.values, kLevels<4>.values,
                                          kLevels<5>.values};
  return kAll[bits - kLeastBits];
}

const float* rht64_signs(std::uint64_t seed) {
  static std::mutex mutex;
  static std::map<std::uint64_t, Rotation> known;
  const std::scoped_lock lock(mutex);
  const auto place =
      known.try_emplace(seed, Rotation::make(RotationKind::hadamard, kTurboGroup, seed)).first;
  return place->second.parameters().data();
}

void rotate_inputs(const float* signs, float* x, std::size_t n) {
  TERN_CHECK(n % kTurboGroup == 0);
  const auto hadamard = codec_kernels(active_isa()).hadamard;
  for (std::size_t i = 0; i < n; i += kTurboGroup)
    hadamard(x + i, kTurboGroup, kTurboGroup, signs, true);
}

void unrotate_inputs(const float* signs, float* x, std::size_t n) {
  TERN_CHECK(n % kTurboGroup == 0);
  const auto hadamard = codec_kernels(active_isa()).hadamard;
  for (std::size_t i = 0; i < n; i += kTurboGroup)
    hadamard(x + i, kTurboGroup, kTurboGroup, signs, false);
}

double encode_turbo_row(std::span<const float> w, std::size_t bits, const float* signs,
                        std::span<std::byte> codes, std::span<std::byte> scales) {
  TERN_CHECK(bits >= kLeastBits && bits <= kMostBits && w.size() % kTurboGroup == 0);
  TERN_CHECK(codes.size() == w.size() * bits / 8 && scales.size() == w.size() / kTurboGroup * 2);
  const CodebookTable table(codebook_of(bits));
  double error = 0;
  for (std::size_t g = 0; g < w.size() / kTurboGroup; ++g) {
    std::array<float, kTurboGroup> r;
    std::ranges::copy(w.subspan(g * kTurboGroup, kTurboGroup), r.begin());
    rotate_inputs(signs, r.data(), kTurboGroup);
    const Coded coded = search(r.data(), table);
    error += static_cast<double>(coded.error);
    std::memcpy(scales.data() + 2 * g, &coded.scale, sizeof coded.scale);
    for (std::size_t i = 0; i < kTurboGroup; i += 8)
      pack8(coded.codes.data() + i, bits, codes.data() + (g * kTurboGroup + i) * bits / 8);
  }
  return error;
}

}  // namespace tern::quant
