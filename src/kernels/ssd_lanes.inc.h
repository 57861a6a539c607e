// The fast forms of ssd.h; included inside the namespace of each instruction set, see lanes.h.
// Sixteen channels of a head are the lanes of a vector, so no sum runs across lanes. kRows
// accumulators stay in registers; how many changes no result.

TERN_TARGET void time_steps(const float* dt, const float* bias, float low, float high, float* delta,
                            std::size_t n) {
  for (std::size_t i = 0; i < n; i += 16) {
    const First some = first(n - i);
    const Lanes v = load(dt + i, some) + load(bias + i, some);
    const Lanes e = exp(all(0.0f) - max(v, all(0.0f) - v));
    // log(1 + e) = 2 artanh(e / (2 + e)); the series is cut at 1e-8 of its value, as e <= 1.
    const Lanes s = e / (all(2.0f) + e), s2 = s * s;
    Lanes p = all(1.0f / 15);
    for (const float divisor : {13.0f, 11.0f, 9.0f, 7.0f, 5.0f, 3.0f, 1.0f})
      p = fma(p, s2, all(1.0f / divisor));
    const Lanes softplus = fma(s + s, p, max(all(0.0f), v));  // in this order NaN stays NaN
    store(delta + i, min(all(high), max(all(low), softplus)), some);
  }
}

/// sums[r][q] += sum over k of a[k * a_step + r] v[q * v_block + k * 16], k rising.
template <std::size_t R, std::size_t Q>
TERN_TARGET __attribute__((always_inline)) inline void add_products(
    const float* a, std::size_t a_step, const float* v, std::size_t v_block, std::size_t count,
    Lanes (&sums)[R][Q]) {
  for (std::size_t k = 0; k < count; ++k, a += a_step, v += 16) {
    Lanes vk[Q];
    for (std::size_t q = 0; q < Q; ++q) vk[q] = load(v + q * v_block);
    for (std::size_t r = 0; r < R; ++r) {
      const Lanes ak = all(a[r]);
      for (std::size_t q = 0; q < Q; ++q) sums[r][q] = fma(ak, vk[q], sums[r][q]);
    }
  }
}

/// sums[r] += sum over s <= r of weights[r, s] dx[s]; S counts from 0.
template <std::size_t S>
TERN_TARGET __attribute__((always_inline)) inline void add_triangle(const float* weights,
                                                                    const float* dx,
                                                                    Lanes (&sums)[kRows][1]) {
  if constexpr (S < kRows) {
    const Lanes dxs = load(dx + S * 16);
    for (std::size_t r = S; r < kRows; ++r)
      sums[r][0] = fma(all(weights[r * kTokens + S]), dxs, sums[r][0]);
    add_triangle<S + 1>(weights, dx, sums);
  }
}

/// out[16, count] from in[count, 16], or the other way round.
inline void transpose(const float* in, std::size_t in_row, std::size_t rows, std::size_t columns,
                      float* out, std::size_t out_row) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) out[c * out_row + r] = in[r * in_row + c];
}

/// One head inside a block.
struct Head {
  const SsdBlock& block;
  const float* states;
  const float* dx;
  const float* cum;
  const float* x;
  float* y;
  float d;

  Head(const SsdBlock& all_heads, const Kept& kept, std::size_t h)
      : block(all_heads),
        states(kept.states + h * all_heads.shape.head_vectors() * 16 * all_heads.shape.state_size),
        dx(kept.dx + h * all_heads.shape.head_vectors() * 16 * kTokens),
        cum(kept.cum + h * kTokens),
        x(all_heads.x + h * all_heads.shape.head_vectors() * 16 * kTokens),
        y(all_heads.y + h * all_heads.shape.head_dim),
        d(all_heads.d[h]) {}
};

/// weights[s] = exp(cum_t - cum_s) dots[s]; those of s > t are of no use.
TERN_TARGET __attribute__((always_inline)) inline void weigh(const Head& head, std::size_t t,
                                                             const float* dots, float* weights) {
  store(weights, load(dots) * exp(all(head.cum[t]) - load(head.cum)));
}

