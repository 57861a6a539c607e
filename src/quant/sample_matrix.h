// Random matrices in every storage format, for tests and benchmarks.
#pragma once
#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "quant/matrix.h"
#include "quant/turbo_weights.h"
#include "tensor/half.h"

namespace tern::quant {

/// One way to store a matrix.
struct Format {
  Scheme scheme = Scheme::f32;
  std::uint32_t bits = 0, group = 0;  ///< MLX and turboquant only
  DType scale_type = DType::bf16;

  std::string label() const {
    std::string text(quant::name(scheme));
    if (scheme == Scheme::turboquant) text += std::to_string(bits);
    if (scheme == Scheme::mlx_affine)
      text += std::to_string(bits) + " g" + std::to_string(group) + " " +
              std::string(tern::name(scale_type));
    return text;
  }
  bool is_mlx() const { return group != 0; }
  DType block_type() const {  // the enumerations have the same order from q4_0 on
    if (scheme == Scheme::f32) return DType::f32;
    if (scheme == Scheme::f16) return DType::f16;
    if (scheme == Scheme::bf16) return DType::bf16;
    const int from_q4_0 = static_cast<int>(scheme) - static_cast<int>(Scheme::q4_0);
    return static_cast<DType>(static_cast<int>(DType::q4_0) + from_q4_0);
  }
  /// Columns come in multiples of this.
  std::size_t unit() const { return is_mlx() ? group : block_layout(block_type()).elements; }
};

/// Every scheme; MLX affine with every bits, group and type of scales.
inline std::vector<Format> all_formats() {
  std::vector<Format> formats;
  for (int s = 0; s <= static_cast<int>(Scheme::mxfp4); ++s)
    formats.push_back({.scheme = static_cast<Scheme>(s)});
  for (const std::uint32_t bits : {2u, 3u, 4u, 5u, 6u, 8u})
    for (const std::uint32_t group : {32u, 64u, 128u})
      for (const DType type : {DType::f32, DType::f16, DType::bf16})
        formats.push_back({Scheme::mlx_affine, bits, group, type});
  formats.push_back({Scheme::mlx_mxfp4, 4, 32, DType::u8});
  formats.push_back({Scheme::mlx_mxfp8, 8, 32, DType::u8});
  formats.push_back({Scheme::mlx_nvfp4, 4, 16, DType::u8});
  for (const std::uint32_t bits : {2u, 3u, 4u, 5u})
    formats.push_back({Scheme::turboquant, bits, 64, DType::f16});
  return formats;
}

/// Planes and the matrix that points into them.
struct SampleMatrix {
  std::vector<std::byte> codes, scales, biases;
  Matrix matrix;

  SampleMatrix() = default;
  SampleMatrix(SampleMatrix&&) = default;  // the bytes of a vector stay where they are
  SampleMatrix& operator=(SampleMatrix&&) = default;
  SampleMatrix(const SampleMatrix&) = delete;
  SampleMatrix& operator=(const SampleMatrix&) = delete;
};

class SampleMaker {
 public:
  /// `tame`: scales are small finite numbers, so that sums stay meaningful. Else every byte is
  /// random: infinities, NaNs and subnormals included.
  SampleMaker(std::uint64_t seed, bool tame) : random_(seed), tame_(tame) {}

  SampleMatrix make(const Format& format, std::size_t rows, std::size_t cols) {
    TERN_CHECK(cols % format.unit() == 0);
    SampleMatrix sample;
    Matrix& m = sample.matrix;
    m = {.scheme = format.scheme, .rows = rows, .cols = cols, .scale_type = format.scale_type};
    if (format.is_mlx()) {
      m.bits = format.bits;
      m.group = format.group;
      m.code_stride = cols * m.bits / 8;
      m.scale_stride = cols / m.group * block_layout(m.scale_type).bytes;
      sample.codes = bytes(rows * m.code_stride);
      sample.scales = bytes(rows * m.scale_stride);
      if (tame_) tame_values(sample.scales, m.scale_type, format.scheme);
      if (tame_ && format.scheme == Scheme::mlx_mxfp8)
        for (auto& code : sample.codes)
          if ((code & std::byte{0x7f}) == std::byte{0x7f}) code = std::byte{0x30};  // no NaN
      if (format.scheme == Scheme::mlx_affine) {
        sample.biases = bytes(rows * m.scale_stride);
        if (tame_) tame_values(sample.biases, m.scale_type, format.scheme);
        m.biases = sample.biases.data();
      }
      if (format.scheme == Scheme::turboquant) m.signs = rht64_signs(0);
      m.scales = sample.scales.data();
    } else {
      const auto [elements, size] = block_layout(format.block_type());
      m.code_stride = cols / elements * size;
      sample.codes = bytes(rows * m.code_stride);
      if (tame_) tame_blocks(sample.codes, format.block_type());
    }
    m.codes = sample.codes.data();
    return sample;
  }

  /// Uniform in [-1, 1).
  std::vector<float> floats(std::size_t count) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> values(count);
    for (auto& v : values) v = uniform(random_);
    return values;
  }

 private:
  std::vector<std::byte> bytes(std::size_t count) {
    std::vector<std::byte> data(count);
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (i % 8 == 0) word = random_();
      data[i] = static_cast<std::byte>(word >> (8 * (i % 8)));
    }
    return data;
  }

  void put(std::byte* at, DType type, float value) {
    const std::uint16_t half = type == DType::f16 ? float_to_f16(value) : float_to_bf16(value);
    if (type == DType::f32)
      std::copy_n(reinterpret_cast<const std::byte*>(&value), 4, at);
    else
      std::copy_n(reinterpret_cast<const std::byte*>(&half), 2, at);
  }

  float small() { return std::uniform_real_distribution<float>(-0.05f, 0.05f)(random_); }
  /// An E8M0 or E4M3 scale near one half.
  std::byte small_u8(bool e4m3) {
    return static_cast<std::byte>((e4m3 ? 36 : 123) + random_() % 8);
  }

  void tame_values(std::vector<std::byte>& plane, DType type, Scheme scheme) {
    const std::size_t size = block_layout(type).bytes;
    for (std::size_t i = 0; i < plane.size(); i += size) {
      if (type == DType::u8)
        plane[i] = small_u8(scheme == Scheme::mlx_nvfp4);
      else
        put(plane.data() + i, type, small());
    }
  }

  void tame_blocks(std::vector<std::byte>& plane, DType type) {
    const std::size_t size = block_layout(type).bytes;
    for (std::size_t i = 0; i < plane.size(); i += size) {
      if (!is_block_type(type)) {
        put(plane.data() + i, type, small());
        continue;
      }
      if (type == DType::mxfp4) plane[i] = small_u8(false);
      for (const std::size_t offset : f16_fields(type))
        put(plane.data() + i + offset, DType::f16, small());
    }
  }

  /// Where a block keeps its f16 scales.
  static std::vector<std::size_t> f16_fields(DType type) {
    switch (type) {
      case DType::mxfp4:
        return {};
      case DType::q4_1:
      case DType::q5_1:
      case DType::q4_k:
      case DType::q5_k:
        return {0, 2};
      case DType::q2_k:
        return {80, 82};
      case DType::q3_k:
        return {108};
      case DType::q6_k:
        return {208};
      default:
        return {0};
    }
  }

  std::mt19937_64 random_;
  bool tame_;
};

}  // namespace tern::quant
