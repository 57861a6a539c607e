// Softmax attention of query rows over the paged cache of one KV head, whose keys and values may be
// codes: they are looked up in registers and never written out as floats.
//
//   s_t = q . k_t / sqrt(d) = (R q) . level[code_t] scale_t / sqrt(d)      R orthogonal, fixed
//   o   = sum_t p_t v_t     = R^T sum_t (p_t scale_t) level[code_t]
//
// So the query is rotated once, and the sum is rotated back once. The tokens of a row are taken in
// parts of kAttentionPart positions, each with a running maximum and sum (arXiv:2205.14135), and
// the parts are combined in order of position. A row's result therefore depends on its position and
// the cache alone: not on rows beside it, nor on which thread took which part.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"
#include "kernels/kv_page.h"

namespace tern::kernels {

/// Positions that share a running maximum and sum.
inline constexpr std::size_t kAttentionPart = 1024;

/// Keys or values of one KV head.
struct KvPages {
  std::span<const std::byte* const> pages;  ///< by position; of pages that no row sees, anything
  std::size_t offset = 0;                   ///< bytes from the start of a page to this head's part
  const KvLayout* layout = nullptr;
};

/// The cache of one KV head. A query at position p reads position s from `recent` if
///   s < sinks,  s > p - window,  or p < start,
/// and from `main` otherwise.
struct KvHead {
  struct View {
    KvPages keys, values;
  };
  View main, recent;
  bool windowed = false;  ///< false: all is read from `main`
  std::size_t sinks = 0, window = 0, start = 0;

  std::size_t head_dim() const { return main.keys.layout->codec().dim(); }
};

/// Query rows that look at one KV head: `tokens` consecutive positions times `heads` query heads.
/// Row (t, h) of q and out starts at t * stride + h * head_dim.
struct Queries {
  const float* q = nullptr;
  float* out = nullptr;
  std::size_t tokens = 0;
  std::size_t heads = 0;
  std::size_t stride = 0;
  std::size_t first_position = 0;  ///< of token 0; it sees positions 0 ... first_position

  std::size_t rows() const { return tokens * heads; }
};

/// Floats of scratch that `attend` needs for so many rows.
std::size_t attend_scratch(std::size_t rows, std::size_t head_dim);

/// out = sum_s softmax_s(q . k_s / sqrt(head_dim)) v_s over s <= position of the row. Serial.
/// @param scratch  attend_scratch(rows, head_dim) floats, aligned as Buffer is
/// Error of the fast forms against the scalar one (double), of the largest |v|: 1e-5, and with
/// codes, where q and the weights are rounded to 16 bits (attention_whole.inc.h), 1e-4.
void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch, Isa isa);

/// The same in steps, for a few rows and a long context: prepare once, take the parts on any thread
/// in any order, combine them in order, finish. Not for Isa::scalar, which has no parts.
bool has_parts(Isa isa);

/// What rows have seen so far: sums [rows, head_dim] of weighted values, greatest scores and sums
/// of weights [rows].
struct Attended {
  float *sums, *greatest, *weights;

  static std::size_t floats(std::size_t rows, std::size_t head_dim) {
    return (rows * (head_dim + 2) + 15) / 16 * 16;
  }
  static Attended in(std::span<float> memory, std::size_t rows, std::size_t head_dim) {
    return {memory.data(), memory.data() + rows * head_dim, memory.data() + rows * (head_dim + 1)};
  }
};

/// The rows of q as `attend_part` reads them: rotated, scaled, and laid out for the registers.
/// @param prepared  [2, rows, head_dim]
void prepare(const KvHead& kv, const Queries& queries, std::span<float> prepared, Isa isa);

/// Parts that rows of these positions have: even numbers are of `main`, odd ones of `recent`.
std::size_t parts(const KvHead& kv, const Queries& queries);
/// Whether any row sees a token of the part.
bool sees(const KvHead& kv, const Queries& queries, std::size_t part);
void attend_part(const KvHead& kv, const Queries& queries, std::span<const float> prepared,
                 std::size_t part, Attended result, Isa isa);

void start(Attended all, std::size_t rows, std::size_t head_dim);
void combine(Attended all, Attended part, std::size_t rows, std::size_t head_dim, Isa isa);

/// @param main, recent  the combined parts of each; overwritten
void finish(const KvHead& kv, const Queries& queries, Attended main, Attended recent, Isa isa);

}  // namespace tern::kernels
