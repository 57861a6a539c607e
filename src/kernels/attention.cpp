#include "kernels/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/attention_rows.h"
#include "kernels/lanes.h"
#include "tensor/half.h"

namespace tern::kernels {

#if defined(__x86_64__)

namespace avx2 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX2
constexpr RowTiles kTiles = {.floats = 6, .whole = 4, .direct = 4};
#include "kernels/attention_floats.inc.h"
#include "kernels/attention_whole.inc.h"
#include "kernels/exp.inc.h"
// needs the other three
#include "kernels/attention_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx2

namespace avx512 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX512
constexpr RowTiles kTiles = {.floats = 16, .whole = 16, .direct = 16};
#include "kernels/attention_floats.inc.h"
#include "kernels/attention_whole.inc.h"
#include "kernels/exp.inc.h"
// needs the other three
#include "kernels/attention_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx512

#elif defined(__aarch64__)

namespace neon {
namespace {
#define TERN_TARGET TERN_TARGET_NEON
constexpr RowTiles kTiles = {.floats = 6, .whole = 4, .direct = 4};
#include "kernels/attention_floats.inc.h"
#include "kernels/attention_whole.inc.h"
#include "kernels/exp.inc.h"
// needs the other three
#include "kernels/attention_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace neon

#endif

namespace {

constexpr std::size_t kMostTileRows = 16;

RowTiles tiles_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx2) return avx2::kTiles;
  if (isa >= Isa::avx512) return avx512::kTiles;
#elif defined(__aarch64__)
  if (isa == Isa::neon) return neon::kTiles;
#endif
  static_cast<void>(isa);
  return {};
}

/// Lays out a tile of rows [rows][head_dim] for the registers: [head_dim][rows].
void lay_out(std::span<const float> q, std::size_t rows, float* to) {
  const std::size_t d = q.size() / rows;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t i = 0; i < d; ++i) to[i * rows + r] = q[r * d + i];
}

/// The same for keys of codes: rounded to whole numbers of a step for each row, in pairs
/// [head_dim / 2][rows], then the steps [rows], then for each segment the sums [rows] of a row's
/// rounded elements.
void lay_out_whole(const KvLayout& keys, std::span<const float> q, std::size_t rows, float* to) {
  const std::size_t d = q.size() / rows;
  float* const steps = to + d / 2 * rows;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::span<const float> row = q.subspan(r * d, d);
    float greatest = 0, sum = 0;  // the sum: whether all are numbers
    for (const float x : row) greatest = std::max(greatest, std::abs(x)), sum += std::abs(x);
    steps[r] = std::isfinite(sum) ? greatest / kWholeQuery : sum;
    const float inverse = greatest >= 0x1p-100f ? kWholeQuery / greatest : 0.0f;
    const auto rounded = [&](std::size_t i) {
      return std::isfinite(sum) ? static_cast<std::int16_t>(std::lrint(row[i] * inverse)) : 0;
    };
    std::size_t index = 0;
    for (const KvSegment& s : keys.segments()) {
      std::int64_t total = 0;
      for (std::size_t pair = 0; pair < s.count / 2; ++pair) {
        const auto [first, second] = key_pair(s.code, pair);
        const std::int16_t two[2] = {static_cast<std::int16_t>(rounded(s.first + first)),
                                     static_cast<std::int16_t>(rounded(s.first + second))};
        total += two[0] + two[1];
        std::memcpy(to + (s.first / 2 + pair) * rows + r, two, sizeof two);
      }
      steps[++index * rows + r] = static_cast<float>(total) * steps[r];
    }
  }
}

}  // namespace

bool has_parts(Isa isa) {
  return tiles_of(isa).floats > 1;
}

std::size_t parts(const KvHead&, const Queries& queries) {
  const std::size_t seen = queries.first_position + queries.tokens;
  return 2 * ((seen + kAttentionPart - 1) / kAttentionPart);
}

bool sees(const KvHead& kv, const Queries& queries, std::size_t part) {
  const std::size_t begin = part / 2 * kAttentionPart, end = begin + kAttentionPart;
  for (std::size_t t = 0; t < queries.tokens; ++t)
    if (seen_by(kv, queries.first_position + t, part % 2 == 1).any(begin, end)) return true;
  return false;
}

