#include "quant/rotation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/cpu.h"
#include "quant/codec_kernels.h"
#include "quant/random.h"

namespace tern::quant {
namespace {

constexpr RotationKind kKinds[] = {RotationKind::identity, RotationKind::hadamard,
                                   RotationKind::haar,     RotationKind::planar,
                                   RotationKind::iso,      RotationKind::rotor};

/// R by columns, in double: the images of the unit vectors.
std::vector<std::vector<double>> columns_of(const Rotation& rotation) {
  std::vector<std::vector<double>> columns;
  for (std::size_t c = 0; c < rotation.dim(); ++c) {
    std::vector<float> x(rotation.dim());
    x[c] = 1;
    rotation.forward(x);
    columns.emplace_back(x.begin(), x.end());
  }
  return columns;
}

std::vector<float> random_vector(std::size_t dim, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(dim);
  for (float& value : x) value = static_cast<float>(random.normal());
  return x;
}

TEST(Rotation, IsOrthogonalWhateverItsKindAndDimension) {
  for (const RotationKind kind : kKinds)
    for (const std::size_t dim : {32u, 64u, 96u, 128u, 160u}) {
      SCOPED_TRACE(std::string(name(kind)) + " " + std::to_string(dim));
      const auto columns = columns_of(Rotation::make(kind, dim, 7));
      double worst = 0;
      for (std::size_t a = 0; a < dim; ++a)
        for (std::size_t b = 0; b <= a; ++b) {
          double dot = a == b ? -1 : 0;
          for (std::size_t i = 0; i < dim; ++i) dot += columns[a][i] * columns[b][i];
          worst = std::max(worst, std::abs(dot));
        }
      EXPECT_LT(worst, 1e-6);
    }
}

TEST(Rotation, InverseUndoesForward) {
  for (const RotationKind kind : kKinds)
    for (const std::size_t dim : {32u, 96u, 128u, 384u, 1536u}) {
      if (kind == RotationKind::haar && dim > 400) continue;  // slow to draw
      SCOPED_TRACE(std::string(name(kind)) + " " + std::to_string(dim));
      const Rotation rotation = Rotation::make(kind, dim, 3);
      const std::vector<float> x = random_vector(dim, dim);
      std::vector<float> y = x;
      rotation.forward(y);
      EXPECT_EQ(x == y, kind == RotationKind::identity);
      rotation.inverse(y);
      for (std::size_t i = 0; i < dim; ++i) EXPECT_NEAR(y[i], x[i], 4e-6f) << i;
    }
}

TEST(Rotation, DependsOnItsSeedAlone) {
  for (const RotationKind kind : kKinds) {
    const auto parameters = [&](std::uint64_t seed) {
      const Rotation rotation = Rotation::make(kind, 64, seed);
      const auto p = rotation.parameters();
      return std::vector<float>(p.begin(), p.end());
    };
    EXPECT_EQ(parameters(5), parameters(5));
    EXPECT_EQ(parameters(5) == parameters(6), kind == RotationKind::identity);
  }
}

TEST(Rotation, HadamardSpreadsOneCoordinateEvenly) {
  const Rotation rotation = Rotation::make(RotationKind::hadamard, 384, 1);
  EXPECT_EQ(rotation.block(), 128u);
  std::vector<float> x(384);
  x[130] = 1;
  rotation.forward(x);
  for (std::size_t i = 0; i < 384; ++i)
    EXPECT_FLOAT_EQ(std::abs(x[i]), i / 128 == 1 ? 0.088388346f : 0.0f);
}

TEST(Rotation, RotatesABatchAsOneByOne) {
  for (const RotationKind kind : kKinds) {
    const Rotation rotation = Rotation::make(kind, 64, 9);
    const std::vector<float> x = random_vector(64 * 21, 4);
    std::vector<float> batch(x.size()), single = x;
    rotation.forward_batch(x.data(), 21, batch.data());
    for (std::size_t i = 0; i < 21; ++i) rotation.forward(std::span(single).subspan(64 * i, 64));
    EXPECT_EQ(batch, single);
  }
}

TEST(Rotation, RotorsKeepTheNormOfEachTriple) {
  const Rotation rotation = Rotation::make(RotationKind::rotor, 128, 11);
  const std::vector<float> x = random_vector(128, 2);
  std::vector<float> y = x;
  rotation.forward(y);
  const auto square = [](const std::vector<float>& v, std::size_t first, std::size_t count) {
    float sum = 0;
    for (std::size_t i = first; i < first + count; ++i) sum += v[i] * v[i];
    return sum;
  };
  for (std::size_t i = 0; i < 128; i += 3) {
    const std::size_t count = std::min<std::size_t>(3, 128 - i);
    EXPECT_NEAR(square(y, i, count), square(x, i, count), 1e-5f);
  }
}

TEST(CodecKernels, GiveTheSameBitsOnEveryInstructionSet) {
  const CodecKernels& meaning = codec_kernels(Isa::scalar);
  for (const Isa isa : {Isa::neon, Isa::avx2, Isa::avx512}) {
    if (!supported(isa)) continue;
    SCOPED_TRACE(name(isa));
    const CodecKernels& fast = codec_kernels(isa);
    for (const std::size_t dim : {32u, 96u, 128u, 160u, 512u}) {
      const std::vector<float> x = random_vector(dim * 11, 17 + dim);
      const Rotation rotation = Rotation::make(RotationKind::hadamard, dim, 1);
      for (const bool forward : {true, false}) {
        std::vector<float> a = x, b = x;
        meaning.hadamard(a.data(), dim, rotation.block(), rotation.parameters().data(), forward);
        fast.hadamard(b.data(), dim, rotation.block(), rotation.parameters().data(), forward);
        EXPECT_EQ(a, b);
      }
      const std::vector<float> matrix = random_vector(dim * dim, 5);
      std::vector<float> a(x.size()), b(x.size());
      meaning.multiply(matrix.data(), dim, x.data(), 11, a.data());
      fast.multiply(matrix.data(), dim, x.data(), 11, b.data());
      EXPECT_EQ(a, b);
      EXPECT_EQ(meaning.square_sum(x.data(), dim), fast.square_sum(x.data(), dim));
      for (unsigned bits = 1; bits <= kMaxCodebookBits; ++bits) {
        const CodebookTable table(gaussian_codebook(bits));
        std::vector<std::uint8_t> c(dim), d(dim);
        const Fit slow = meaning.assign(x.data(), dim, 0.9f, table, c.data());
        const Fit quick = fast.assign(x.data(), dim, 0.9f, table, d.data());
        EXPECT_EQ(c, d);
        EXPECT_EQ(slow.cross, quick.cross);
        EXPECT_EQ(slow.square, quick.square);
        for (std::size_t i = 0; i < dim; ++i)
          EXPECT_EQ(c[i], gaussian_codebook(bits).index(x[i] * 0.9f));
      }
    }
  }
}

}  // namespace
}  // namespace tern::quant
