#include "quant/mlx_encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/cpu.h"
#include "quant/mlx_search.h"
#include "quant/sample_matrix.h"
#include "tensor/half.h"

namespace tern::quant {
namespace {

std::vector<MlxFormat> all_modes() {
  std::vector<MlxFormat> modes;
  for (const std::uint32_t bits : {2u, 3u, 4u, 5u, 6u, 8u})
    for (const std::uint32_t group : {32u, 64u, 128u})
      modes.push_back({Scheme::mlx_affine, bits, group});
  modes.push_back({Scheme::mlx_mxfp4, 4, 32});
  modes.push_back({Scheme::mlx_mxfp8, 8, 32});
  modes.push_back({Scheme::mlx_nvfp4, 4, 16});
  return modes;
}

std::string label(const MlxFormat& mode) {
  return Format{mode.scheme, mode.bits, mode.group}.label();
}

/// A row with heavy tails, as weights have them, in bf16.
std::vector<float> weights(std::size_t count, std::uint64_t seed, float width = 0.02f) {
  std::mt19937_64 random(seed);
  std::student_t_distribution<float> student(4);
  std::vector<float> w(count);
  for (float& value : w) value = bf16_to_float(float_to_bf16(width * student(random)));
  return w;
}

struct Coded {
  std::vector<std::byte> codes, scales, biases;
  double error = 0;
  bool operator==(const Coded&) const = default;
};

Coded encode(std::span<const float> w, const MlxFormat& mode, Encoder encoder,
             std::span<const float> importance = {}) {
  const bool affine = mode.scheme == Scheme::mlx_affine;
  const std::size_t groups = w.size() / mode.group;
  Coded out{.codes = std::vector<std::byte>(w.size() * mode.bits / 8),
            .scales = std::vector<std::byte>(groups * (affine ? 2 : 1)),
            .biases = std::vector<std::byte>(affine ? groups * 2 : 0)};
  out.error =
      encode_mlx_row(w, importance, mode, DType::bf16, encoder, out.codes, out.scales, out.biases);
  return out;
}

std::vector<float> decode(const Coded& coded, const MlxFormat& mode, std::size_t cols) {
  const bool affine = mode.scheme == Scheme::mlx_affine;
  const Matrix matrix{.scheme = mode.scheme,
                      .rows = 1,
                      .cols = cols,
                      .codes = coded.codes.data(),
                      .code_stride = coded.codes.size(),
                      .bits = mode.bits,
                      .group = mode.group,
                      .scales = coded.scales.data(),
                      .biases = affine ? coded.biases.data() : nullptr,
                      .scale_stride = coded.scales.size(),
                      .scale_type = affine ? DType::bf16 : DType::u8};
  std::vector<float> w(cols);
  row_decoder(matrix, Isa::scalar)(matrix, 0, w);
  return w;
}

double weighted_error(std::span<const float> w, std::span<const float> decoded,
                      std::span<const float> importance = {}) {
  double sum = 0;
  for (std::size_t i = 0; i < w.size(); ++i)
    sum += std::pow(static_cast<double>(w[i]) - static_cast<double>(decoded[i]), 2) *
           (importance.empty() ? 1.0 : static_cast<double>(importance[i]));
  return sum;
}

TEST(MlxEncode, ReportsTheErrorThatADecoderSees) {
  const auto w = weights(1280, 1);
  for (const MlxFormat& mode : all_modes())
    for (const Encoder encoder : {Encoder::reference, Encoder::searched}) {
      const Coded coded = encode(w, mode, encoder);
      const double seen = weighted_error(w, decode(coded, mode, w.size()));
      EXPECT_NEAR(coded.error / seen, 1, 1e-4) << label(mode);
    }
}

TEST(MlxEncode, TheSearchLosesLessInEveryGroupOfEveryMode) {
  for (const MlxFormat& mode : all_modes()) {
    double before = 0, after = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      const auto w = weights(mode.group, seed, seed % 7 == 0 ? 1e-20f : 0.02f);
      const double reference = encode(w, mode, Encoder::reference).error;
      const double searched = encode(w, mode, Encoder::searched).error;
      EXPECT_LE(searched, reference * 1.0001) << label(mode) << ", seed " << seed;
      before += reference;
      after += searched;
    }
    // The largest magnitude of eight-bit floats is best where MLX puts it.
    EXPECT_LT(after, (mode.scheme == Scheme::mlx_mxfp8 ? 1.0001 : 0.97) * before) << label(mode);
  }
}

TEST(MlxEncode, TheSearchIsAsGoodAsPublished) {
  // Relative errors of groups of 64 on Student-t weights with 4 degrees of freedom: of a search of
  // 25 widths, two rounds of least squares each (1e6 weights).
  constexpr std::pair<std::uint32_t, double> kPublished[] = {
      {2, .1660}, {3, .0475}, {4, .01190}, {6, .00071}};
  const auto w = weights(256000, 3);
  double square = 0;
  for (const float value : w) square += std::pow(static_cast<double>(value), 2);
  for (const auto& [bits, error] : kPublished)
    EXPECT_LT(encode(w, {Scheme::mlx_affine, bits, 64}, Encoder::searched).error / square,
              1.08 * error)
        << bits;
}

TEST(MlxEncode, ImportantColumnsLoseLess) {
  const auto w = weights(6400, 5);
  std::vector<float> importance(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) importance[i] = i % 8 == 0 ? 100.0f : 1.0f;
  for (const MlxFormat& mode : all_modes()) {
    const auto plain = decode(encode(w, mode, Encoder::searched), mode, w.size());
    const auto aware = decode(encode(w, mode, Encoder::searched, importance), mode, w.size());
    const double before = weighted_error(w, plain, importance);
    // mxfp8 has one scale that is the best for any weights: nothing is left to choose.
    if (mode.scheme == Scheme::mlx_mxfp8) {
      EXPECT_LE(weighted_error(w, aware, importance), before);
    } else {
      EXPECT_LT(weighted_error(w, aware, importance), before) << label(mode);
    }
  }
}

TEST(MlxEncode, AllInstructionSetsGiveTheSameBits) {
  const auto w = weights(128, 6);
  std::vector<float> u(w.size());
  for (std::size_t i = 0; i < u.size(); ++i) u[i] = 0.1f + static_cast<float>(i % 5);
  const SearchKernels& scalar = search_kernels(Isa::scalar);
  for (const Isa isa : {Isa::neon, Isa::avx2, Isa::avx512}) {
    if (!supported(isa)) continue;
    const SearchKernels& fast = search_kernels(isa);
    for (const float scale : {0.0f, 1e-30f, 0.001f, 0.0078125f, 0.3f, -0.01f}) {
      const AffineSums a = scalar.affine(w.data(), u.data(), w.size(), scale, -0.08f, 15),
                       b = fast.affine(w.data(), u.data(), w.size(), scale, -0.08f, 15);
      if (scale != 0) {
        EXPECT_TRUE(a.error == b.error && a.q == b.q && a.qq == b.qq && a.wq == b.wq) << scale;
      }
      EXPECT_EQ(scalar.e2m1(w.data(), u.data(), w.size(), scale),
                fast.e2m1(w.data(), u.data(), w.size(), scale));
      EXPECT_EQ(scalar.e4m3(w.data(), u.data(), w.size(), scale),
                fast.e4m3(w.data(), u.data(), w.size(), scale));
    }
  }
}

TEST(MlxEncode, TheLoopsComputeWhatTheySay) {
  const auto w = weights(128, 8);
  const std::vector<float> u(w.size(), 0.5f);
  const SearchKernels& kernels = search_kernels(best_isa());
  const AffineSums sums = kernels.affine(w.data(), u.data(), w.size(), 0.01f, -0.08f, 15);
  AffineSums expected;
  for (const float x : w) {
    const float q = std::min(std::max(std::nearbyint((x + 0.08f) * (1 / 0.01f)), 0.0f), 15.0f);
    expected.error += 0.5f * (x - (q * 0.01f - 0.08f)) * (x - (q * 0.01f - 0.08f));
    expected.q += 0.5f * q;
    expected.qq += 0.5f * q * q;
    expected.wq += 0.5f * q * x;
  }
  EXPECT_NEAR(sums.error, expected.error, 1e-5f * expected.error);
  EXPECT_NEAR(sums.q, expected.q, 1e-5f * expected.q);
  EXPECT_NEAR(sums.qq, expected.qq, 1e-5f * expected.qq);
  EXPECT_NEAR(sums.wq, expected.wq, 1e-3f);
}

TEST(MlxEncode, ZerosAndConstantsAreExact) {
  for (const MlxFormat& mode : all_modes())
    for (const float value : {0.0f, 1.5f, -0.25f}) {
      const std::vector<float> w(256, value);
      for (const Encoder encoder : {Encoder::reference, Encoder::searched})
        EXPECT_LE(encode(w, mode, encoder).error, 256 * std::pow(std::abs(value) * 0.07, 2))
            << label(mode) << " " << value;
      EXPECT_EQ(encode(std::vector<float>(256, 0.0f), mode, Encoder::searched).error, 0.0);
    }
}

TEST(MlxEncode, RepacksMxfp4WithoutLoss) {
  SampleMaker maker(7, true);
  const SampleMatrix sample = maker.make({Scheme::mxfp4}, 1, 320);
  std::vector<std::byte> codes(160), scales(10), back(170);
  mxfp4_to_mlx(sample.codes, codes, scales);
  const MlxFormat mode{Scheme::mlx_mxfp4, 4, 32};
  std::vector<float> expected(320);
  row_decoder(sample.matrix, Isa::scalar)(sample.matrix, 0, expected);
  EXPECT_EQ(decode({codes, scales, {}}, mode, 320), expected);
  mxfp4_from_mlx(codes, scales, back);
  EXPECT_EQ(back, sample.codes);
}

}  // namespace
}  // namespace tern::quant
