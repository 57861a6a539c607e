#include "quant/kv_codec.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/cpu.h"
#include "quant/codec_kernels.h"
#include "tensor/half.h"

namespace tern::quant {
namespace {

constexpr std::array<std::string_view, kKvSchemes> kNames = {
    "f32",      "f16",    "bf16",     "q8_0",   "q4_0",    "affine8", "affine4", "turbo2",
    "turbo2_5", "turbo3", "turbo3_5", "turbo4", "planar3", "planar4", "iso3",    "iso4"};

constexpr float kMaxF16 = 65504;
constexpr float kLeastNorm = 0x1p-25f;  // half of the least f16: a smaller scale is stored as 0

/// What a codebook scheme is made of. A scheme of one run has bits[0] = bits[1].
struct CodebookScheme {
  KvScheme scheme;
  RotationKind rotation;
  unsigned bits[2];
};
constexpr CodebookScheme kCodebookSchemes[] = {
    {KvScheme::turbo2, RotationKind::hadamard, {2, 2}},
    {KvScheme::turbo2_5, RotationKind::hadamard, {3, 2}},
    {KvScheme::turbo3, RotationKind::hadamard, {3, 3}},
    {KvScheme::turbo3_5, RotationKind::hadamard, {4, 3}},
    {KvScheme::turbo4, RotationKind::hadamard, {4, 4}},
    {KvScheme::planar3, RotationKind::planar, {3, 3}},
    {KvScheme::planar4, RotationKind::planar, {4, 4}},
    {KvScheme::iso3, RotationKind::iso, {3, 3}},
    {KvScheme::iso4, RotationKind::iso, {4, 4}},
};

const CodebookScheme* codebook_scheme(KvScheme scheme) {
  const auto* found = std::ranges::find(kCodebookSchemes, scheme, &CodebookScheme::scheme);
  return found == std::end(kCodebookSchemes) ? nullptr : found;
}

/// 0, 1, ... 2^bits - 1, minus `offset`.
template <std::size_t bits>
constexpr auto whole_numbers(int offset) {
  std::array<float, std::size_t{1} << bits> levels;
  for (std::size_t i = 0; i < levels.size(); ++i)
    levels[i] = static_cast<float>(static_cast<int>(i) - offset);
  return levels;
}
constexpr auto kQ8Levels = whole_numbers<8>(128), kAffine8Levels = whole_numbers<8>(0);
constexpr auto kQ4Levels = whole_numbers<4>(8), kAffine4Levels = whole_numbers<4>(0);

/// Half away from zero, as roundf.
float round_away(float x) {
  const float whole = std::trunc(x);
  return std::abs(x - whole) >= 0.5f ? whole + std::copysign(1.0f, x) : whole;
}

/// 1 / scale; 0 for a scale so small that its inverse overflows, and that binary16 stores as 0.
float inverse_of(float scale) {
  const float inverse = 1 / scale;
  return std::isfinite(inverse) ? inverse : 0;
}

/// ggml: the scale is max |x| / 127.
std::uint16_t encode_q8_0(std::span<const float> x, std::uint8_t* codes) {
  float greatest = 0;
  for (const float value : x) greatest = std::max(greatest, std::abs(value));
  const float scale = greatest / 127;
  const float inverse = inverse_of(scale);
  for (std::size_t i = 0; i < x.size(); ++i)
    codes[i] = static_cast<std::uint8_t>(
        std::clamp(static_cast<int>(round_away(x[i] * inverse)), -128, 127) + 128);
  return float_to_f16(scale);
}

/// ggml: the value of greatest magnitude becomes code 0, level -8.
std::uint16_t encode_q4_0(std::span<const float> x, std::uint8_t* codes) {
  float extreme = 0;
  for (const float value : x)
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  const float scale = extreme / -8;
  const float inverse = inverse_of(scale);
  for (std::size_t i = 0; i < x.size(); ++i)
    codes[i] =
        static_cast<std::uint8_t>(std::clamp(static_cast<int>(x[i] * inverse + 8.5f), 0, 15));
  return float_to_f16(scale);
}

/// MLX: the end of the range that is farther from 0 is represented exactly, and 0 nearly so.
std::pair<std::uint16_t, std::uint16_t> encode_affine(std::span<const float> x, int bits,
                                                      std::uint8_t* codes) {
  constexpr float kLeastScale = 1e-7f;
  const auto [least, greatest] = std::ranges::minmax(x);
  const auto steps = static_cast<float>((1 << bits) - 1);
  float scale = std::max((greatest - least) / steps, kLeastScale);
  float edge = least;
  if (!(std::abs(least) > std::abs(greatest))) {
    scale = -scale;
    edge = greatest;
  }
  float bias = 0;
  if (const float zero = std::nearbyint(edge / scale); zero != 0) {
    scale = edge / zero;
    bias = edge;
  }
  for (std::size_t i = 0; i < x.size(); ++i)
    codes[i] =
        static_cast<std::uint8_t>(std::clamp(std::nearbyint((x[i] - bias) / scale), 0.0f, steps));
  return {float_to_f16(scale), float_to_f16(bias)};
}

Result<void> check_dim(KvScheme scheme, std::size_t dim, std::size_t multiple) {
  if (dim > 0 && dim % multiple == 0 && dim <= KvCodec::kMaxDim) return {};
  return fail(ErrorCode::unsupported,
              std::string(name(scheme)) + " codes vectors of a multiple of " +
                  std::to_string(multiple) + " values, at most " +
                  std::to_string(KvCodec::kMaxDim) + "; these have " + std::to_string(dim),
              "cache type " + std::string(name(scheme)));
}

/// Two runs, or one if their bits are equal.
std::vector<KvRun> codebook_runs(const CodebookScheme& scheme, std::size_t dim) {
  const auto run = [&](std::size_t first, std::size_t count, unsigned bits) {
    const Codebook& codebook = whole_codebook(dim, bits);
    return KvRun{first, count, bits, codebook.levels, codebook.step};
  };
  if (scheme.bits[0] == scheme.bits[1]) return {run(0, dim, scheme.bits[0])};
  return {run(0, dim / 2, scheme.bits[0]), run(dim / 2, dim / 2, scheme.bits[1])};
}

}  // namespace

std::string_view name(KvScheme scheme) {
  return kNames[static_cast<std::size_t>(scheme)];
}

std::optional<KvScheme> kv_scheme(std::string_view name) {
  const auto* found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<KvScheme>(found - kNames.begin());
}

Result<KvCodec> KvCodec::create(KvScheme scheme, std::size_t dim, std::uint64_t seed,
                                KvScale scale) {
  const CodebookScheme* const coded = codebook_scheme(scheme);
  const bool affine = scheme == KvScheme::affine8 || scheme == KvScheme::affine4;
  const bool plain = scheme <= KvScheme::bf16;
  const bool halves = coded != nullptr && coded->bits[0] != coded->bits[1];
  TERN_TRY_VOID(check_dim(scheme, dim, plain ? 1 : affine || halves ? 64 : 32));

  KvCodec codec(
      scheme,
      Rotation::make(coded != nullptr ? coded->rotation : RotationKind::identity, dim, seed),
      scale);
  if (coded != nullptr) {
    codec.runs_ = codebook_runs(*coded, dim);
    for (const KvRun& run : codec.runs_) codec.tables_.emplace_back(whole_codebook(dim, run.bits));
    codec.scale_group_ = dim;
  } else if (!plain) {
    const bool eight = scheme == KvScheme::q8_0 || scheme == KvScheme::affine8;
    KvRun run{.first = 0, .count = dim, .bits = eight ? 8u : 4u, .levels = {}};
    if (affine)
      run.levels = eight ? std::span<const float>(kAffine8Levels) : kAffine4Levels;
    else
      run.levels = eight ? std::span<const float>(kQ8Levels) : kQ4Levels;
    codec.runs_ = {run};
    codec.scale_group_ = affine ? 64 : 32;
  }
  return codec;
}

KvCodec KvCodec::for_rotated() const {
  KvCodec codec = *this;
  codec.rotation_ = Rotation::make(RotationKind::identity, dim(), 0);
  return codec;
}

std::size_t KvCodec::vector_bytes() const {
  if (plain()) return dim() * (scheme_ == KvScheme::f32 ? 4 : 2);
  std::size_t bits = 0;
  for (const KvRun& run : runs_) bits += run.count * run.bits;
  return bits / 8 + scales() * (has_bias() ? 4 : 2);
}

void KvCodec::encode(std::span<const float> x, std::span<std::uint8_t> codes,
                     std::span<std::uint16_t> scales, std::span<std::uint16_t> biases) const {
  TERN_CHECK(!plain() && x.size() == dim() && codes.size() == dim());
  TERN_CHECK(scales.size() == this->scales() && biases.size() == (has_bias() ? scales.size() : 0));
  std::array<float, kMaxDim> buffer;
  const std::span<float> r = std::span(buffer).first(dim());
  std::ranges::transform(x, r.begin(), storable);
  if (!tables_.empty()) {
    rotation_.forward(r);
    scales[0] = encode_codebook(r, codes);
    return;
  }
  for (std::size_t g = 0; g < scales.size(); ++g) {
    const std::span<const float> group = r.subspan(g * scale_group_, scale_group_);
    std::uint8_t* const out = codes.data() + g * scale_group_;
    if (scheme_ == KvScheme::q8_0)
      scales[g] = encode_q8_0(group, out);
    else if (scheme_ == KvScheme::q4_0)
      scales[g] = encode_q4_0(group, out);
    else
      std::tie(scales[g], biases[g]) = encode_affine(group, static_cast<int>(runs_[0].bits), out);
  }
}

Fit KvCodec::assign(std::span<const float> r, float inverse, std::uint8_t* codes) const {
  const CodecKernels& kernels = codec_kernels(active_isa());
  Fit fit;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const std::size_t first = runs_[i].first;
    const Fit part =
        kernels.assign(r.data() + first, runs_[i].count, inverse, tables_[i], codes + first);
    fit.cross += part.cross;
    fit.square += part.square;
  }
  return fit;
}

