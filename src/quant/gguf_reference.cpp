#include "quant/gguf_reference.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/check.h"
#include "quant/gguf_blocks.h"
#include "quant/gguf_pack.h"
#include "tensor/half.h"

namespace tern::quant {
namespace {

float signed_peak(const float* x) {
  float best = x[0];
  for (std::size_t j = 1; j < 32; ++j)
    if (std::abs(x[j]) > std::abs(best)) best = x[j];
  return best;
}

/// The integer part of u, between 0 and `top`.
std::uint8_t truncated(float u, int top) {
  return static_cast<std::uint8_t>(std::clamp(static_cast<int>(u), 0, top));
}

/// q - `half` of Q4_0 and Q5_0: the largest magnitude becomes -half.
std::uint16_t signed_codes(const float* x, int half, std::uint8_t* q) {
  const auto steps = static_cast<float>(half);
  const float d = signed_peak(x) / -steps, inverse = d == 0 ? 0 : 1 / d;
  for (std::size_t j = 0; j < 32; ++j)
    q[j] = truncated(x[j] * inverse + (steps + 0.5f), 2 * half - 1);
  return float_to_f16(d);
}

/// d and m of Q4_1 and Q5_1, from the smallest value to the largest.
void line_codes(const float* x, int top, std::byte* d_and_m, std::uint8_t* q) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float min = *low, d = (*high - min) / static_cast<float>(top);
  const float inverse = d == 0 ? 0 : 1 / d;
  for (std::size_t j = 0; j < 32; ++j) q[j] = truncated((x[j] - min) * inverse + 0.5f, top);
  put_u16(d_and_m, float_to_f16(d));
  put_u16(d_and_m + 2, float_to_f16(min));
}

void put_block(std::type_identity<Q4_0>, const float* x, std::byte* out) {
  std::uint8_t q[32];
  put_u16(out, signed_codes(x, 8, q));
  put_nibbles(q, out + 2);
}

void put_block(std::type_identity<Q5_0>, const float* x, std::byte* out) {
  std::uint8_t q[32];
  put_u16(out, signed_codes(x, 16, q));
  put_fifth_bits(q, out + 2);
  put_nibbles(q, out + 6);
}

void put_block(std::type_identity<Q4_1>, const float* x, std::byte* out) {
  std::uint8_t q[32];
  line_codes(x, 15, out, q);
  put_nibbles(q, out + 4);
}

void put_block(std::type_identity<Q5_1>, const float* x, std::byte* out) {
  std::uint8_t q[32];
  line_codes(x, 31, out, q);
  put_fifth_bits(q, out + 4);
  put_nibbles(q, out + 8);
}

void put_block(std::type_identity<Q8_0>, const float* x, std::byte* out) {
  const float d = std::abs(signed_peak(x)) / 127, inverse = d == 0 ? 0 : 1 / d;
  put_u16(out, float_to_f16(d));
  for (std::size_t j = 0; j < 32; ++j)  // ties away from zero
    put_byte(out + 2 + j, static_cast<unsigned>(std::lround(x[j] * inverse)) & 255u);
}

void put_block(std::type_identity<Mxfp4>, const float* x, std::byte* out) {
  const int e = mxfp4_exponent(std::abs(signed_peak(x)));
  const float scale = Mxfp4::scale(static_cast<std::uint8_t>(e));
  std::uint8_t q[32];
  for (std::size_t j = 0; j < 32; ++j) q[j] = nearest_twice_e2m1(x[j] / scale);
  put_byte(out, static_cast<unsigned>(e));
  put_nibbles(q, out + 1);
}

void put_block(std::type_identity<F32>, const float* x, std::byte* out) {
  std::memcpy(out, x, sizeof *x);
}

void put_block(std::type_identity<F16>, const float* x, std::byte* out) {
  put_u16(out, float_to_f16(*x));
}

void put_block(std::type_identity<Bf16>, const float* x, std::byte* out) {
  put_u16(out, float_to_bf16(*x));
}

template <class Format>
double encode(std::span<const float> row, std::byte* out) {
  double error = 0;
  for (std::size_t i = 0; i < row.size(); i += Format::kValues, out += Format::kBytes) {
    put_block(std::type_identity<Format>(), row.data() + i, out);
    float y[Format::kValues];
    Format::decode(out, y);
    for (std::size_t j = 0; j < Format::kValues; ++j) {
      const double rest = static_cast<double>(row[i + j]) - static_cast<double>(y[j]);
      error += rest * rest;
    }
  }
  return error;
}

}  // namespace

bool is_reference_type(DType type) {
  constexpr DType kTypes[] = {DType::f32,  DType::f16,  DType::bf16, DType::q4_0, DType::q4_1,
                              DType::q5_0, DType::q5_1, DType::q8_0, DType::mxfp4};
  return std::ranges::find(kTypes, type) != std::end(kTypes);
}

int mxfp4_exponent(float peak) {
  if (!(peak > 0)) return 0;
  return std::clamp(std::ilogb(peak) - 2 + 127, 0, 254);
}

std::uint8_t nearest_twice_e2m1(float u) {
  const float magnitude = std::abs(u);
  unsigned code = 0;
  while (code < 7 && magnitude > 0.5f * static_cast<float>(kTwiceE2m1[code] + kTwiceE2m1[code + 1]))
    ++code;
  return static_cast<std::uint8_t>(u < 0 && code != 0 ? code + 8 : code);
}

double encode_reference(DType type, std::span<const float> row, std::span<std::byte> out) {
  TERN_CHECK(is_reference_type(type));
  switch (type) {
    case DType::f16:
      return encode<F16>(row, out.data());
    case DType::bf16:
      return encode<Bf16>(row, out.data());
    case DType::q4_0:
      return encode<Q4_0>(row, out.data());
    case DType::q4_1:
      return encode<Q4_1>(row, out.data());
    case DType::q5_0:
      return encode<Q5_0>(row, out.data());
    case DType::q5_1:
      return encode<Q5_1>(row, out.data());
    case DType::q8_0:
      return encode<Q8_0>(row, out.data());
    case DType::mxfp4:
      return encode<Mxfp4>(row, out.data());
    default:
      return encode<F32>(row, out.data());
  }
}

}  // namespace tern::quant
