#include "model/fold.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "base/test_paths.h"
#include "model/forward.h"
#include "model/golden_case.h"
#include "quant/kv_codec.h"
#include "state/kv_config.h"

namespace tern::model {
namespace {

using quant::KvScheme;

std::vector<float> numbers(std::size_t n, std::uint32_t seed) {
  std::vector<float> values(n);
  for (float& value : values) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return values;
}

std::vector<float> times(std::span<const float> w, std::span<const float> x) {
  std::vector<float> y(w.size() / x.size());
  for (std::size_t r = 0; r < y.size(); ++r) {
    double sum = 0;
    for (std::size_t c = 0; c < x.size(); ++c)
      sum += static_cast<double>(w[r * x.size() + c]) * static_cast<double>(x[c]);
    y[r] = static_cast<float>(sum);
  }
  return y;
}

TEST(Fold, RotatedOutputsAreTheRotationOfEachHead) {
  const auto rotation = quant::Rotation::make(RotationKind::hadamard, 32, 1);
  auto w = numbers(3 * 32 * 20, 1);
  const auto x = numbers(20, 2);
  auto expected = times(w, x);
  for (std::size_t head = 0; head < 3; ++head)
    rotation.forward(std::span(expected).subspan(head * 32, 32));
  rotate_outputs(w, 20, rotation);
  const auto y = times(w, x);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-5);
}

TEST(Fold, RotatedInputsUndoTheRotationOfEachHead) {
  const auto rotation = quant::Rotation::make(RotationKind::iso, 32, 2);
  auto w = numbers(7 * 64, 3);
  auto x = numbers(64, 4);
  const auto expected = times(w, x);
  rotate_inputs(w, rotation);
  for (std::size_t head = 0; head < 2; ++head)
    rotation.forward(std::span(x).subspan(head * 32, 32));
  const auto y = times(w, x);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-5);
}

TEST(Fold, TheConfigurationRemembersIt) {
  const Fold fold{RotationKind::hadamard, RotationKind::iso};
  const json::object config{{"tern_kv_rotation", json::parse(fold_text(fold))}};
  EXPECT_EQ(*read_fold(config, "config.json"), fold);
  EXPECT_EQ(*read_fold({}, "config.json"), Fold{});
  const auto refusal = [](std::string_view text) {
    const auto read = read_fold({{"tern_kv_rotation", json::parse(text)}}, "config.json");
    return read ? ErrorCode::internal : read.error().code;
  };
  EXPECT_EQ(refusal("3"), ErrorCode::corrupt);
  EXPECT_EQ(refusal("{}"), ErrorCode::not_found);
  EXPECT_EQ(refusal(R"({"version": 2, "seeds": [1, 2], "keys": "iso", "values": "iso"})"),
            ErrorCode::unsupported);
  EXPECT_EQ(refusal(R"({"version": 1, "seeds": [1, 3], "keys": "iso", "values": "iso"})"),
            ErrorCode::unsupported);
  EXPECT_EQ(refusal(R"({"version": 1, "seeds": [1, 2], "keys": "spin", "values": "iso"})"),
            ErrorCode::unsupported);
  EXPECT_EQ(refusal(R"({"version": 1, "seeds": [1, 2], "keys": "iso"})"), ErrorCode::not_found);
}

TEST(Fold, CodesAreThoseOfTheRotationInTheCacheButForRounding) {
  constexpr std::size_t kDim = 128, kCols = 64, kVectors = 200;
  for (const quant::KvScheme scheme : {quant::KvScheme::turbo4, quant::KvScheme::turbo3,
                                       quant::KvScheme::planar3, quant::KvScheme::iso4}) {
    const auto online = *quant::KvCodec::create(scheme, kDim, kFoldSeeds[0]);
    const auto folded = online.for_rotated();
    EXPECT_EQ(folded.rotation().kind(), RotationKind::identity);
    const auto w = numbers(kDim * kCols, 5);
    auto rotated = w;
    rotate_outputs(rotated, kCols, online.rotation());
    std::size_t same = 0;
    for (std::uint32_t i = 0; i < kVectors; ++i) {
      const auto x = numbers(kCols, 100 + i);
      std::vector<std::uint8_t> a(kDim), b(kDim);
      std::vector<std::uint16_t> scale_a(1), scale_b(1);
      online.encode(times(w, x), a, scale_a, {});
      folded.encode(times(rotated, x), b, scale_b, {});
      for (std::size_t j = 0; j < kDim; ++j) same += a[j] == b[j] ? 1 : 0;
      EXPECT_NEAR(scale_a[0], scale_b[0], 2) << "units in the last place of binary16";
    }
    EXPECT_GT(same, kVectors * kDim * 9995 / 10000) << quant::name(scheme);
  }
}