/// Q vectors of y at token t.
template <std::size_t Q>
TERN_TARGET __attribute__((always_inline)) inline void output_row(const Head& head, std::size_t t,
                                                                  std::size_t v, float decay,
                                                                  const float* weights) {
  const SsdShape& shape = head.block.shape;
  Lanes sums[1][Q];
  for (std::size_t q = 0; q < Q; ++q) sums[0][q] = all(0.0f);
  add_products<1, Q>(head.block.c + t * shape.state_vectors() * 16, 1,
                     head.states + v * shape.state_size * 16, shape.state_size * 16,
                     shape.state_size, sums);
  for (std::size_t q = 0; q < Q; ++q) sums[0][q] = all(decay) * sums[0][q];
  add_products<1, Q>(weights, 1, head.dx + v * kTokens * 16, kTokens * 16, t + 1, sums);
  float* const y = head.y + (t - head.block.first) * head.block.y_stride;
  for (std::size_t q = 0; q < Q; ++q) {
    const Lanes x = load(head.x + ((v + q) * kTokens + t) * 16);
    store(y + (v + q) * 16, fma(all(head.d), x, sums[0][q]), first(shape.head_dim - (v + q) * 16));
  }
}

/// y at token t; dots[s] = C_t . B_s.
TERN_TARGET void output_token(const Head& head, std::size_t t, const float* dots) {
  const std::size_t vectors = head.block.shape.head_vectors();
  float weights[kTokens], decays[kTokens];
  weigh(head, t, dots, weights);
  store(decays, exp(load(head.cum)));
  std::size_t v = 0;
  for (; v + 4 <= vectors; v += 4) output_row<4>(head, t, v, decays[t], weights);
  for (; v < vectors; ++v) output_row<1>(head, t, v, decays[t], weights);
}

/// y at kRows tokens from t on, for vector v of the head. C is [state_size, 16 tokens] here.
TERN_TARGET __attribute__((always_inline)) inline void output_tile(const Head& head, std::size_t t,
                                                                   std::size_t v, const float* c,
                                                                   const float* decays,
                                                                   const float* weights) {
  const SsdShape& shape = head.block.shape;
  const float* const dx = head.dx + v * kTokens * 16;
  Lanes sums[kRows][1];
  for (std::size_t r = 0; r < kRows; ++r) sums[r][0] = all(0.0f);
  add_products<kRows, 1>(c + t, kTokens, head.states + v * shape.state_size * 16, 0,
                         shape.state_size, sums);
  for (std::size_t r = 0; r < kRows; ++r) sums[r][0] = all(decays[t + r]) * sums[r][0];
  for (std::size_t s = 0; s < t; ++s)
    for (std::size_t r = 0; r < kRows; ++r)
      sums[r][0] = fma(all(weights[(t + r) * kTokens + s]), load(dx + s * 16), sums[r][0]);
  add_triangle<0>(weights + t * kTokens + t, dx + t * 16, sums);
  const First some = first(shape.head_dim - v * 16);
  for (std::size_t r = 0; r < kRows; ++r) {
    const Lanes x = load(head.x + (v * kTokens + t + r) * 16);
    store(head.y + (t + r) * head.block.y_stride + v * 16, fma(all(head.d), x, sums[r][0]), some);
  }
}

/// y at all tokens of a block. C is [state_size, 16 tokens], dots [16 tokens t, 16 tokens s].
TERN_TARGET void output_block(const Head& head, const float* c, const float* dots) {
  float weights[kTokens * kTokens], decays[kTokens];
  for (std::size_t t = 0; t < kTokens; ++t)
    weigh(head, t, dots + t * kTokens, weights + t * kTokens);
  store(decays, exp(load(head.cum)));
  for (std::size_t v = 0; v < head.block.shape.head_vectors(); ++v)
    for (std::size_t t = 0; t < kTokens; t += kRows) output_tile(head, t, v, c, decays, weights);
}

