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

/// Most that a sequence of at most so many tokens takes.
std::size_t parts_scratch(const AttentionConfig& c, std::size_t tokens) {
  std::size_t most = 0;
  for (std::size_t n = 1; n <= tokens && few(c, n); ++n) {
    const std::size_t rows = n * (c.num_heads / c.num_kv_heads);
    most = std::max(most, Scratch::padded(2 * rows * c.head_dim) +
                              (2 + parts_at_once(rows)) * Attended::floats(rows, c.head_dim));
  }
  return c.num_kv_heads * most;
}

/// Operations of 16 lanes.
std::size_t work_of(const AttentionConfig& c, const Chunk& chunk) {
  return chunk.tokens * c.q_dim() * (chunk.position + chunk.tokens) / 8;
}

/// Threads worth waking: each should have some 32000 operations to do.
std::size_t workers(const AttentionConfig& c, const Chunk& chunk, const Step& step) {
  return std::min(step.pool.size(), 1 + work_of(c, chunk) / 32000);
}

/// The rows of `heads` query heads from `head` on and `tokens` from `first` on.
Queries queries_of(const AttentionConfig& c, std::span<const float> q, std::span<float> o,
                   const Chunk& chunk, Pieces piece, std::size_t head, std::size_t first) {
  const std::size_t at = (chunk.first + first) * c.q_dim() + head * c.head_dim;
  return {.q = q.data() + at,
          .out = o.data() + at,
          .tokens = std::min(piece.tokens, chunk.tokens - first),
          .heads = piece.heads,
          .stride = c.q_dim(),
          .first_position = chunk.position + first};
}

/// All pieces of all KV heads of a sequence. Each thread has its own scratch and takes every n-th
/// piece, so that late positions, which see more, are spread.
void attend_pieces(const AttentionConfig& c, std::size_t layer, std::span<const float> q,
                   std::span<float> o, const Chunk& chunk, Step& step) {
  const std::size_t threads = workers(c, chunk, step), each = piece_scratch(c);
  const Pieces piece = cut(c, chunk.tokens, threads);
  const std::size_t head_pieces = c.num_heads / piece.heads;
  const std::size_t token_pieces = (chunk.tokens + piece.tokens - 1) / piece.tokens;
  const Scratch::Frame frame(step.scratch);
  const auto scratch = step.scratch.take(threads * each);
  step.pool.parallel_for(threads, 1, [&](std::size_t thread, std::size_t) {
    for (std::size_t i = thread; i < head_pieces * token_pieces; i += threads) {
      const std::size_t head = i % head_pieces * piece.heads;
      kernels::attend(chunk.sequence->kv(layer, head / (c.num_heads / c.num_kv_heads)),
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
                  std::span<float> o, const Chunk& chunk, Step& step) {
  const std::size_t sharing = c.num_heads / c.num_kv_heads, rows = chunk.tokens * sharing;
  const std::size_t at_once = parts_at_once(rows), d = c.head_dim;
  const Isa isa = active_isa();
  const Scratch::Frame frame(step.scratch);
  const auto take = [&] {
    return Attended::in(step.scratch.take(Attended::floats(rows, d)), rows, d);
  };
  std::vector<Rows> all;
  std::size_t most = 0;
  for (std::size_t head = 0; head < c.num_kv_heads; ++head) {
    Rows& r = all.emplace_back(
        Rows{chunk.sequence->kv(layer, head),
             queries_of(c, q, o, chunk, {sharing, chunk.tokens}, head * sharing, 0),
             step.scratch.take(2 * rows * d),
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
    step.pool.parallel_for(count * all.size(), 1, [&](std::size_t begin, std::size_t end) {
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

/// What the projections say of all rows, [tokens, q_dim] and [tokens, kv_dim], and where the rows'
/// attention goes.
struct Projected {
  std::span<float> q, k, v, o;
};

/// Keys and values of the chunk's tokens into its sequence.
void write(const AttentionConfig& c, std::size_t layer, const Projected& p, const Chunk& chunk,
           ThreadPool* pool) {
  const std::size_t first = chunk.first * c.kv_dim(), size = chunk.tokens * c.kv_dim();
  chunk.sequence->write_kv(layer, chunk.tokens, p.k.subspan(first, size), p.v.subspan(first, size),
                           pool);
}

/// One sequence, on all threads.
void attend_large(const AttentionConfig& c, std::size_t layer, const Projected& p,
                  const Chunk& chunk, Step& step) {
  write(c, layer, p, chunk, &step.pool);
  const bool share = few(c, chunk.tokens) && workers(c, chunk, step) > 1;
  if (share && kernels::has_parts(active_isa()))
    attend_parts(c, layer, p.q, p.o, chunk, step);
  else
    attend_pieces(c, layer, p.q, p.o, chunk, step);
}

/// Several sequences, each on one thread.
void attend_small(const AttentionConfig& c, std::size_t layer, const Projected& p,
                  std::span<const Chunk* const> chunks, Step& step) {
  const std::size_t sharing = c.num_heads / c.num_kv_heads;
  std::size_t work = 0;
  for (const Chunk* chunk : chunks) work += work_of(c, *chunk) / chunks.size();
  parallel(step, chunks.size(), work, piece_scratch(c), [&](std::size_t i, auto scratch) {
    const Chunk& chunk = *chunks[i];
    const Pieces piece{sharing, std::clamp<std::size_t>(kQueryRows / sharing, 1, chunk.tokens)};
    write(c, layer, p, chunk, nullptr);
    for (std::size_t head = 0; head < c.num_heads; head += sharing)
      for (std::size_t t = 0; t < chunk.tokens; t += piece.tokens)
        kernels::attend(chunk.sequence->kv(layer, head / sharing),
                        queries_of(c, p.q, p.o, chunk, piece, head, t), scratch, active_isa());
  });
}

/// A sequence that is a large part of the work takes all threads, one after the other; the rest is
/// even enough to be dealt out.
void attend_all(const AttentionConfig& c, std::size_t layer, const Projected& p, Step& step) {
  std::size_t all = 0;
  for (const Chunk& chunk : step.chunks) all += work_of(c, chunk);
  std::vector<const Chunk*> small;
  for (const Chunk& chunk : step.chunks) {
    const bool large =
        workers(c, chunk, step) > 1 && work_of(c, chunk) > all / (4 * step.pool.size());
    if (large || step.chunks.size() == 1)
      attend_large(c, layer, p, chunk, step);
    else
      small.push_back(&chunk);
  }
  if (!small.empty()) attend_small(c, layer, p, small, step);
}

}  // namespace

std::size_t attention_scratch(const AttentionConfig& c, std::size_t tokens, std::size_t threads) {
  return 2 * Scratch::padded(tokens * c.q_dim()) + 2 * Scratch::padded(tokens * c.kv_dim()) +
         std::max(threads * piece_scratch(c), parts_scratch(c, tokens));
}

void attention(const AttentionConfig& c, const AttentionWeights& w, std::size_t layer,
               const Input& x, std::span<float> y, Step& step) {
  const Scratch::Frame frame(step.scratch);
  const Projected p{.q = step.scratch.take(step.tokens * c.q_dim()),
                    .k = step.scratch.take(step.tokens * c.kv_dim()),
                    .v = step.scratch.take(step.tokens * c.kv_dim()),
                    .o = step.scratch.take(step.tokens * c.q_dim())};
  linear(w.q_proj, x, p.q, step);
  linear(w.k_proj, x, p.k, step);
  linear(w.v_proj, x, p.v, step);
  attend_all(c, layer, p, step);
  linear(w.o_proj, p.o, y, step);
}

}  // namespace tern::model
