#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/cpu.h"
#include "quant/sample_matrix.h"

namespace tern::kernels {
namespace {

using quant::all_formats;
using quant::Format;
using quant::Matrix;
using quant::SampleMaker;

/// Forces an instruction set for as long as it lives.
class UseIsa {
 public:
  explicit UseIsa(Isa isa) : before_(active_isa()) { select(isa); }
  ~UseIsa() { select(before_); }
  UseIsa(const UseIsa&) = delete;
  UseIsa& operator=(const UseIsa&) = delete;

 private:
  static void select(Isa isa) {
    const auto selected = select_isa(name(isa));
    TERN_CHECK(selected.has_value());
  }
  Isa before_;
};

std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx})
    if (supported(isa)) found.push_back(isa);
  return found;
}

/// One element of y, the sum of |w x| that rounding in float32 is measured against, and the most
/// that rounding activations to 16 bits for each 32 of them can change.
struct Exact {
  double value = 0, magnitude = 0, rounding = 0;
};
std::vector<Exact> reference(const Matrix& w, std::span<const float> x, std::size_t tokens) {
  std::vector<Exact> y(tokens * w.rows);
  std::vector<float> row(w.cols);
  for (std::size_t r = 0; r < w.rows; ++r) {
    quant::row_decoder(w, Isa::scalar)(w, r, row);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t c = 0; c < w.cols; ++c) {
        const double product = static_cast<double>(row[c]) * static_cast<double>(x[t * w.cols + c]);
        y[t * w.rows + r].value += product;
        y[t * w.rows + r].magnitude += std::abs(product);
        const std::size_t block = c / 32 * 32, end = std::min(block + 32, w.cols);
        float largest = 0;
        for (std::size_t i = block; i < end; ++i)
          largest = std::max(largest, std::abs(x[t * w.cols + i]));
        y[t * w.rows + r].rounding +=
            std::abs(static_cast<double>(row[c])) * static_cast<double>(largest) / 65534;
      }
  }
  return y;
}

