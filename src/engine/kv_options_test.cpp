#include "engine/kv_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tern::engine {
namespace {

using state::KvScheme;
using ::testing::HasSubstr;

KvTypes parsed(std::string_view text) {
  const auto types = parse_kv(text);
  EXPECT_TRUE(types) << text;
  return types.value_or(KvTypes{});
}

KvTypes both(KvScheme scheme) {
  return {scheme, scheme};
}

TEST(KvNames, EveryCanonicalNameMeansItself) {
  const auto names = kv_names();
  ASSERT_EQ(names.size(), quant::kKvSchemes);
  for (std::size_t i = 0; i < names.size(); ++i)
    EXPECT_EQ(parsed(names[i]), both(static_cast<KvScheme>(i)));
}

TEST(KvNames, WhatPeopleTypeElsewhereIsUnderstood) {
  EXPECT_EQ(parsed("turbo4:turbo3"), (KvTypes{KvScheme::turbo4, KvScheme::turbo3}));
  EXPECT_EQ(parsed("TQ4"), both(KvScheme::turbo4));
  EXPECT_EQ(parsed("tq2"), both(KvScheme::turbo2));
  EXPECT_EQ(parsed("rq3"), both(KvScheme::iso3));
  EXPECT_EQ(parsed("RQ4"), both(KvScheme::iso4));
  EXPECT_EQ(parsed("TurboQuant"), both(KvScheme::turbo4));
  EXPECT_EQ(parsed("turbo3.5"), both(KvScheme::turbo3_5));
  EXPECT_EQ(parsed("F16:q8_0"), (KvTypes{KvScheme::f16, KvScheme::q8_0}));
  EXPECT_EQ(parsed("4"), both(KvScheme::turbo4));
  EXPECT_EQ(parsed("3.5"), (KvTypes{KvScheme::turbo3, KvScheme::turbo4}));
  EXPECT_EQ(parsed("turboquant_k3v4_nc"), (KvTypes{KvScheme::turbo3, KvScheme::turbo4}));
}

TEST(KvNames, AnUnknownOneListsTheKnownOnes) {
  for (const char* name : {"turbo5", "", "turbo4:", ":", "turbo4:turbo3:turbo2", "f 16", "9"}) {
    const auto types = parse_kv(name);
    ASSERT_FALSE(types) << name;
    EXPECT_EQ(types.error().code, ErrorCode::usage);
    EXPECT_THAT(types.error().what, HasSubstr("turbo4, planar3"));
  }
  EXPECT_THAT(parse_kv("trubo4").error().hint, HasSubstr("turbo4"));
  EXPECT_THAT(parse_kv("q8_0:planer3").error().hint, HasSubstr("planar3"));
}

TEST(KvBits, MeanWhatTheyMeanInMlx) {
  EXPECT_EQ(parse_kv_bits("4", ""), both(KvScheme::affine4));
  EXPECT_EQ(parse_kv_bits("8", "uniform"), both(KvScheme::affine8));
  EXPECT_EQ(parse_kv_bits("4", "turboquant"), both(KvScheme::turbo4));
  EXPECT_EQ(parse_kv_bits("3.5", ""), (KvTypes{KvScheme::turbo3, KvScheme::turbo4}));
  EXPECT_EQ(parse_kv_bits("2.5", "TurboQuant"), (KvTypes{KvScheme::turbo2, KvScheme::turbo3}));
  EXPECT_EQ(parse_kv_bits("3", "rotorquant"), both(KvScheme::iso3));
}

TEST(KvBits, ThatThereAreNotAreRefused) {
  for (const auto& [bits, scheme] :
       {std::pair("5", "turboquant"), std::pair("3", "uniform"), std::pair("4.5", "turboquant"),
        std::pair("1.5", ""), std::pair("4.25", ""), std::pair("x", ""), std::pair("", ""),
        std::pair("2", "rotorquant")})
    EXPECT_EQ(parse_kv_bits(bits, scheme).error().where, "kv-bits") << bits;
  EXPECT_EQ(parse_kv_bits("4", "affine").error().where, "kv-quant-scheme");
  EXPECT_EQ(parse_kv_bits("4", "uniform", 32).error().where, "kv-group-size");
}

TEST(KvChoice, IsWhatTheModelsNamePromisesUnlessTypesAreGiven) {
  const auto types = [](const KvOptions& options, std::string_view model) {
    const auto choice = resolve_kv(options, model);
    EXPECT_TRUE(choice);
    return KvTypes{choice->config.keys, choice->config.values};
  };
  EXPECT_EQ(types({}, "models/Nano-TurboQuant-MLX-4bit-TQ-KV/"), both(KvScheme::turbo4));
  EXPECT_EQ(types({}, "Nano-RotorQuant-Q4_K_M-RQ-KV.gguf"), both(KvScheme::iso4));
  EXPECT_EQ(types({}, "Nano-TQ-KV-notes"), both(KvScheme::f16));
  EXPECT_EQ(types({}, "somebody/nano-tq-kv:Q8_0"), both(KvScheme::turbo4));
  EXPECT_EQ(types({.keys = "q8_0"}, "Nano-TQ-KV"), both(KvScheme::q8_0));
  EXPECT_EQ(types({.keys = "turbo4", .values = "turbo2"}, ""),
            (KvTypes{KvScheme::turbo4, KvScheme::turbo2}));
  EXPECT_TRUE(resolve_kv({}, "Nano-TQ-KV")->from_name);
  EXPECT_FALSE(resolve_kv({.keys = "f16"}, "Nano-TQ-KV")->from_name);
}

TEST(KvChoice, CarriesTheWindows) {
  const auto choice = resolve_kv(
      {.keys = "turbo4", .sinks = 1, .recent = 2, .quantized_start = 3, .full_layers = {0, 5}}, "");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->config.sinks, 1u);
  EXPECT_EQ(choice->config.recent, 2u);
  EXPECT_EQ(choice->config.quantized_start, 3u);
  EXPECT_EQ(choice->config.full_layers, (std::vector<std::size_t>{0, 5}));
  EXPECT_EQ(kv_label(choice->config), "turbo4");
  EXPECT_FALSE(resolve_kv({.recent = std::size_t{1} << 40}, ""));
}

}  // namespace
}  // namespace tern::engine
