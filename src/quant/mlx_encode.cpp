#include "quant/mlx_encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/cpu.h"
#include "quant/mlx_search.h"
#include "tensor/half.h"

namespace tern::quant {
namespace {

constexpr float kLargestE2m1 = 6, kLargestE4m3 = 448;

/// `value` as `type` holds it.
float rounded(DType type, float value) {
  if (type == DType::bf16) return bf16_to_float(float_to_bf16(value));
  if (type == DType::f16) return f16_to_float(float_to_f16(value));
  return value;
}

void store(DType type, float value, std::byte* plane, std::size_t index) {
  if (type == DType::f32) {
    std::memcpy(plane + 4 * index, &value, sizeof value);
    return;
  }
  const std::uint16_t bits = type == DType::bf16 ? float_to_bf16(value) : float_to_f16(value);
  std::memcpy(plane + 2 * index, &bits, sizeof bits);
}

/// Eight codes into `bits` bytes, the first in the lowest bits.
void pack(const std::uint8_t* codes, std::size_t count, std::size_t bits, std::byte* out) {
  for (std::size_t i = 0; i < count; i += 8) {
    std::uint64_t word = 0;
    for (std::size_t j = 0; j < 8; ++j) word |= std::uint64_t{codes[i + j]} << (bits * j);
    for (std::size_t j = 0; j < bits; ++j) *out++ = static_cast<std::byte>(word >> (8 * j));
  }
}

double square(float value) {
  return static_cast<double>(value) * static_cast<double>(value);
}

/// One group and what its columns matter; all ones when nothing is known.
struct Group {
  std::span<const float> w;
  std::array<float, kMostGroup> u;

  Group(std::span<const float> values, std::span<const float> importance) : w(values) {
    u.fill(1.0f);
    if (importance.empty()) return;
    const float most = std::ranges::max(importance);
    if (!(most > 0) || !std::isfinite(most)) return;  // a part of the model that nothing visited
    for (std::size_t i = 0; i < w.size(); ++i) u[i] = std::max(importance[i] / most, 1e-6f);
  }
};

// Affine: w = scale q + bias.

struct Affine {
  float scale = 0, bias = 0;
  bool operator==(const Affine&) const = default;
};

/// MLX's own choice, in full precision.
Affine reference_affine(std::span<const float> w, float levels) {
  const auto [least, most] = std::ranges::minmax(w);
  const bool low_end = std::abs(least) > std::abs(most);
  Affine a;
  a.scale = std::max((most - least) / levels, 1e-7f);
  if (!low_end) a.scale = -a.scale;
  const float edge = low_end ? least : most;
  const float q0 = std::nearbyint(edge / a.scale);
  if (q0 != 0) a = {edge / q0, edge};
  return a;
}

Affine rounded(DType type, const Affine& a) {
  return {rounded(type, a.scale), rounded(type, a.bias)};
}

/// Searches from the range of a group, narrowed step by step.
class AffineSearch {
 public:
  AffineSearch(const Group& group, float levels, DType type)
      : group_(group), levels_(levels), type_(type), kernels_(search_kernels(active_isa())) {
    for (std::size_t i = 0; i < group.w.size(); ++i) {
      const double u = static_cast<double>(group.u[i]);
      u_ += u;
      w_ += u * static_cast<double>(group.w[i]);
    }
  }

  Affine run() {
    const auto [least, most] = std::ranges::minmax(group_.w);
    visit(rounded(type_, reference_affine(group_.w, levels_)));
    const float range = most - least;
    if (!(range > 0)) return best_;
    // Few codes profit from a narrow range, whose ends are cut; many hardly.
    const int starts = levels_ <= 3 ? 11 : levels_ <= 7 ? 9 : levels_ <= 15 ? 7 : 4;
    const float narrowest = levels_ <= 3 ? 0.70f : levels_ <= 7 ? 0.50f : 0.28f;
    for (int i = 0; i < starts; ++i) {
      const float part = static_cast<float>(i) / static_cast<float>(starts - 1);
      const float step = range / (levels_ * (0.90f + narrowest * part));
      improve({step, (least + most - step * levels_) / 2});
    }
    return best_;
  }

 private:
  /// Codes and least squares in turn, until nothing moves.
  void improve(Affine a) {
    constexpr int kRounds = 3;
    Affine before;
    for (int round = 0; round < kRounds; ++round) {
      a = rounded(type_, a);
      if (a == before || !(std::abs(a.scale) > 1e-30f)) return;
      before = a;
      const AffineSums sums = visit(a);
      const double q = static_cast<double>(sums.q), qq = static_cast<double>(sums.qq),
                   wq = static_cast<double>(sums.wq);
      const double determinant = u_ * qq - q * q;
      if (!(determinant > 1e-9 * u_ * qq)) return;
      a.scale = rounded(type_, static_cast<float>((u_ * wq - w_ * q) / determinant));
      a.bias = static_cast<float>((w_ - static_cast<double>(a.scale) * q) / u_);
    }
  }

