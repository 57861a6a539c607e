// Codes and scales into the bytes of GGUF blocks: for each type the inverse of gguf_blocks.h, where
// the layouts are described. Codes are counted from the lowest level: q + 8 for Q4_0, q + 4 for
// Q3_K, q + 32 for Q6_K.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quant/gguf_blocks.h"
#include "tensor/half.h"

namespace tern::quant {

TERN_INLINE void put_byte(std::byte* out, unsigned value) {
  *out = static_cast<std::byte>(value);
}

TERN_INLINE void put_u16(std::byte* out, std::uint16_t value) {
  std::memcpy(out, &value, sizeof value);
}

/// 32 codes of four bits, or the low four bits of longer ones.
TERN_INLINE void put_nibbles(const std::uint8_t* q, std::byte* out) {
  for (std::size_t j = 0; j < 16; ++j) put_byte(out + j, (q[j] & 15u) | ((q[j + 16] & 15u) << 4));
}

/// The fifth bits of 32 codes.
TERN_INLINE void put_fifth_bits(const std::uint8_t* q, std::byte* out) {
  std::uint32_t bits = 0;
  for (std::size_t j = 0; j < 32; ++j) bits |= ((q[j] >> 4) & 1u) << j;
  std::memcpy(out, &bits, sizeof bits);
}

/// The 12 bytes of ScaleMin.
TERN_INLINE void put_scale_mins(const std::uint8_t* scale, const std::uint8_t* min,
                                std::byte* out) {
  std::uint8_t s[12];
  for (std::size_t j = 0; j < 4; ++j) {
    s[j] = static_cast<std::uint8_t>(scale[j] | ((scale[j + 4] >> 4) << 6));
    s[j + 4] = static_cast<std::uint8_t>(min[j] | ((min[j + 4] >> 4) << 6));
    s[j + 8] = static_cast<std::uint8_t>((scale[j + 4] & 15) | ((min[j + 4] & 15) << 4));
  }
  std::memcpy(out, s, sizeof s);
}

/// Codes of 2 bits, sub-block k of 16 as Q2_K and Q3_K lay them out in 64 bytes.
TERN_INLINE void put_pairs(const std::uint8_t* q, std::byte* out) {
  for (std::size_t half = 0; half < 2; ++half)
    for (std::size_t l = 0; l < 32; ++l) {
      const std::uint8_t* p = q + 128 * half + l;
      put_byte(out + 32 * half + l,
               (p[0] & 3u) | ((p[32] & 3u) << 2) | ((p[64] & 3u) << 4) | ((p[96] & 3u) << 6));
    }
}

/// 256 codes of four bits, or the low four bits of longer ones, as Q4_K and Q5_K lay them out.
TERN_INLINE void put_runs(const std::uint8_t* q, std::byte* out) {
  for (std::size_t pair = 0; pair < 4; ++pair)
    for (std::size_t l = 0; l < 32; ++l)
      put_byte(out + 32 * pair + l,
               (q[64 * pair + l] & 15u) | ((q[64 * pair + 32 + l] & 15u) << 4));
}

/// Bit `bit` of 256 codes: byte l has that of value l of each run of 32.
TERN_INLINE void put_bit_plane(const std::uint8_t* q, unsigned bit, std::byte* out) {
  for (std::size_t l = 0; l < 32; ++l) {
    unsigned bits = 0;
    for (unsigned run = 0; run < 8; ++run) bits |= ((q[32 * run + l] >> bit) & 1u) << run;
    put_byte(out + l, bits);
  }
}

/// The 12 bytes of Q3_K's scales, each from -32 to 31.
TERN_INLINE void put_q3_scales(const std::int8_t* scale, std::byte* out) {
  std::uint8_t s[12] = {};
  for (std::size_t k = 0; k < 16; ++k) {
    const unsigned v = static_cast<unsigned>(scale[k] + 32);
    s[k % 8] = static_cast<std::uint8_t>(s[k % 8] | ((v & 15u) << (k < 8 ? 0 : 4)));
    s[8 + k % 4] = static_cast<std::uint8_t>(s[8 + k % 4] | ((v >> 4) << (2 * (k / 4))));
  }
  std::memcpy(out, s, sizeof s);
}

/// Six bits: ql[128], then qh[64].
TERN_INLINE void put_q6_codes(const std::uint8_t* q, std::byte* out) {
  for (std::size_t half = 0; half < 2; ++half)
    for (std::size_t l = 0; l < 32; ++l) {
      const std::uint8_t* p = q + 128 * half + l;
      put_byte(out + 64 * half + l, (p[0] & 15u) | ((p[64] & 15u) << 4));
      put_byte(out + 64 * half + 32 + l, (p[32] & 15u) | ((p[96] & 15u) << 4));
      const unsigned high[4] = {p[0], p[32], p[64], p[96]};
      put_byte(out + 128 + 32 * half + l,
               high[0] >> 4 | high[1] >> 4 << 2 | high[2] >> 4 << 4 | high[3] >> 4 << 6);
    }
}

/// scales_h, then scales_l, of IQ4_XS, each from -32 to 31.
TERN_INLINE void put_iq4_scales(const std::int8_t* scale, std::byte* out) {
  unsigned high = 0;
  for (std::size_t j = 0; j < 8; ++j)
    high |= (static_cast<unsigned>(scale[j] + 32) >> 4) << (2 * j);
  put_u16(out, static_cast<std::uint16_t>(high));
  for (std::size_t j = 0; j < 4; ++j)
    put_byte(out + 2 + j, (static_cast<unsigned>(scale[2 * j] + 32) & 15u) |
                              ((static_cast<unsigned>(scale[2 * j + 1] + 32) & 15u) << 4));
}

}  // namespace tern::quant
