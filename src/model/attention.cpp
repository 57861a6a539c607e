// Grouped-query attention without positions: no RoPE, no bias on the scores.
//
//   q, k, v = W_q x, W_k x, W_v x         query head h uses KV head h / (heads / kv_heads)
//   o_h = sum_s softmax_s(q_h . k_s / sqrt(head_dim)) v_s,   s <= own position
//   y = W_o o
#include "kernels/attention.h"

#include <algorithm>

#include "model/mixers.h"

namespace tern::model {
namespace {

constexpr std::size_t kQueryRows = 128;  // rows that share one reading of a page

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

/// Threads worth waking: each should have some 32000 operations of 16 lanes to do.
std::size_t workers(const AttentionConfig& c, const Chunk& chunk) {
  const std::size_t work = chunk.tokens * c.q_dim() * (chunk.position + chunk.tokens) / 8;
  return std::min(chunk.pool.size(), 1 + work / 32000);
}

/// All pieces of all KV heads. Each thread has its own scratch and takes every n-th piece, so that
/// late positions, which see more, are spread.
void attend_all(const AttentionConfig& c, std::size_t layer, std::span<const float> q,
                std::span<float> o, Chunk& chunk) {
  const std::size_t threads = workers(c, chunk), each = piece_scratch(c);
  const Pieces piece = cut(c, chunk.tokens, threads);
  const std::size_t head_pieces = c.num_heads / piece.heads;
  const std::size_t token_pieces = (chunk.tokens + piece.tokens - 1) / piece.tokens;
  const auto scratch = chunk.scratch.take(threads * each);
  chunk.pool.parallel_for(threads, 1, [&](std::size_t thread, std::size_t) {
    for (std::size_t i = thread; i < head_pieces * token_pieces; i += threads) {
      const std::size_t head = i % head_pieces * piece.heads;
      const std::size_t first = i / head_pieces * piece.tokens;
      const std::size_t at = first * c.q_dim() + head * c.head_dim;
      kernels::attend(chunk.sequence.kv(layer, head / (c.num_heads / c.num_kv_heads)),
                      {.q = q.data() + at,
                       .out = o.data() + at,
                       .tokens = std::min(piece.tokens, chunk.tokens - first),
                       .heads = piece.heads,
                       .stride = c.q_dim(),
                       .first_position = chunk.position + first},
                      scratch.subspan(thread * each, each), active_isa());
    }
  });
}

}  // namespace

std::size_t attention_scratch(const AttentionConfig& c, std::size_t tokens, std::size_t threads) {
  return 2 * Scratch::padded(tokens * c.q_dim()) + 2 * Scratch::padded(tokens * c.kv_dim()) +
         threads * piece_scratch(c);
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
  for (std::size_t t = 0; t < chunk.tokens; ++t)
    chunk.sequence.write_kv(layer, chunk.position + t, k.subspan(t * c.kv_dim(), c.kv_dim()),
                            v.subspan(t * c.kv_dim(), c.kv_dim()));
  attend_all(c, layer, q, o, chunk);
  linear(w.o_proj, o, y, chunk);
}

}  // namespace tern::model