  AffineSums visit(const Affine& a) {
    const AffineSums sums = kernels_.affine(group_.w.data(), group_.u.data(), group_.w.size(),
                                            a.scale, a.bias, levels_);
    if (sums.error < least_) {
      least_ = sums.error;
      best_ = a;
    }
    return sums;
  }

  const Group& group_;
  float levels_;
  DType type_;
  const SearchKernels& kernels_;
  double u_ = 0, w_ = 0;  // sums of u, and of u w
  float least_ = INFINITY;
  Affine best_;
};

/// The codes of a group by `chosen`; the error is that of `stored`, which is what a reader sees.
double affine_codes(std::span<const float> w, const Affine& chosen, const Affine& stored,
                    float levels, bool reference, std::uint8_t* codes) {
  double error = 0;
  const float inverse = 1 / chosen.scale;
  for (std::size_t i = 0; i < w.size(); ++i) {
    // The search has multiplied by the inverse, MLX divides.
    const float x =
        reference ? (w[i] - chosen.bias) / chosen.scale : (w[i] - chosen.bias) * inverse;
    const float q = std::min(std::max(std::nearbyint(x), 0.0f), levels);
    codes[i] = static_cast<std::uint8_t>(q);
    error += square(w[i] - (q * stored.scale + stored.bias));
  }
  return error;
}

// Floats: w = scale * element.

/// The nearest E4M3 number, ties to even; 448 at most.
std::uint8_t to_e4m3(float value) {
  const auto sign = static_cast<std::uint8_t>(std::signbit(value) ? 0x80 : 0);
  const float a = std::min(std::abs(value), kLargestE4m3);
  if (a == 0) return sign;
  int exponent = 0;
  std::frexp(a, &exponent);  // a = f 2^exponent, f in [1/2, 1)
  const int step = std::max(exponent - 4, -9);
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(a, -step)));  // 0..16
  // Subnormal numbers are below 8 units of 2^-9; others have 8..15 units of 2^step.
  const int code = units + 8 * (step + 9);
  return static_cast<std::uint8_t>(sign | code);
}

/// The code of the nearest E2M1 number; of two as near, the first.
std::uint8_t to_e2m1(float value) {
  std::uint8_t best = 0;
  for (std::uint8_t code = 1; code < 16; ++code)
    if (std::abs(value - kE2m1[code]) < std::abs(value - kE2m1[best])) best = code;
  return best;
}

/// The same, for the search: by comparisons with the middles.
std::uint8_t to_e2m1_fast(float value) {
  const float a = std::abs(value);
  const int code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) +
                   (a >= 3.5f) + (a > 5.0f);
  return static_cast<std::uint8_t>(code | (value < 0 && code > 0 ? 8 : 0));
}

/// A mode whose scales are one byte.
struct FloatMode {
  bool e4m3_scale;    ///< else E8M0
  bool e4m3_element;  ///< else E2M1

  explicit FloatMode(Scheme scheme)
      : e4m3_scale(scheme == Scheme::mlx_nvfp4), e4m3_element(scheme == Scheme::mlx_mxfp8) {}

  float largest() const { return e4m3_element ? kLargestE4m3 : kLargestE2m1; }
  float scale(std::uint8_t code) const {
    return e4m3_scale ? e4m3_to_float(code) : e8m0_to_float(code);
  }
};

/// MLX's own choice for bf16 weights, each of whose steps is rounded to bf16.
std::uint8_t reference_scale(std::span<const float> w, const FloatMode& mode) {
  float most = 0;
  for (const float value : w) most = std::max(most, std::abs(value));
  const float scale = rounded(DType::bf16, most / mode.largest());
  if (mode.e4m3_scale) return to_e4m3(scale);
  if (scale == 0) return 127;
  const float power = std::ceil(std::log2(scale));
  return static_cast<std::uint8_t>(std::clamp(static_cast<int>(power) + 127, 0, 254));
}

/// The scale of least weighted error among those near the reference's.
std::uint8_t searched_scale(const Group& group, const FloatMode& mode) {
  const SearchKernels& kernels = search_kernels(active_isa());
  const auto measure = mode.e4m3_element ? kernels.e4m3 : kernels.e2m1;
  const int reference = reference_scale(group.w, mode);
  // A step of E8M0 is a factor of 2, one of E4M3 a sixteenth to an eighth.
  const int first = reference - (mode.e4m3_scale ? 3 : 2);
  const int last = reference + (mode.e4m3_scale ? 9 : 1);
  const int most = mode.e4m3_scale ? 126 : 254;
  int best = reference;
  float least = INFINITY;
  for (int code = std::max(first, 0); code <= std::min(last, most); ++code) {
    const float scale = mode.scale(static_cast<std::uint8_t>(code));
    const float error = measure(group.w.data(), group.u.data(), group.w.size(), scale);
    if (error < least || (error == least && code == reference)) {
      least = error;
      best = code;
    }
  }
  return static_cast<std::uint8_t>(best);
}