void prepare(const KvHead& kv, const Queries& queries, std::span<float> prepared, Isa isa) {
  const std::size_t d = kv.head_dim(), rows = queries.rows();
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float memory[kMostTileRows * quant::KvCodec::kMaxDim];
  const auto each_tile = [&](const KvLayout& keys, auto lay) {
    const std::size_t limit = tiles_of(isa).limit(keys, rows, d);
    for (std::size_t first = 0, n = 0; first < rows; first += n) {
      n = next_tile(rows - first, limit);
      const std::span x(memory, n * d);
      for (std::size_t r = 0; r < n; ++r) {
        const float* q = queries.q + row_offset(queries, first + r, d);
        for (std::size_t i = 0; i < d; ++i) x[r * d + i] = q[i] * scale;
        keys.codec().rotation().forward(x.subspan(r * d, d));
      }
      lay(x, n, first * d);
    }
  };
  const KvLayout& main = *kv.main.keys.layout;
  each_tile(main, [&](std::span<const float> x, std::size_t n, std::size_t to) {
    main.whole() ? lay_out_whole(main, x, n, prepared.data() + to)
                 : lay_out(x, n, prepared.data() + to);
  });
  if (!kv.windowed) return;
  each_tile(*kv.recent.keys.layout, [&](std::span<const float> x, std::size_t n, std::size_t to) {
    lay_out(x, n, prepared.data() + rows * d + to);
  });
}

void start(Attended all, std::size_t rows, std::size_t head_dim) {
  std::fill_n(all.sums, rows * head_dim, 0.0f);
  std::fill_n(all.greatest, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(all.weights, rows, 0.0f);
}

void attend_part(const KvHead& kv, const Queries& queries, std::span<const float> prepared,
                 std::size_t part, Attended result, Isa isa) {
  start(result, queries.rows(), kv.head_dim());
#if defined(__x86_64__)
  if (isa == Isa::avx2) return avx2::attend_part(kv, queries, prepared, part, result);
  return avx512::attend_part(kv, queries, prepared, part, result);
#elif defined(__aarch64__)
  static_cast<void>(isa);
  return neon::attend_part(kv, queries, prepared, part, result);
#else
  static_cast<void>(prepared), static_cast<void>(part), static_cast<void>(isa);
#endif
}

void combine(Attended all, Attended part, std::size_t rows, std::size_t head_dim, Isa) {
  const float nothing = -std::numeric_limits<float>::infinity();
  for (std::size_t r = 0; r < rows; ++r) {
    if (part.greatest[r] == nothing) continue;
    float *sum = all.sums + r * head_dim, *more = part.sums + r * head_dim;
    if (all.greatest[r] == nothing) {
      std::copy_n(more, head_dim, sum);
      all.greatest[r] = part.greatest[r];
      all.weights[r] = part.weights[r];
      continue;
    }
    const float greatest = std::max(all.greatest[r], part.greatest[r]);
    const float a = std::exp(all.greatest[r] - greatest), b = std::exp(part.greatest[r] - greatest);
    for (std::size_t i = 0; i < head_dim; ++i) sum[i] = sum[i] * a + more[i] * b;
    all.weights[r] = all.weights[r] * a + part.weights[r] * b;
    all.greatest[r] = greatest;
  }
}

void finish(const KvHead& kv, const Queries& queries, Attended main, Attended recent, Isa isa) {
  const std::size_t d = kv.head_dim(), rows = queries.rows();
  const quant::Rotation& rotation = kv.main.values.layout->codec().rotation();
  for (std::size_t r = 0; r < rows; ++r) rotation.inverse({main.sums + r * d, d});
  if (kv.windowed) combine(main, recent, rows, d, isa);
  for (std::size_t r = 0; r < rows; ++r) {
    float* out = queries.out + row_offset(queries, r, d);
    for (std::size_t i = 0; i < d; ++i) out[i] = main.sums[r * d + i] / main.weights[r];
  }
}

std::size_t attend_scratch(std::size_t rows, std::size_t head_dim) {
  // The scalar form: a key, a value, and for each row two sums and two numbers in double.
  const std::size_t fast = 2 * rows * head_dim + 3 * Attended::floats(rows, head_dim);
  return std::max(fast, 2 * scalar::attend_doubles(rows, head_dim));
}

void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch, Isa isa) {
  if (!has_parts(isa)) return scalar::attend(kv, queries, scratch);
  const std::size_t d = kv.head_dim(), rows = queries.rows();
  const std::span<float> prepared = scratch.first(2 * rows * d);
  const auto attended = [&](std::size_t i) {
    const std::size_t n = Attended::floats(rows, d);
    return Attended::in(scratch.subspan(2 * rows * d + i * n, n), rows, d);
  };
  const Attended all[2] = {attended(0), attended(1)};
  const Attended part = attended(2);
  prepare(kv, queries, prepared, isa);
  for (const Attended& view : all) start(view, rows, d);
  for (std::size_t i = 0; i < parts(kv, queries); ++i) {
    if (!sees(kv, queries, i)) continue;
    attend_part(kv, queries, prepared, i, part, isa);
    combine(all[i % 2], part, rows, d, isa);
  }
  finish(kv, queries, all[0], all[1], isa);
}

}  // namespace tern::kernels
