#include "state/sequence.h"

#include <gtest/gtest.h>

#include <numeric>

namespace tern::state {
namespace {

constexpr SequenceShape kShape = {.attention_layers = 2,
                                  .kv_heads = 2,
                                  .head_dim = 3,
                                  .mamba_layers = 3,
                                  .conv_columns = 3,
                                  .conv_channels = 5,
                                  .ssm_values = 7};

Sequence make(KvScheme type = KvScheme::f32, std::size_t capacity = 1000) {
  auto sequence = Sequence::create(kShape, type, capacity);
  EXPECT_TRUE(sequence);
  return std::move(*sequence);
}

/// Keys of one token; every number tells where it belongs.
std::vector<float> keys(std::size_t layer, std::size_t position) {
  std::vector<float> k(6);
  for (std::size_t i = 0; i < 6; ++i)
    k[i] = static_cast<float>(layer * 1000 + position) + static_cast<float>(i) / 8;
  return k;
}

float read(const kernels::KvHead& head, std::size_t position, std::size_t i, bool value) {
  const kernels::KvPages& from = value ? head.main.values : head.main.keys;
  std::vector<float> x(head.head_dim());
  from.layout->read(from.pages[position / kernels::kKvPageTokens] + from.offset,
                    position % kernels::kKvPageTokens, x);
  return x[i];
}

void append(Sequence& sequence, std::size_t tokens) {
  ASSERT_TRUE(sequence.reserve(tokens));
  for (std::size_t layer = 0; layer < 2; ++layer) {
    std::vector<float> k, v;
    for (std::size_t t = 0; t < tokens; ++t)
      for (const float x : keys(layer, sequence.position() + t)) {
        k.push_back(x);
        v.push_back(-x);
      }
    sequence.write_kv(layer, tokens, k, v);
  }
  for (std::size_t layer = 0; layer < 3; ++layer) {
    for (float& x : sequence.conv_state(layer)) x += static_cast<float>(tokens);
    for (float& x : sequence.ssm_state(layer)) x -= static_cast<float>(tokens + layer);
  }
  sequence.advance(tokens);
}

TEST(Sequence, KeepsEveryKeyAndValueWhereItWasWritten) {
  for (const KvScheme type : {KvScheme::f32, KvScheme::f16, KvScheme::bf16}) {
    Sequence sequence = make(type);
    for (const std::size_t n : std::initializer_list<std::size_t>{1, 62, 2, 130})
      append(sequence, n);
    ASSERT_EQ(sequence.position(), 195u);
    const double bound = type == KvScheme::f32 ? 0 : type == KvScheme::f16 ? 1e-3 : 1e-2;
    for (std::size_t layer = 0; layer < 2; ++layer)
      for (std::size_t p = 0; p < 195; ++p)
        for (std::size_t h = 0; h < 2; ++h)
          for (std::size_t i = 0; i < 3; ++i) {
            const float expected = keys(layer, p)[h * 3 + i];
            EXPECT_NEAR(read(sequence.kv(layer, h), p, i, false), expected, bound * expected);
            EXPECT_NEAR(read(sequence.kv(layer, h), p, i, true), -expected, bound * expected);
          }
  }
}

TEST(Sequence, StatesOfTheLayersDoNotOverlap) {
  Sequence sequence = make();
  float next = 1;
  for (std::size_t layer = 0; layer < 3; ++layer) {
    ASSERT_EQ(sequence.conv_state(layer).size(), 15u);
    ASSERT_EQ(sequence.ssm_state(layer).size(), 7u);
    for (float& x : sequence.conv_state(layer)) x = next++;
    for (float& x : sequence.ssm_state(layer)) x = next++;
  }
  float expected = 1;
  for (std::size_t layer = 0; layer < 3; ++layer) {
    for (const float x : sequence.conv_state(layer)) EXPECT_EQ(x, expected++);
    for (const float x : sequence.ssm_state(layer)) EXPECT_EQ(x, expected++);
  }
}

TEST(Sequence, AccountsForItsBytes) {
  EXPECT_EQ(kShape.state_bytes(), 3u * (15 + 7) * 4);
  Sequence sequence = make(KvScheme::f16);
  EXPECT_EQ(sequence.bytes(), kShape.state_bytes());
  EXPECT_EQ(sequence.cache().bytes_per_token(), 2u * 2 * 2 * 3 * 2);
  append(sequence, 65);
  EXPECT_EQ(sequence.bytes(),
            kShape.state_bytes() + 2 * kernels::kKvPageTokens * sequence.cache().bytes_per_token());
}

TEST(Sequence, HoldsItsCapacityAndNotOneTokenMore) {
  Sequence sequence = make(KvScheme::f32, 100);
  append(sequence, 99);
  EXPECT_TRUE(sequence.reserve(1));
  const auto refused = sequence.reserve(2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::too_large);
  EXPECT_NE(refused.error().what.find("100"), std::string::npos);
  EXPECT_FALSE(sequence.reserve(std::size_t(-1)));
  append(sequence, 1);
  EXPECT_EQ(sequence.position(), 100u);
}

TEST(Sequence, RefusesMoreMemoryThanTheMachineHas) {
  for (const std::size_t capacity : {std::size_t{1} << 50, std::size_t(-1), std::size_t(-1) / 3}) {
    const auto refused = Sequence::create(kShape, KvScheme::f32, capacity);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::too_large);
  }
  SequenceShape huge = kShape;
  huge.ssm_values = std::size_t{1} << 45;
  EXPECT_FALSE(Sequence::create(huge, KvScheme::f32, 10));
}

TEST(Sequence, ForgetsEverythingOnReset) {
  Sequence sequence = make();
  append(sequence, 70);
  sequence.reset();
  EXPECT_EQ(sequence.position(), 0u);
  EXPECT_EQ(sequence.bytes(), kShape.state_bytes());
  for (std::size_t layer = 0; layer < 3; ++layer)
    for (const float x : sequence.ssm_state(layer)) EXPECT_EQ(x, 0);
  append(sequence, 3);
  EXPECT_EQ(read(sequence.kv(1, 0), 2, 0, false), 1002.0f);
}

TEST(Sequence, ForkIsIndependent) {
  Sequence sequence = make();
  append(sequence, 70);
  auto fork = sequence.fork();
  ASSERT_TRUE(fork);
  append(*fork, 5);
  EXPECT_EQ(sequence.position(), 70u);
  EXPECT_EQ(fork->position(), 75u);
  EXPECT_EQ(sequence.conv_state(0)[0], 70.0f);
  EXPECT_EQ(fork->conv_state(0)[0], 75.0f);
  EXPECT_EQ(read(fork->kv(1, 1), 69, 2, true), read(sequence.kv(1, 1), 69, 2, true));
  EXPECT_EQ(read(fork->kv(0, 0), 74, 0, false), 74.0f);
}

TEST(Sequence, GoesBackToASnapshot) {
  Sequence sequence = make();
  append(sequence, 10);
  const auto snapshot = sequence.snapshot();
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->position(), 10u);
  EXPECT_EQ(snapshot->bytes(), kShape.state_bytes());
  append(sequence, 80);
  ASSERT_TRUE(sequence.restore(*snapshot));
  EXPECT_EQ(sequence.position(), 10u);
  EXPECT_EQ(sequence.conv_state(2)[14], 10.0f);
  EXPECT_EQ(read(sequence.kv(0, 0), 9, 0, false), 9.0f);
}

