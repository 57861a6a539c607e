// The plain rules by which the PyPI package gguf makes blocks, byte for byte: its own words for
// what a type's name means, and the oracle for the layouts.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace tern::quant {

/// f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, mxfp4.
bool is_reference_type(DType type);

/// Parameters as encode_gguf_row; `type` is one of those.
double encode_reference(DType type, std::span<const float> row, std::span<std::byte> out);

/// The E8M0 exponent whose largest level is nearest to `peak` from above or just below it:
/// floor(log2 peak) - 2, biased by 127; 0 for zero.
int mxfp4_exponent(float peak);

/// The code nearest to u in kTwiceE2m1; the smaller magnitude where two are as near, and code 0 for
/// what becomes zero.
std::uint8_t nearest_twice_e2m1(float u);

}  // namespace tern::quant
