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
constexpr std::size_t kRegisters = 4;  // accumulators that fit beside what is decoded
#include "kernels/exp.inc.h"
// needs exp
#include "kernels/attention_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx2

namespace avx512 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX512
constexpr std::size_t kRegisters = 16;
#include "kernels/exp.inc.h"
// needs exp
#include "kernels/attention_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx512

#endif

namespace {

std::size_t tile_rows(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx2) return avx2::kRegisters;
  if (isa >= Isa::avx512) return avx512::kRegisters;
#endif
  static_cast<void>(isa);
  return 1;
}

}  // namespace

bool has_parts(Isa isa) {
  return tile_rows(isa) > 1;
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
  const std::size_t d = kv.head_dim(), rows = queries.rows(), most = tile_rows(isa);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const quant::Rotation& rotation = kv.main.keys.layout->codec().rotation();
  float memory[quant::KvCodec::kMaxDim];
  const std::span x(memory, d);
  for (std::size_t first = 0; first < rows;) {
    const std::size_t n = tile_of(rows - first, most);
    for (std::size_t r = 0; r < n; ++r) {
      const float* q = queries.q + row_offset(queries, first + r, d);
      for (std::size_t i = 0; i < d; ++i) x[i] = q[i] * scale;
      const auto lay_out = [&](float* to) {
        for (std::size_t i = 0; i < d; ++i) to[first * d + i * n + r] = x[i];
      };
      lay_out(prepared.data() + rows * d);
      rotation.forward(x);
      lay_out(prepared.data());
    }
    first += n;
  }
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