TEST(Sequence, RefusesASnapshotThatIsNotItsOwn) {
  Sequence sequence = make();
  append(sequence, 10);
  const auto snapshot = sequence.snapshot();
  Sequence fresh = make();
  const auto ahead = fresh.restore(*snapshot);
  ASSERT_FALSE(ahead);
  EXPECT_EQ(ahead.error().code, ErrorCode::mismatch);
  SequenceShape other = kShape;
  other.ssm_values = 8;
  auto different = Sequence::create(other, KvScheme::f32, 100);
  ASSERT_TRUE(different);
  EXPECT_FALSE(different->restore(*snapshot));
}

TEST(Sequence, RestsWithoutForgetting) {
  Sequence sequence = make();
  append(sequence, 10);
  ASSERT_TRUE(sequence.rest(StateCodec::lossless));
  EXPECT_TRUE(sequence.resting());
  const auto snapshot = sequence.snapshot();
  auto fork = sequence.fork();
  ASSERT_TRUE(snapshot && fork);
  for (Sequence* each : {&sequence, &*fork}) {
    append(*each, 5);
    EXPECT_FALSE(each->resting());
    EXPECT_EQ(each->conv_state(0)[0], 15.0f);
    ASSERT_TRUE(each->rest(StateCodec::f32));
    ASSERT_TRUE(each->restore(*snapshot));
    EXPECT_EQ(each->conv_state(0)[0], 10.0f);
    ASSERT_TRUE(each->rest(StateCodec::q8));
    each->reset();
    ASSERT_TRUE(each->reserve(1));
    EXPECT_EQ(each->conv_state(0)[0], 0.0f);
  }
}

TEST(Sequence, NoCodecChangesTheSumsOfABlock) {
  SequenceShape shape = kShape;
  shape.ssm_values = 20;
  shape.ssm_groups = 2;
  shape.ssm_exact = 3;
  for (const StateCodec codec : kStateCodecs) {
    auto sequence = Sequence::create(shape, KvScheme::f32, 100);
    ASSERT_TRUE(sequence);
    for (std::size_t layer = 0; layer < 3; ++layer)
      for (std::size_t i = 0; i < 20; ++i)
        sequence->ssm_state(layer)[i] = -1.0f / static_cast<float>(3 + i + 20 * layer);
    ASSERT_TRUE(sequence->compress_state(codec));
    for (std::size_t layer = 0; layer < 3; ++layer)
      for (const std::size_t i : {7uz, 8uz, 9uz, 17uz, 18uz, 19uz})
        EXPECT_EQ(sequence->ssm_state(layer)[i], -1.0f / static_cast<float>(3 + i + 20 * layer));
  }
}

TEST(Sequence, APackedSnapshotGivesBackNearlyTheState) {
  for (const StateCodec codec : kStateCodecs) {
    Sequence sequence = make();
    append(sequence, 10);
    const auto snapshot = sequence.snapshot(codec);
    ASSERT_TRUE(snapshot);
    append(sequence, 10);
    ASSERT_TRUE(sequence.restore(*snapshot));
    EXPECT_NEAR(sequence.conv_state(1)[0], 10.0f, codec <= StateCodec::lossless ? 0 : 2.5);
    EXPECT_EQ(*sequence.compress_state(codec), snapshot->bytes());
  }
}

}  // namespace
}  // namespace tern::state