std::uint16_t KvCodec::encode_codebook(std::span<const float> r,
                                       std::span<std::uint8_t> codes) const {
  const float norm = std::sqrt(codec_kernels(active_isa()).square_sum(r.data(), r.size()));
  if (norm < kLeastNorm) {
    assign(r, 0, codes.data());
    return 0;
  }
  Fit fit = assign(r, 1 / norm, codes.data());
  if (scale_ == KvScale::searched) fit = search(r, norm, fit, codes);
  const float scale =
      scale_ == KvScale::norm ? norm / std::sqrt(fit.square) : fit.cross / fit.square;
  return float_to_f16(std::min(scale, kMaxF16));
}

/// For given codes the least error is |r|^2 - cross^2 / square. More rounds, which take the best
/// scale of the codes found as the next start, gain less than a hundredth.
Fit KvCodec::search(std::span<const float> r, float norm, Fit best,
                    std::span<std::uint8_t> codes) const {
  constexpr float kFactors[] = {0.7f,  0.75f, 0.8f,  0.85f, 0.9f,  0.95f,
                                1.05f, 1.1f,  1.15f, 1.2f,  1.25f, 1.3f};
  std::array<std::uint8_t, kMaxDim> trial;
  for (const float factor : kFactors) {
    const Fit fit = assign(r, 1 / (norm * factor), trial.data());
    if (fit.cross * fit.cross * best.square > best.cross * best.cross * fit.square) {
      best = fit;
      std::copy_n(trial.data(), codes.size(), codes.data());
    }
  }
  return best;
}

void KvCodec::decode_rotated(std::span<const std::uint8_t> codes,
                             std::span<const std::uint16_t> scales,
                             std::span<const std::uint16_t> biases, std::span<float> r) const {
  TERN_CHECK(!plain() && r.size() == dim() && codes.size() == dim());
  TERN_CHECK(scales.size() == this->scales() && biases.size() == (has_bias() ? scales.size() : 0));
  for (const KvRun& run : runs_)
    for (std::size_t i = run.first; i < run.first + run.count; ++i) {
      const std::size_t g = i / scale_group_;
      const float value = f16_to_float(scales[g]) * run.levels[codes[i]];
      r[i] = biases.empty() ? value : value + f16_to_float(biases[g]);
    }
}

void KvCodec::decode(std::span<const std::uint8_t> codes, std::span<const std::uint16_t> scales,
                     std::span<const std::uint16_t> biases, std::span<float> x) const {
  decode_rotated(codes, scales, biases, x);
  rotation_.inverse(x);
}

}  // namespace tern::quant
