// The fast form of attention.h; included inside the namespace of each instruction set, see lanes.h.
// No include guard: that is the point.

TERN_TARGET __attribute__((always_inline)) inline void to_floats(const std::byte* from, KvType type,
                                                                 std::size_t n, float* to) {
  if (type == KvType::f32) {
    std::memcpy(to, from, n * sizeof(float));
    return;
  }
  const auto* halves = reinterpret_cast<const std::uint16_t*>(from);
  std::size_t i = 0;
  if (type == KvType::f16)
    for (; i + 16 <= n; i += 16) store(to + i, load_f16(halves + i));
  else
    for (; i + 16 <= n; i += 16) store(to + i, load_bf16(halves + i));
  for (; i < n; ++i)
    to[i] = type == KvType::f16 ? f16_to_float(halves[i]) : bf16_to_float(halves[i]);
}

/// scores[s] = scale q . k_s for a whole page; keys are [head_dim, kKvPageTokens].
TERN_TARGET inline void page_scores(const float* q, const float* keys, std::size_t head_dim,
                                    float scale, float* scores) {
  constexpr std::size_t kBlocks = kKvPageTokens / 16;
  Lanes sums[kBlocks];
  for (auto& lanes : sums) lanes = all(0.0f);
  for (std::size_t i = 0; i < head_dim; ++i)
    for (std::size_t j = 0; j < kBlocks; ++j)
      sums[j] = fma(all(q[i]), load(keys + i * kKvPageTokens + j * 16), sums[j]);
  for (std::size_t j = 0; j < kBlocks; ++j) store(scores + j * 16, sums[j] * all(scale));
}

/// out[i] = shrink out[i] + sum_s p[s] v_s[i] for B * 16 elements.
template <std::size_t B>
TERN_TARGET __attribute__((always_inline)) inline void add_values(const float* p,
                                                                  const float* values,
                                                                  std::size_t tokens,
                                                                  std::size_t head_dim,
                                                                  float shrink, float* out) {
  Lanes sums[B];
  for (std::size_t j = 0; j < B; ++j) sums[j] = all(shrink) * load(out + j * 16);
  for (std::size_t s = 0; s < tokens; ++s)
    for (std::size_t j = 0; j < B; ++j)
      sums[j] = fma(all(p[s]), load(values + s * head_dim + j * 16), sums[j]);
  for (std::size_t j = 0; j < B; ++j) store(out + j * 16, sums[j]);
}

/// One query row takes one page in: `tokens` of it are visible.
TERN_TARGET inline void attend_page(const float* q, const float* keys, const float* values,
                                    std::size_t tokens, std::size_t head_dim, float scale,
                                    Running& row, float* out) {
  alignas(64) float p[kKvPageTokens];
  page_scores(q, keys, head_dim, scale, p);
  const Lanes hidden = all(-std::numeric_limits<float>::infinity());
  Lanes greatest = hidden;
  for (std::size_t j = 0; j < kKvPageTokens; j += 16) {
    const First visible = first(tokens > j ? std::min<std::size_t>(16, tokens - j) : 0);
    const Lanes s = select(visible, load(p + j), hidden);
    store(p + j, s);
    greatest = max(s, greatest);
  }
  const float maximum = std::max(row.maximum, max_of(greatest));
  Lanes total = all(0.0f);
  for (std::size_t j = 0; j < kKvPageTokens; j += 16) {
    const Lanes e = exp(load(p + j) - all(maximum));
    store(p + j, e);
    total = total + e;
  }
  const float shrink = std::exp(row.maximum - maximum);  // 0 for the first page
  row.sum = row.sum * shrink + sum(total);
  row.maximum = maximum;

  std::size_t i = 0;
  for (; i + 64 <= head_dim; i += 64)
    add_values<4>(p, values + i, tokens, head_dim, shrink, out + i);
  for (; i + 16 <= head_dim; i += 16)
    add_values<1>(p, values + i, tokens, head_dim, shrink, out + i);
  for (; i < head_dim; ++i) {
    float v = shrink * out[i];
    for (std::size_t s = 0; s < tokens; ++s) v = __builtin_fmaf(p[s], values[s * head_dim + i], v);
    out[i] = v;
  }
}

TERN_TARGET void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch) {
  const std::size_t d = kv.head_dim, page_values = kKvPageTokens * d;
  const std::size_t rows = queries.tokens * queries.heads;
  float* const values = scratch.data();
  float* const keys = values + page_values;
  float* const staging = keys + page_values;
  auto* const running = reinterpret_cast<Running*>(staging + page_values);
  const auto out = [&](std::size_t row) {
    return queries.out + row / queries.heads * queries.stride + row % queries.heads * d;
  };
  for (std::size_t row = 0; row < rows; ++row) {
    running[row] = Running();
    std::fill_n(out(row), d, 0.0f);
  }

  const std::size_t seen = queries.first_position + queries.tokens;  // by the last token
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  for (std::size_t first_token = 0; first_token < seen; first_token += kKvPageTokens) {
    const std::byte* const page = kv.pages[first_token / kKvPageTokens];
    const std::size_t held = std::min(kKvPageTokens, seen - first_token);
    to_floats(page + kv.value_offset, kv.type, held * d, values);
    to_floats(page + kv.key_offset, kv.type, held * d, staging);
    for (std::size_t block = 0; block < d; block += 16)  // transposed, a cache line at a time
      for (std::size_t s = 0; s < held; ++s)
        for (std::size_t i = block; i < std::min(d, block + 16); ++i)
          keys[i * kKvPageTokens + s] = staging[s * d + i];
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t last = queries.first_position + row / queries.heads;
      if (last < first_token) continue;
      const std::size_t tokens = std::min(kKvPageTokens, last + 1 - first_token);
      attend_page(queries.q + (out(row) - queries.out), keys, values, tokens, d, scale,
                  running[row], out(row));
    }
  }
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < d; ++i) out(row)[i] /= running[row].sum;
}
