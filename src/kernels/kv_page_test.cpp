#include "kernels/kv_page.h"

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/guarded.h"

namespace tern::kernels {
namespace {

using quant::KvCodec;
using quant::KvScheme;

TEST(KvPage, KeepsWhatTheCodecMakesOfEveryTokenInAnyOrder) {
  for (std::size_t i = 0; i < quant::kKvSchemes; ++i)
    for (const KvSide side : {KvSide::keys, KvSide::values})
      for (const std::size_t d : std::initializer_list<std::size_t>{32, 64, 128, 192}) {
        auto codec = KvCodec::create(static_cast<KvScheme>(i), d, 7);
        if (!codec) continue;  // 32 is too short for some
        SCOPED_TRACE(testing::Message() << quant::name(codec->scheme()) << " of " << d);
        const KvLayout layout(*codec, side);
        EXPECT_EQ(layout.page_bytes(), kKvPageTokens * codec->vector_bytes());
        std::vector<std::byte> page(layout.page_bytes(), std::byte{0xa5});
        const auto x = normal(kKvPageTokens * d, 3), old = normal(kKvPageTokens * d, 4);
        for (std::size_t t = 0; t < kKvPageTokens; ++t)
          layout.write(page.data(), t, std::span(old).subspan(t * d, d));
        for (std::size_t t = kKvPageTokens; t-- > 0;)
          layout.write(page.data(), t, std::span(x).subspan(t * d, d));
        std::vector<float> found(d), expected(d);
        for (std::size_t t = 0; t < kKvPageTokens; ++t) {
          const auto vector = std::span(x).subspan(t * d, d);
          layout.read(page.data(), t, found);
          if (codec->plain()) {
            for (std::size_t j = 0; j < d; ++j) ASSERT_NEAR(found[j], vector[j], 2e-2);
            continue;
          }
          std::vector<std::uint8_t> codes(d);
          std::vector<std::uint16_t> scales(codec->scales()),
              biases(codec->has_bias() ? codec->scales() : 0);
          codec->encode(vector, codes, scales, biases);
          codec->decode(codes, scales, biases, expected);
          ASSERT_EQ(found, expected);
        }
      }
}

TEST(KvPage, SegmentsCoverTheVector) {
  for (const KvScheme scheme : {KvScheme::q8_0, KvScheme::affine4, KvScheme::turbo3_5}) {
    const KvLayout layout(*KvCodec::create(scheme, 128), KvSide::keys);
    std::size_t next = 0;
    for (const KvSegment& s : layout.segments()) {
      EXPECT_EQ(s.first, next);
      EXPECT_GT(s.scale, 0u);
      EXPECT_EQ(s.bias != 0, scheme == KvScheme::affine4);
      next += s.count;
    }
    EXPECT_EQ(next, 128u);
  }
}

}  // namespace
}  // namespace tern::kernels