Result<std::vector<float>> demo_logits(KvScheme scheme, const Fold& fold) {
  TERN_TRY(const auto checkpoint, formats::Checkpoint::open(source_dir() + "/demo/model"));
  TERN_TRY(auto model, Model::load(checkpoint));
  if (fold != Fold{}) TERN_TRY_VOID(model.fold(fold));
  state::KvConfig config(scheme);
  config.sinks = config.recent = 0;
  TERN_TRY(auto sequence, model.new_sequence(config, 200));
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < 200; ++i) tokens.push_back(1000 + i * 37 % 1000);
  std::vector<float> logits(tokens.size() * model.config().vocab_size);
  ThreadPool pool(2);
  TERN_TRY_VOID(model.forward(tokens, sequence, LogitsMode::all, logits, pool));
  return logits;
}

/// Root mean square of the difference, as part of that of `a`.
double apart(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - double{b[i]}, 2);
    square += std::pow(double{a[i]}, 2);
  }
  return std::sqrt(difference / square);
}

TEST(Fold, AModelThatIsFoldedAtLoadHasTheSameOutputs) {
  const Fold fold{RotationKind::hadamard, RotationKind::hadamard};
  const auto plain = demo_logits(KvScheme::f32, {}), folded = demo_logits(KvScheme::f32, fold);
  ASSERT_TRUE(plain && folded);
  EXPECT_LT(apart(*plain, *folded), 1e-5);
}

TEST(Fold, ACacheDoesNotRotateWhatIsFolded) {
  const Fold fold{RotationKind::hadamard, RotationKind::hadamard};
  const auto exact = demo_logits(KvScheme::f32, {}), online = demo_logits(KvScheme::turbo3, {}),
             folded = demo_logits(KvScheme::turbo3, fold);
  ASSERT_TRUE(exact && online && folded);
  // The same codes but for rounding: far nearer to each other than to the exact outputs. Were the
  // keys rotated twice, other codes would err in other ways.
  EXPECT_LT(apart(*online, *folded), 0.2 * apart(*exact, *online));
}

TEST(Fold, AModelIsFoldedOnce) {
  const auto checkpoint = formats::Checkpoint::open(source_dir() + "/demo/model");
  auto model = Model::load(*checkpoint);
  ASSERT_TRUE(model);
  EXPECT_EQ(model->folded(), Fold{});
  ASSERT_TRUE(model->fold({RotationKind::hadamard, RotationKind::identity}));
  EXPECT_EQ(model->folded().keys, RotationKind::hadamard);
  const auto again = model->fold({RotationKind::hadamard, RotationKind::identity});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::usage);
}

TEST(Fold, AQuantizedModelIsFoldedWithoutQuantizingItAgain) {
  // Integer codes meet activations of 16 bits, float32 copies those of 32.
  const Fold fold{RotationKind::hadamard, RotationKind::hadamard};
  ThreadPool pool(2);
  for (const char* name : {"mlx-affine", "mlx-mxfp4", "gguf-q8_0", "gguf-mixed"}) {
    SCOPED_TRACE(name);
    const auto tokens = read_golden(golden_folder(name) / "golden.safetensors").tokens;
    const auto checkpoint = formats::Checkpoint::open(golden_folder(name));
    ASSERT_TRUE(checkpoint) << checkpoint.error().message();
    auto model = Model::load(*checkpoint);
    ASSERT_TRUE(model) << model.error().message();
    const auto before = all_logits(*model, tokens, 0, pool);
    const auto done = model->fold(fold);
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(model->folded(), fold);
    const auto after = all_logits(*model, tokens, 0, pool);
    ASSERT_TRUE(before && after);
    EXPECT_NE(*before, *after);
    EXPECT_LT(relative_error(*after, *before), 1e-3);
  }
}

TEST(Fold, HeadsThatARotationDoesNotFitAreRefused) {
  constexpr Fold kIso = {RotationKind::iso, RotationKind::identity};
  constexpr Fold kPlanar = {RotationKind::identity, RotationKind::planar};
  EXPECT_TRUE(check_heads(kIso, 4));
  EXPECT_FALSE(check_heads(kIso, 6));
  EXPECT_TRUE(check_heads(kPlanar, 6));
  EXPECT_FALSE(check_heads(kPlanar, 7));
  EXPECT_FALSE(check_heads({}, 0));
}

}  // namespace
}  // namespace tern::model