double float_codes(std::span<const float> w, float scale, const FloatMode& mode, bool reference,
                   std::uint8_t* codes) {
  double error = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const float x = scale > 0 ? w[i] / scale : 0;
    const float seen = reference ? rounded(DType::bf16, x) : x;
    codes[i] = mode.e4m3_element ? to_e4m3(seen) : reference ? to_e2m1(seen) : to_e2m1_fast(seen);
    error += square(w[i] - scale * (mode.e4m3_element ? e4m3_to_float(codes[i]) : kE2m1[codes[i]]));
  }
  return error;
}

double encode_affine_group(const Group& group, const MlxFormat& format, DType type, Encoder encoder,
                           std::uint8_t* codes, Affine& stored) {
  const auto levels = static_cast<float>((1u << format.bits) - 1);
  const bool reference = encoder == Encoder::reference;
  const Affine chosen =
      reference ? reference_affine(group.w, levels) : AffineSearch(group, levels, type).run();
  stored = rounded(type, chosen);
  return affine_codes(group.w, chosen, stored, levels, reference, codes);
}

}  // namespace

double encode_mlx_row(std::span<const float> w, std::span<const float> importance,
                      const MlxFormat& format, DType scale_type, Encoder encoder,
                      std::span<std::byte> codes, std::span<std::byte> scales,
                      std::span<std::byte> biases) {
  const std::size_t size = format.group;
  TERN_CHECK(size > 0 && size <= kMostGroup && w.size() % size == 0);
  TERN_CHECK(codes.size() == w.size() * format.bits / 8);
  TERN_CHECK(importance.empty() || importance.size() == w.size());
  const bool affine = format.scheme == Scheme::mlx_affine;
  const FloatMode mode(format.scheme);
  std::array<std::uint8_t, kMostGroup> q;
  double error = 0;
  for (std::size_t g = 0; g < w.size() / size; ++g) {
    const Group group(w.subspan(g * size, size),
                      importance.empty() ? importance : importance.subspan(g * size, size));
    if (affine) {
      Affine stored;
      error += encode_affine_group(group, format, scale_type, encoder, q.data(), stored);
      store(scale_type, stored.scale, scales.data(), g);
      store(scale_type, stored.bias, biases.data(), g);
    } else {
      const bool reference = encoder == Encoder::reference;
      const std::uint8_t scale =
          reference ? reference_scale(group.w, mode) : searched_scale(group, mode);
      scales[g] = static_cast<std::byte>(scale);
      error += float_codes(group.w, mode.scale(scale), mode, reference, q.data());
    }
    pack(q.data(), size, format.bits, codes.data() + g * size * format.bits / 8);
  }
  return error;
}

void mxfp4_to_mlx(std::span<const std::byte> blocks, std::span<std::byte> codes,
                  std::span<std::byte> scales) {
  TERN_CHECK(blocks.size() == 17 * scales.size() && codes.size() == 16 * scales.size());
  for (std::size_t b = 0; b < scales.size(); ++b) {
    const std::byte* block = blocks.data() + 17 * b;
    std::byte* out = codes.data() + 16 * b;
    scales[b] = block[0];
    for (std::size_t i = 0; i < 8; ++i) {  // a block has values i and i + 16 in one byte
      const std::byte even = block[1 + 2 * i], odd = block[2 + 2 * i];
      out[i] = (even & std::byte{15}) | (odd << 4);
      out[i + 8] = (even >> 4) | (odd & std::byte{0xf0});
    }
  }
}

void mxfp4_from_mlx(std::span<const std::byte> codes, std::span<const std::byte> scales,
                    std::span<std::byte> blocks) {
  TERN_CHECK(blocks.size() == 17 * scales.size() && codes.size() == 16 * scales.size());
  for (std::size_t b = 0; b < scales.size(); ++b) {
    std::byte* block = blocks.data() + 17 * b;
    const std::byte* in = codes.data() + 16 * b;
    block[0] = scales[b];
    for (std::size_t i = 0; i < 8; ++i) {
      block[1 + 2 * i] = (in[i] & std::byte{15}) | (in[i + 8] << 4);
      block[2 + 2 * i] = (in[i] >> 4) | (in[i + 8] & std::byte{0xf0});
    }
  }
}

}  // namespace tern::quant
