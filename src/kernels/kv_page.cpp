#include "kernels/kv_page.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/half.h"

namespace tern::kernels {
namespace {

using quant::KvScheme;

constexpr std::size_t kBlock = 16, kUnitBytes = 64, kWordBits = 32;

KvCode plain_code(KvScheme scheme) {
  return scheme == KvScheme::f32   ? KvCode::f32
         : scheme == KvScheme::f16 ? KvCode::f16
                                   : KvCode::bf16;
}

KvCode code_of(unsigned bits) {
  switch (bits) {
    case 2:
      return KvCode::code2;
    case 3:
      return KvCode::code3;
    case 4:
      return KvCode::code4;
    default:
      TERN_CHECK(bits == 8);
      return KvCode::code8;
  }
}

/// A level as a number of steps.
int steps_of(const quant::KvRun& run, std::size_t code) {
  return static_cast<int>(std::lround(run.levels[code] / run.step));
}

/// The word of a plane of b bits that holds element e, and where in it.
struct Place {
  std::size_t byte;
  unsigned shift;
};
Place place(unsigned bits, std::size_t e) {
  const std::size_t blocks = kWordBits / bits, block = e / kBlock;
  return {block / blocks * kUnitBytes + e % kBlock * 4,
          static_cast<unsigned>(block % blocks) * bits};
}

void put(std::byte* plane, unsigned bits, std::size_t e, std::uint32_t code) {
  const Place at = place(bits, e);
  const std::uint32_t mask = ((1u << bits) - 1) << at.shift;
  std::uint32_t word = 0;
  std::memcpy(&word, plane + at.byte, 4);
  word = (word & ~mask) | (code << at.shift & mask);
  std::memcpy(plane + at.byte, &word, 4);
}

std::uint32_t get(const std::byte* plane, unsigned bits, std::size_t e) {
  const Place at = place(bits, e);
  std::uint32_t word = 0;
  std::memcpy(&word, plane + at.byte, 4);
  return word >> at.shift & ((1u << bits) - 1);
}

unsigned bits_of(KvCode code) {
  return code == KvCode::code2 ? 2 : code == KvCode::code3 ? 3 : code == KvCode::code4 ? 4 : 8;
}

void put_code(std::byte* page, const KvSegment& s, std::size_t e, std::uint8_t code) {
  if (s.code != KvCode::code3) return put(page + s.low, bits_of(s.code), e, code);
  put(page + s.low, 2, e, code & 3u);
  put(page + s.high, 1, e, code >> 2u);
}

std::uint8_t get_code(const std::byte* page, const KvSegment& s, std::size_t e) {
  const std::uint32_t code = s.code != KvCode::code3
                                 ? get(page + s.low, bits_of(s.code), e)
                                 : get(page + s.low, 2, e) | get(page + s.high, 1, e) << 2u;
  return static_cast<std::uint8_t>(code);
}

void put_number(std::byte* page, KvCode code, std::size_t e, float value) {
  if (code == KvCode::f32) {
    std::memcpy(page + 4 * e, &value, 4);
    return;
  }
  const std::uint16_t bits = code == KvCode::f16 ? float_to_f16(value) : float_to_bf16(value);
  std::memcpy(page + 2 * e, &bits, 2);
}

float get_number(const std::byte* page, KvCode code, std::size_t e) {
  if (code == KvCode::f32) {
    float value = 0;
    std::memcpy(&value, page + 4 * e, 4);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, page + 2 * e, 2);
  return code == KvCode::f16 ? f16_to_float(bits) : bf16_to_float(bits);
}

/// What a vector's codes are unpacked into.
struct Unpacked {
  std::uint8_t codes[quant::KvCodec::kMaxDim];
  std::uint16_t scales[quant::KvCodec::kMaxDim / 32], biases[quant::KvCodec::kMaxDim / 32];
};

}  // namespace

KvLayout::KvLayout(quant::KvCodec codec, KvSide side) : codec_(std::move(codec)), side_(side) {
  bytes_ = kKvPageTokens * codec_.vector_bytes();
  const std::size_t dim = codec_.dim();
  if (codec_.plain()) {
    segments_.push_back({.count = dim, .code = plain_code(codec_.scheme()), .run_count = dim});
    return;
  }
  std::size_t plane = 0;
  const std::size_t codes =
      bytes_ - kKvPageTokens * 2 * codec_.scales() * (codec_.has_bias() ? 2 : 1);
  for (const quant::KvRun& run : codec_.runs()) {
    const std::size_t bit_bytes = kKvPageTokens * run.count / 8;  // of one bit for each element
    for (std::size_t first = run.first; first < run.first + run.count;) {
      const std::size_t group = first / codec_.scale_group();
      const std::size_t end = std::min(run.first + run.count, (group + 1) * codec_.scale_group());
      KvSegment segment{.first = first,
                        .count = end - first,
                        .code = code_of(run.bits),
                        .run_first = run.first,
                        .run_count = run.count,
                        .low = plane,
                        .high = plane + 2 * bit_bytes,
                        .scale = codes + group * kKvPageTokens * 2};
      if (codec_.has_bias()) segment.bias = codes + (codec_.scales() + group) * kKvPageTokens * 2;
      segment.step = run.step;
      segment.lowest = steps_of(run, 0);
      for (std::size_t i = 0; i < 16; ++i) {
        const std::size_t code = i % run.levels.size();
        segment.levels[i] = run.levels[code];
        if (run.bits < 8) segment.whole[i] = static_cast<std::int8_t>(steps_of(run, code));
      }
      segments_.push_back(segment);
      first = end;
    }
    plane += run.bits * bit_bytes;
  }
  TERN_CHECK(plane == codes);
  whole_ = side == KvSide::keys ? dim <= kKvUnpackedDim : segments_[0].run_count == kKvUnpackedDim;
}

/// Of the planes of a segment.
std::size_t KvLayout::element(const KvSegment& segment, std::size_t i, std::size_t token) const {
  const std::size_t in_run = i - segment.run_first;
  return side_ == KvSide::keys ? in_run * kKvPageTokens + token
                               : token * segment.run_count + in_run;
}

void KvLayout::write(std::byte* page, std::size_t token, std::span<const float> x) const {
  if (codec_.plain()) {
    for (std::size_t i = 0; i < x.size(); ++i)
      put_number(page, segments_[0].code, element(segments_[0], i, token), x[i]);
    return;
  }
  Unpacked u;
  const std::size_t scales = codec_.scales(), biases = codec_.has_bias() ? scales : 0;
  codec_.encode(x, {u.codes, x.size()}, {u.scales, scales}, {u.biases, biases});
  for (const KvSegment& s : segments_) {
    for (std::size_t i = s.first; i < s.first + s.count; ++i)
      put_code(page, s, element(s, i, token), u.codes[i]);
    const std::size_t group = s.first / codec_.scale_group();
    std::memcpy(page + s.scale + 2 * token, &u.scales[group], 2);
    if (biases > 0) std::memcpy(page + s.bias + 2 * token, &u.biases[group], 2);
  }
}

void KvLayout::read_rotated(const std::byte* page, std::size_t token, std::span<float> r) const {
  if (codec_.plain()) {
    for (std::size_t i = 0; i < r.size(); ++i)
      r[i] = get_number(page, segments_[0].code, element(segments_[0], i, token));
    return;
  }
  Unpacked u;
  const std::size_t scales = codec_.scales(), biases = codec_.has_bias() ? scales : 0;
  for (const KvSegment& s : segments_) {
    for (std::size_t i = s.first; i < s.first + s.count; ++i)
      u.codes[i] = get_code(page, s, element(s, i, token));
    const std::size_t group = s.first / codec_.scale_group();
    std::memcpy(&u.scales[group], page + s.scale + 2 * token, 2);
    if (biases > 0) std::memcpy(&u.biases[group], page + s.bias + 2 * token, 2);
  }
  codec_.decode_rotated({u.codes, r.size()}, {u.scales, scales}, {u.biases, biases}, r);
}

void KvLayout::read(const std::byte* page, std::size_t token, std::span<float> x) const {
  read_rotated(page, token, x);
  codec_.rotation().inverse(x);
}

}  // namespace tern::kernels
