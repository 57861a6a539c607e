// Grouped-query attention without positions: no RoPE, no bias on the scores.
//
//   q, k, v = W_q x, W_k x, W_v x         query head h uses KV head h / (heads / kv_heads)
//   o_h = sum_s softmax_s(q_h . k_s / sqrt(head_dim)) v_s,   s <= own position
//   y = W_o o
#include "kernels/attention.h"

#include <algorithm>
#include <vector>

#include "model/mixers.h"

namespace tern::model {
namespace {

using kernels::Attended;
using kernels::KvHead;
using kernels::Queries;

constexpr std::size_t kQueryRows = 128;  // rows that share one reading of a page
constexpr std::size_t kPartRows = 2048;  // rows of all parts that wait to be combined

/// How the rows of one KV head are cut into pieces of work.
struct Pieces {
  std::size_t heads, tokens;  // of one piece
};
Pieces cut(const AttentionConfig& c, std::size_t tokens, std::size_t threads) {
  const std::size_t sharing = c.num_heads / c.num_kv_heads;
  std::size_t heads = sharing;
  // With few tokens, several threads read the same pages for different query heads.
  while (heads % 2 == 0 && c.num_heads / heads * tokens < 2 * threads) heads /= 2;
  return {heads, std::clamp<std::size_t>(kQueryRows / heads, 1, tokens)};
}

std::size_t piece_scratch(const AttentionConfig& c) {
  const std::size_t rows = std::max(kQueryRows, c.num_heads / c.num_kv_heads);
  return Scratch::padded(kernels::attend_scratch(rows, c.head_dim));
}

/// Rows of one KV head that are few enough to share their context between threads.
bool few(const AttentionConfig& c, std::size_t tokens) {
  return tokens * (c.num_heads / c.num_kv_heads) <= kQueryRows;
}

/// Parts of one KV head that are taken before they are combined.
std::size_t parts_at_once(std::size_t rows) {
  return std::max<std::size_t>(1, kPartRows / rows);
}

std::size_t parts_scratch(const AttentionConfig& c, std::size_t tokens) {
  if (!few(c, tokens)) return 0;
  const std::size_t rows = tokens * (c.num_heads / c.num_kv_heads);
  return c.num_kv_heads * (Scratch::padded(2 * rows * c.head_dim) +
                           (2 + parts_at_once(rows)) * Attended::floats(rows, c.head_dim));
}

/// Threads worth waking: each should have some 32000 operations of 16 lanes to do.
std::size_t workers(const AttentionConfig& c, const Chunk& chunk) {
  const std::size_t work = chunk.tokens * c.q_dim() * (chunk.position + chunk.tokens) / 8;
  return std::min(chunk.pool.size(), 1 + work / 32000);
}

/// The rows of `heads` query heads from `head` on and `tokens` from `first` on.
Queries queries_of(const AttentionConfig& c, std::span<const float> q, std::span<float> o,
                   const Chunk& chunk, Pieces piece, std::size_t head, std::size_t first) {
  const std::size_t at = first * c.q_dim() + head * c.head_dim;
  return {.q = q.data() + at,
          .out = o.data() + at,
          .tokens = std::min(piece.tokens, chunk.tokens - first),
          .heads = piece.heads,
          .stride = c.q_dim(),
          .first_position = chunk.position + first};
}

/// All pieces of all KV heads. Each thread has its own scratch and takes every n-th piece, so that
/// late positions, which see more, are spread.
void attend_pieces(const AttentionConfig& c, std::size_t layer, std::span<const float> q,
                   std::span<float> o, Chunk& chunk) {
  const std::size_t threads = workers(c, chunk), each = piece_scratch(c);
  const Pieces piece = cut(c, chunk.tokens, threads);
  const std::size_t head_pieces = c.num_heads / piece.heads;
  const std::size_t token_pieces = (chunk.tokens + piece.tokens - 1) / piece.tokens;
  const Scratch::Frame frame(chunk.scratch);
  const auto scratch = chunk.scratch.take(threads * each);
  chunk.pool.parallel_for(threads, 1, [&](std::size_t thread, std::size_t) {
    for (std::size_t i = thread; i < head_pieces * token_pieces; i += threads) {
      const std::size_t head = i % head_pieces * piece.heads;
      kernels::attend(chunk.sequence.kv(layer, head / (c.num_heads / c.num_kv_heads)),
                      queries_of(c, q, o, chunk, piece, head, i / head_pieces * piece.tokens),
                      scratch.subspan(thread * each, each), active_isa());
    }
  });
}

/// What one KV head's rows need while threads take parts of their context.
struct Rows {
  KvHead kv;
  Queries queries;
  std::span<float> prepared;
  Attended all[2];                   // of the cache, of its 16-bit window
  std::vector<Attended> parts = {};  // memory
  std::vector<std::size_t> seen = {};
};

/// The same bits for few rows: threads take parts of the context.
void attend_parts(const AttentionConfig& c, std::size_t layer, std::span<const float> q,
                  std::span<float> o, Chunk& chunk) {
  const std::size_t sharing = c.num_heads / c.num_kv_heads, rows = chunk.tokens * sharing;
  const std::size_t at_once = parts_at_once(rows), d = c.head_dim;
  const Isa isa = active_isa();
  const Scratch::Frame frame(chunk.scratch);
  const auto take = [&] {
    return Attended::in(chunk.scratch.take(Attended::floats(rows, d)), rows, d);
  };
  std::vector<Rows> all;
  std::size_t most = 0;
  for (std::size_t head = 0; head < c.num_kv_heads; ++head) {
    Rows& r = all.emplace_back(
        Rows{chunk.sequence.kv(layer, head),
             queries_of(c, q, o, chunk, {sharing, chunk.tokens}, head * sharing, 0),
             chunk.scratch.take(2 * rows * d),
             {take(), take()}});
    for (std::size_t i = 0; i < at_once; ++i) r.parts.push_back(take());
    for (std::size_t i = 0; i < kernels::parts(r.kv, r.queries); ++i)
      if (kernels::sees(r.kv, r.queries, i)) r.seen.push_back(i);
    most = std::max(most, r.seen.size());
    kernels::prepare(r.kv, r.queries, r.prepared, isa);
    for (const Attended& view : r.all) kernels::start(view, rows, d);
  }
  for (std::size_t first = 0; first < most; first += at_once) {
    const std::size_t count = std::min(at_once, most - first);
    chunk.pool.parallel_for(count * all.size(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const Rows& r = all[i / count];
        const std::size_t part = first + i % count;
        if (part < r.seen.size())
          kernels::attend_part(r.kv, r.queries, r.prepared, r.seen[part], r.parts[i % count], isa);
      }
    });
    for (const Rows& r : all)
      for (std::size_t i = 0; i < count && first + i < r.seen.size(); ++i)
        kernels::combine(r.all[r.seen[first + i] % 2], r.parts[i], rows, d, isa);
  }
  for (const Rows& r : all) kernels::finish(r.kv, r.queries, r.all[0], r.all[1], isa);
}

}  // namespace