/// R rows of the state from n on: S = keep S + sum_s B_s w_s.
template <std::size_t R>
TERN_TARGET __attribute__((always_inline)) inline void advance_rows(float* state, std::size_t n,
                                                                    float keep, const float* b,
                                                                    std::size_t b_row,
                                                                    const float* w) {
  Lanes sums[R][1];
  for (std::size_t r = 0; r < R; ++r) sums[r][0] = all(keep) * load(state + (n + r) * 16);
  add_products<R, 1>(b + n, b_row, w, 0, kTokens, sums);
  for (std::size_t r = 0; r < R; ++r) store(state + (n + r) * 16, sums[r][0]);
}

/// The state after a full block. B is [16 tokens, b_row].
TERN_TARGET void advance(const SsdShape& shape, const Kept& kept, std::size_t h, const float* b,
                         std::size_t b_row) {
  const float* const cum = kept.cum + h * kTokens;
  float keep[16], left[kTokens], w[kTokens * 16];
  store(keep, exp(all(cum[kTokens - 1])));
  store(left, exp(all(cum[kTokens - 1]) - load(cum)));
  for (std::size_t v = h * shape.head_vectors(); v < (h + 1) * shape.head_vectors(); ++v) {
    for (std::size_t s = 0; s < kTokens; ++s)
      store(w + s * 16, all(left[s]) * load(kept.dx + (v * kTokens + s) * 16));
    float* const state = kept.states + v * shape.state_size * 16;
    std::size_t n = 0;
    for (; n + kRows <= shape.state_size; n += kRows)
      advance_rows<kRows>(state, n, keep[0], b, b_row, w);
    for (; n < shape.state_size; ++n) advance_rows<1>(state, n, keep[0], b, b_row, w);
  }
}

TERN_TARGET void full_block(const SsdBlock& block, const Kept& kept) {
  const SsdShape& shape = block.shape;
  const std::size_t row = shape.state_vectors() * 16;
  float* const c = block.scratch;                  // [state_size, 16 tokens]
  float* const b = block.scratch + row * kTokens;  // [16 tokens, row]
  transpose(block.c, row, kTokens, shape.state_size, c, kTokens);
  transpose(kept.b, kTokens, shape.state_size, kTokens, b, row);
  float dots[kTokens * kTokens];
  for (std::size_t t = 0; t < kTokens; t += kRows) {
    Lanes sums[kRows][1];
    for (std::size_t r = 0; r < kRows; ++r) sums[r][0] = all(0.0f);
    add_products<kRows, 1>(c + t, kTokens, kept.b, 0, shape.state_size, sums);
    for (std::size_t r = 0; r < kRows; ++r) store(dots + (t + r) * kTokens, sums[r][0]);
  }
  for (std::size_t h = 0; h < shape.heads; ++h) {
    output_block(Head(block, kept, h), c, dots);
    advance(shape, kept, h, b, row);
  }
}

TERN_TARGET void block(const SsdBlock& block) {
  const SsdShape& shape = block.shape;
  const Kept kept(shape, block.kept);
  remember(block, kept);
  if (block.first == 0 && block.last == kTokens) return full_block(block, kept);
  const std::size_t row = shape.state_vectors() * 16;
  for (std::size_t t = block.first; t < block.last; ++t) {
    float dots[kTokens];
    Lanes sums[1][1] = {{all(0.0f)}};
    add_products<1, 1>(block.c + t * row, 1, kept.b, 0, shape.state_size, sums);
    store(dots, sums[0][0]);
    for (std::size_t h = 0; h < shape.heads; ++h) output_token(Head(block, kept, h), t, dots);
  }
  if (block.last < kTokens) return;
  transpose(kept.b, kTokens, shape.state_size, kTokens, block.scratch, row);
  for (std::size_t h = 0; h < shape.heads; ++h) advance(shape, kept, h, block.scratch, row);
}

constexpr Ssd kSsd = {time_steps, block};
