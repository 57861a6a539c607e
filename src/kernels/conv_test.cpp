#include "kernels/conv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "kernels/guarded.h"

namespace tern::kernels {
namespace {

/// `channels` out of rows of channels + 3, for 5 tokens.
struct Case {
  static constexpr std::size_t kTokens = 5, kSkip = 3;
  std::size_t channels, kernel, vectors = (channels + 15) / 16;
  std::vector<float> w = normal(kernel * channels, 1), bias = normal(channels, 2);
  std::vector<std::unique_ptr<Guarded>> memory;
  std::vector<const float*> rows;

  Case(std::size_t c, std::size_t k) : channels(c), kernel(k) {
    for (std::size_t i = 0; i < kernel - 1 + kTokens; ++i) {
      const auto row = normal(kSkip + channels, static_cast<unsigned>(10 + i));
      memory.push_back(std::make_unique<Guarded>(std::span<const float>(row)));
      rows.push_back(memory.back()->data());
    }
  }

  std::vector<float> run(Isa isa) {
    Guarded weights{std::span<const float>(w)}, biases{std::span<const float>(bias)};
    Guarded out(kTokens * vectors * 16);
    conv_silu(isa)({.rows = rows.data(),
                    .tokens = kTokens,
                    .channels = channels,
                    .kernel = kernel,
                    .w = weights.data(),
                    .w_stride = channels,
                    .bias = biases.data(),
                    .skip = kSkip,
                    .out = out.data(),
                    .token_stride = 16,
                    .block_stride = 16 * kTokens});
    return {out.span().begin(), out.span().end()};
  }

  double expected(std::size_t t, std::size_t c) const {
    double v = bias[c];
    for (std::size_t j = 0; j < kernel; ++j)
      v += double{w[j * channels + c]} * rows[t + j][kSkip + c];
    return v / (1 + std::exp(-v));
  }
};

TEST(ConvSilu, WeighsEachChannelsPastAndAppliesSilu) {
  for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512}) {
    if (!supported(isa)) continue;
    for (const std::size_t kernel : std::initializer_list<std::size_t>{1, 2, 4, 7})
      for (const std::size_t channels : std::initializer_list<std::size_t>{1, 16, 24, 64, 129}) {
        Case sample(channels, kernel);
        const auto out = sample.run(isa);
        for (std::size_t t = 0; t < Case::kTokens; ++t)
          for (std::size_t c = 0; c < sample.vectors * 16; ++c) {
            const float found = out[(c / 16 * Case::kTokens + t) * 16 + c % 16];
            if (c < channels)
              ASSERT_NEAR(found, sample.expected(t, c), 4e-6) << name(isa) << ", channel " << c;
            else
              ASSERT_EQ(found, 0.0f) << "past the last channel";
          }
      }
  }
}

TEST(ConvSilu, FastFormsAgreeBitForBit) {
  if (!supported(Isa::avx512)) GTEST_SKIP() << "this CPU has no avx512";
  for (const std::size_t kernel : std::initializer_list<std::size_t>{3, 4}) {
    Case sample(40, kernel);
    EXPECT_EQ(sample.run(Isa::avx2), sample.run(Isa::avx512));
  }
}

}  // namespace
}  // namespace tern::kernels