std::size_t attention_scratch(const AttentionConfig& c, std::size_t tokens, std::size_t threads) {
  return 2 * Scratch::padded(tokens * c.q_dim()) + 2 * Scratch::padded(tokens * c.kv_dim()) +
         std::max(threads * piece_scratch(c), parts_scratch(c, tokens));
}

void attention(const AttentionConfig& c, const AttentionWeights& w, std::size_t layer,
               const Input& x, std::span<float> y, Chunk& chunk) {
  const Scratch::Frame frame(chunk.scratch);
  const auto q = chunk.scratch.take(chunk.tokens * c.q_dim());
  const auto k = chunk.scratch.take(chunk.tokens * c.kv_dim());
  const auto v = chunk.scratch.take(chunk.tokens * c.kv_dim());
  const auto o = chunk.scratch.take(chunk.tokens * c.q_dim());

  linear(w.q_proj, x, q, chunk);
  linear(w.k_proj, x, k, chunk);
  linear(w.v_proj, x, v, chunk);
  chunk.sequence.write_kv(layer, chunk.tokens, k, v, &chunk.pool);
  const bool share = few(c, chunk.tokens) && workers(c, chunk) > 1;
  if (share && kernels::has_parts(active_isa()))
    attend_parts(c, layer, q, o, chunk);
  else
    attend_pieces(c, layer, q, o, chunk);
  linear(w.o_proj, o, y, chunk);
}

}  // namespace tern::model