std::vector<float> multiply(const Matrix& w, std::span<const float> x, std::size_t tokens,
                            ThreadPool& pool) {
  std::vector<float> y(tokens * w.rows, std::numeric_limits<float>::quiet_NaN());
  apply(Linear{w}, x.data(), tokens, w.cols, y.data(), w.rows, pool);
  return y;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// Columns that end inside, at and after the vectors and blocks of columns of the kernels.
std::vector<std::size_t> widths(const Format& format) {
  if (format.unit() == 1) return {1, 7, 15, 16, 17, 100, 511, 513, 1100};
  const std::size_t unit = format.unit();
  return {unit, 3 * unit, (512 / unit + 1) * unit};
}

TEST(Linear, AgreesWithDoublePrecisionForEveryFormatAndInstructionSet) {
  SampleMaker maker(1, /*tame=*/true);
  ThreadPool pool(2);
  for (const Format& format : all_formats())
    for (const std::size_t cols : widths(format))
      for (const std::size_t rows : {1uz, 5uz, 11uz}) {
        const auto sample = maker.make(format, rows, cols);
        const auto x = maker.floats(33 * cols);
        const auto exact = reference(sample.matrix, x, 33);
        for (const Isa isa : isas()) {
          const UseIsa use(isa);
          const bool rounds = fixed_kernels(sample.matrix, isa) != nullptr;
          const double bound = isa == Isa::scalar ? 1e-7 : 1e-6;
          for (const std::size_t tokens : {1uz, 2uz, 3uz, 4uz, 7uz, 8uz, 33uz}) {
            const auto y = multiply(sample.matrix, x, tokens, pool);
            for (std::size_t i = 0; i < y.size(); ++i)
              ASSERT_NEAR(static_cast<double>(y[i]), exact[i].value,
                          bound * exact[i].magnitude + (rounds ? 1.001 * exact[i].rounding : 0))
                  << format.label() << " " << name(isa) << " " << rows << "x" << cols << ", "
                  << tokens << " tokens, element " << i;
          }
        }
      }
}

TEST(Linear, AnElementDoesNotDependOnTheTokensRowsAndThreadsBesideIt) {
  SampleMaker maker(2, /*tame=*/true);
  ThreadPool one(1), three(3);
  constexpr std::size_t kRows = 37, kTokens = 70;
  for (const Format& format : all_formats()) {
    const std::size_t cols = format.unit() == 1 ? 777 : 768;
    const auto sample = maker.make(format, kRows, cols);
    const auto x = maker.floats(kTokens * cols);
    for (const Isa isa : isas()) {
      const UseIsa use(isa);
      const std::string label = format.label() + " " + std::string(name(isa));
      const auto whole = multiply(sample.matrix, x, kTokens, one);
      EXPECT_TRUE(same_bits(multiply(sample.matrix, x, kTokens, three), whole)) << label;
      for (const std::size_t t : {0uz, 1uz, 66uz}) {
        for (const std::size_t count : {1uz, 2uz, 3uz, 4uz}) {
          const auto some =
              multiply(sample.matrix, std::span(x).subspan(t * cols, count * cols), count, three);
          EXPECT_TRUE(same_bits(some, std::span(whole).subspan(t * kRows, count * kRows)))
              << label << ", tokens " << t << " to " << t + count;
        }
      }
      const auto middle = multiply(sample.matrix.slice(13, 6), x, 1, three);
      EXPECT_TRUE(same_bits(middle, std::span(whole).subspan(13, 6))) << label;
    }
  }
}

/// Rows that are multiplied in turn pass through buffers, unless they are too wide.
TEST(Linear, ARowDoesNotDependOnThoseBeforeAndAfterIt) {
  SampleMaker maker(5, /*tame=*/true);
  constexpr std::size_t kRows = 23, kTokens = 3;
  for (const Format& format : all_formats())
    for (const std::size_t cols : {format.unit() == 1 ? 613uz : 768uz, 9216uz}) {
      const auto sample = maker.make(format, kRows, cols);
      const auto x = maker.floats(kTokens * cols);
      for (const Isa isa : isas()) {
        const UseIsa use(isa);
        Activations activations;
        activations.prepare(sample.matrix, x.data(), kTokens, cols, nullptr);
        std::vector<float> together(kTokens * kRows), alone(kTokens * kRows);
        activations.multiply(sample.matrix, 0, kRows, together.data(), kRows);
        for (std::size_t r = 0; r < kRows; ++r)
          activations.multiply(sample.matrix, r, r + 1, alone.data() + r, kRows);
        EXPECT_TRUE(same_bits(together, alone))
            << format.label() << " " << name(isa) << " " << cols;
      }
    }
}

TEST(Linear, TheVectorInstructionSetsAgreeBitForBit) {
  SampleMaker maker(3, /*tame=*/true);
  ThreadPool pool(1);
  for (const Format& format : all_formats()) {
    const std::size_t cols = format.unit() == 1 ? 613 : 768;
    const auto sample = maker.make(format, 9, cols);
    const auto x = maker.floats(5 * cols);
    std::vector<float> first;
    for (const Isa isa : isas()) {
      if (isa == Isa::scalar) continue;
      const UseIsa use(isa);
      const auto y = multiply(sample.matrix, x, 5, pool);
      if (first.empty()) first = y;
      EXPECT_TRUE(same_bits(y, first)) << format.label() << " " << name(isa);
    }
  }
}

TEST(Linear, HonoursStridesAndWritesNothingElse) {
  SampleMaker maker(4, /*tame=*/true);
  ThreadPool pool(2);
  constexpr std::size_t kRows = 9, kCols = 96, kTokens = 6, kXStride = 101, kYStride = 13;
  const auto sample = maker.make({.scheme = quant::Scheme::q8_0}, kRows, kCols);
  const auto x = maker.floats(kTokens * kXStride);
  for (const Isa isa : isas()) {
    const UseIsa use(isa);
    std::vector<float> y(kTokens * kYStride, -77.0f);
    apply(Linear{sample.matrix}, x.data(), kTokens, kXStride, y.data(), kYStride, pool);
    for (std::size_t t = 0; t < kTokens; ++t) {
      const auto alone =
          multiply(sample.matrix, std::span(x).subspan(t * kXStride, kCols), 1, pool);
      EXPECT_TRUE(same_bits(std::span(y).subspan(t * kYStride, kRows), alone)) << name(isa);
      for (std::size_t r = kRows; r < kYStride; ++r) EXPECT_EQ(y[t * kYStride + r], -77.0f);
    }
  }
}

TEST(Linear, ExpertsCanRunInsideAParallelLoop) {
  SampleMaker maker(5, /*tame=*/true);
  ThreadPool pool(3);
  constexpr std::size_t kExperts = 6, kRows = 10, kCols = 128;
  const auto stacked = maker.make({quant::Scheme::mlx_affine, 4, 64}, kExperts * kRows, kCols);
  const auto x = maker.floats(kCols);
  const auto whole = multiply(stacked.matrix, x, 1, pool);
  std::vector<float> y(kExperts * kRows);
  pool.parallel_for(kExperts, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t e = begin; e < end; ++e)
      apply_serial(stacked.matrix.slice(e * kRows, kRows), x.data(), 1, kCols, y.data() + e * kRows,
                   kRows);
  });
  EXPECT_TRUE(same_bits(y, whole));
}

TEST(Linear, ATokenThatIsNotFiniteSpoilsOnlyItself) {
  SampleMaker maker(6, /*tame=*/true);
  ThreadPool pool(2);
  constexpr std::size_t kRows = 6, kCols = 611, kTokens = 5;
  const auto sample = maker.make({.scheme = quant::Scheme::bf16}, kRows, kCols);
  auto x = maker.floats(kTokens * kCols);
  for (const Isa isa : isas()) {
    const UseIsa use(isa);
    const auto clean = multiply(sample.matrix, x, kTokens, pool);
    auto spoilt = x;
    spoilt[2 * kCols + kCols - 1] = std::numeric_limits<float>::quiet_NaN();
    const auto y = multiply(sample.matrix, spoilt, kTokens, pool);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (i / kRows == 2)
        EXPECT_TRUE(std::isnan(y[i])) << name(isa);
      else
        EXPECT_EQ(y[i], clean[i]) << name(isa);
    }
  }
}

TEST(Linear, NothingTimesNothingTouchesNothing) {
  SampleMaker maker(7, /*tame=*/true);
  ThreadPool pool(2);
  const auto sample = maker.make({.scheme = quant::Scheme::f32}, 3, 8);
  apply(Linear{sample.matrix}, nullptr, 0, 8, nullptr, 3, pool);
  apply(Linear{sample.matrix.slice(1, 0)}, nullptr, 4, 8, nullptr, 0, pool);
}

}  // namespace
}  // namespace tern::kernels
