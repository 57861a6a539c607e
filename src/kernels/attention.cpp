#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/lanes.h"
#include "tensor/half.h"

namespace tern::kernels {
namespace {

/// What softmax has seen so far of one row.
struct Running {
  float maximum = -std::numeric_limits<float>::infinity();
  float sum = 0.0f;
};

}  // namespace

namespace scalar {
namespace {

double value(const std::byte* at, KvType type, std::size_t i) {
  if (type == KvType::f32) {
    float v = 0;
    std::memcpy(&v, at + 4 * i, 4);
    return v;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, at + 2 * i, 2);
  return type == KvType::f16 ? f16_to_float(bits) : bf16_to_float(bits);
}

/// Two passes for each row: the greatest score, then weights and values.
void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch) {
  const std::size_t d = kv.head_dim;
  const std::span sums(reinterpret_cast<double*>(scratch.data()), d);
  const double scale = 1.0 / std::sqrt(static_cast<double>(d));
  for (std::size_t row = 0; row < queries.tokens * queries.heads; ++row) {
    const std::size_t t = row / queries.heads;
    const std::size_t at = t * queries.stride + row % queries.heads * d;
    const std::size_t seen = queries.first_position + t + 1;
    const auto score = [&](std::size_t s) {
      const std::byte* page = kv.pages[s / kKvPageTokens] + kv.key_offset;
      double sum = 0;
      for (std::size_t i = 0; i < d; ++i)
        sum += queries.q[at + i] * value(page, kv.type, s % kKvPageTokens * d + i);
      return sum * scale;
    };
    double maximum = -std::numeric_limits<double>::infinity();
    for (std::size_t s = 0; s < seen; ++s) maximum = std::max(maximum, score(s));
    double total = 0;
    std::ranges::fill(sums, 0.0);
    for (std::size_t s = 0; s < seen; ++s) {
      const std::byte* page = kv.pages[s / kKvPageTokens] + kv.value_offset;
      const double p = std::exp(score(s) - maximum);
      total += p;
      for (std::size_t i = 0; i < d; ++i)
        sums[i] += p * value(page, kv.type, s % kKvPageTokens * d + i);
    }
    for (std::size_t i = 0; i < d; ++i) queries.out[at + i] = static_cast<float>(sums[i] / total);
  }
}

}  // namespace
}  // namespace scalar

#if defined(__x86_64__)

namespace avx2 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX2
#include "kernels/exp.inc.h"
// needs exp
#include "kernels/attention_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx2

namespace avx512 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX512
#include "kernels/exp.inc.h"
// needs exp
#include "kernels/attention_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx512

#endif

std::size_t attend_scratch(std::size_t rows, std::size_t head_dim) {
  return 3 * kKvPageTokens * head_dim + rows * (sizeof(Running) / sizeof(float));
}

void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch, Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::attend(kv, queries, scratch);
    case Isa::avx512:
    case Isa::amx:
      return avx512::attend(kv, queries, scratch);
#endif
    default:
      return scalar::attend(kv, queries, scratch);
  }
}

}  // namespace tern::kernels
