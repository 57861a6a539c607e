#include "model/mlx_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quant/turbo_weights.h"

namespace tern::model {
namespace {

using testing::HasSubstr;

json::object parse(std::string_view quantization) {
  const std::string text = "{\"quantization\": " + std::string(quantization) + "}";
  auto value = parse_json(text, "config.json");
  EXPECT_TRUE(value.has_value());
  return value->as_object();
}

void expect_error(std::string_view quantization, ErrorCode code, const char* part,
                  std::string_view path = "lm_head") {
  const json::object config = parse(quantization);
  const auto format = MlxConfig(config).format(path);
  ASSERT_FALSE(format.has_value()) << quantization;
  EXPECT_EQ(format.error().code, code) << format.error().message();
  EXPECT_THAT(format.error().message(), HasSubstr(part));
  EXPECT_THAT(format.error().where, HasSubstr("config.json: quantization"));
}

constexpr const char* kTurbo =
    R"({"mode": "turboquant", "bits": 3, "group_size": 64, "rotation": "rht64",)"
    R"( "rotation_seed": 5, "version": 1})";

TEST(MlxConfig, ReadsTheRotationOfTurboquant) {
  const json::object config = parse(kTurbo);
  const auto format = MlxConfig(config).format("lm_head");
  ASSERT_TRUE(format.has_value()) << format.error().message();
  EXPECT_EQ(format->scheme, quant::Scheme::turboquant);
  EXPECT_EQ(format->bits, 3u);
  EXPECT_EQ(format->group, 64u);
  EXPECT_EQ(format->signs, quant::rht64_signs(5));
}

TEST(MlxConfig, AModuleOfTurboquantTakesTheRotationFromTheTop) {
  const json::object config =
      parse(R"({"mode": "turboquant", "bits": 3, "rotation": "rht64", "rotation_seed": 5,)"
            R"( "version": 1, "lm_head": {"mode": "turboquant", "bits": 5},)"
            R"( "backbone.embeddings": {"bits": 8}})");
  const auto head = MlxConfig(config).format("lm_head");
  ASSERT_TRUE(head.has_value()) << head.error().message();
  EXPECT_EQ(head->bits, 5u);
  EXPECT_EQ(head->signs, quant::rht64_signs(5));
  const auto embeddings = MlxConfig(config).format("backbone.embeddings");
  ASSERT_TRUE(embeddings.has_value());
  EXPECT_EQ(embeddings->scheme, quant::Scheme::mlx_affine);
  EXPECT_EQ(embeddings->signs, nullptr);
}

TEST(MlxConfig, RefusesRotationsAndVersionsThatItDoesNotKnow) {
  expect_error(R"({"mode": "turboquant", "rotation": "hadamard", "rotation_seed": 42})",
               ErrorCode::unsupported, "unknown rotation \"hadamard\"");
  expect_error(R"({"mode": "turboquant", "rotation": "rht64", "rotation_seed": 1, "version": 2})",
               ErrorCode::unsupported, "version 2");
  expect_error(R"({"mode": "turbo", "bits": 4})", ErrorCode::unsupported,
               "unknown quantization mode \"turbo\"");
}

TEST(MlxConfig, MissesWhatTurboquantNeeds) {
  expect_error(R"({"mode": "turboquant"})", ErrorCode::not_found, "rotation");
  expect_error(R"({"mode": "turboquant", "rotation": "rht64", "version": 1})", ErrorCode::not_found,
               "rotation_seed");
  expect_error(R"({"mode": "turboquant", "rotation": "rht64", "rotation_seed": 1})",
               ErrorCode::not_found, "version");
  expect_error(R"({"mode": "turboquant", "rotation": 64, "rotation_seed": 1, "version": 1})",
               ErrorCode::corrupt, "rotation");
  expect_error(R"({"mode": "turboquant", "rotation": "rht64", "rotation_seed": -1, "version": 1})",
               ErrorCode::corrupt, "rotation_seed");
  expect_error(R"({"mode": "affine", "lm_head": {"mode": "turboquant", "bits": 4}})",
               ErrorCode::not_found, "rotation");
}

}  // namespace
}  // namespace tern::model
