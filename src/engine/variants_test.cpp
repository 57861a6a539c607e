#include "engine/variants.h"

#include <gtest/gtest.h>

#include <utility>

#include "hub/family.h"

namespace tern::engine {
namespace {

TEST(Variants, HaveTheSizesThatWereWorkedOutByHand) {
  const std::pair<std::string_view, std::uint64_t> kBytes[] = {
      {"MLX-2bit", 9'883'073'280},        {"MLX-3bit", 13'829'207'808},
      {"MLX-4bit", 17'775'342'336},       {"MLX-5bit", 21'721'476'864},
      {"MLX-6bit", 25'667'611'392},       {"MLX-8bit", 33'559'880'448},
      {"MLX-MXFP4", 16'788'808'704},      {"GGUF-IQ4_XS", 18'202'454'784},
      {"GGUF-MXFP4_MOE", 17'972'232'960}, {"GGUF-Q2_K", 17'901'097'728},
      {"GGUF-Q3_K_M", 19'841'339'136},    {"GGUF-Q4_K_M", 24'507'234'048},
      {"GGUF-Q5_K_M", 26'032'265'472},    {"GGUF-Q8_0", 33'577'599'744},
  };
  EXPECT_EQ(std::size(kBytes), std::size(hub::kWeightFormats));
  for (const auto& [format, bytes] : kBytes) EXPECT_EQ(variant_bytes(format), bytes) << format;
  EXPECT_EQ(variant_bytes("MLX-7bit").error().code, ErrorCode::usage);
}

TEST(Variants, OfTheFamilyAllHaveASizeAndACacheThatExists) {
  for (const hub::Variant& variant : hub::family()) {
    if (variant.parent.empty()) continue;
    const auto needs = variant_memory(variant.format, variant.cache, 4096);
    ASSERT_TRUE(needs) << variant.name << ": " << needs.error().message();
    EXPECT_EQ(needs->weights, variant_bytes(variant.format));
  }
}

TEST(Variants, NeedTheMemoryOfTheirCacheAndState) {
  constexpr std::size_t kTokens = 131072;
  const auto plain = variant_memory("MLX-4bit", "", kTokens);
  const auto coded = variant_memory("MLX-4bit", "turbo4", kTokens);
  ASSERT_TRUE(plain && coded);
  EXPECT_EQ(plain->kv, 6144u * kTokens);  // 6 layers, 2 heads, keys and values of 128 in 16 bits
  EXPECT_LT(coded->kv, plain->kv / 3);
  // The states of 23 Mamba-2 layers and the inputs of their convolutions, and what a block needs.
  EXPECT_GE(plain->state, 23u * (64 * 64 * 128 + 3 * 6144) * sizeof(float));
  EXPECT_GT(plain->scratch, 0u);
}

}  // namespace
}  // namespace tern::engine
