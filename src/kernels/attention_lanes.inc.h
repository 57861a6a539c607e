// The fast form of attention.h; included inside the namespace of each instruction set, see lanes.h,
// with kRegisters accumulators. No include guard: that is the point.
//
// A tile is R query rows of one KV head. Whatever is decoded into a register, sixteen tokens of a
// key's element or sixteen elements of a token's value, meets all R rows before the next.

#define TERN_INLINE TERN_TARGET __attribute__((always_inline)) inline

/// Sixteen neighbouring elements of a segment's planes, as floats without scale.
template <KvCode code>
struct Source {
  const std::byte *low, *high;
  Table table;
  Lanes base;

  TERN_INLINE Source(const std::byte* page, const KvSegment& s)
      : low(page + s.low),
        high(page + s.high),
        table(load_table(s.levels)),
        base(all(s.levels[0])) {}

  TERN_INLINE Lanes at(std::size_t e) const {
    if constexpr (code == KvCode::f32) {
      return load(reinterpret_cast<const float*>(low) + e);
    } else if constexpr (code == KvCode::f16) {
      return load_f16(reinterpret_cast<const std::uint16_t*>(low) + e);
    } else if constexpr (code == KvCode::bf16) {
      return load_bf16(reinterpret_cast<const std::uint16_t*>(low) + e);
    } else if constexpr (code == KvCode::code8) {
      return byte_to_float(words<8>(low, e)) + base;
    } else if constexpr (code == KvCode::code4) {
      return look_up16(table, words<4>(low, e));
    } else if constexpr (code == KvCode::code3) {
      return look_up8(table, with_third_bit(words<2>(low, e), words<1>(high, e)));
    } else {
      return look_up4(words<2>(low, e));
    }
  }

  /// One that has no sixteen neighbours.
  TERN_INLINE float one(std::size_t e) const {
    if constexpr (code == KvCode::f32) {
      return reinterpret_cast<const float*>(low)[e];
    } else {
      const std::uint16_t bits = reinterpret_cast<const std::uint16_t*>(low)[e];
      return code == KvCode::f16 ? f16_to_float(bits) : bf16_to_float(bits);
    }
  }

 private:
  /// Bits 2 and 3 of the index are those of other codes: the table repeats every four.
  TERN_INLINE Lanes look_up4(Words w) const { return look_up8(table, w); }

  template <unsigned bits>
  TERN_INLINE static Words words(const std::byte* plane, std::size_t e) {
    constexpr std::size_t kBlocks = 32 / bits;
    const std::size_t block = e / 16;
    return shift_right(load_words(plane + block / kBlocks * 64),
                       static_cast<unsigned>(block % kBlocks) * bits);
  }
};

inline constexpr std::size_t kTokenBlocks = kKvPageTokens / 16;

/// scores[r][s] += q_r . k_s for the elements of one segment (= for the first one).
/// @param q  [head_dim][R]
template <KvCode code, std::size_t R>
TERN_TARGET void segment_scores(const std::byte* page, const KvSegment& s, const float* q,
                                float* scores) {
  constexpr std::size_t B = kRegisters / R < kTokenBlocks ? kRegisters / R : kTokenBlocks;
  const Source<code> source(page, s);
  const auto* const scales = reinterpret_cast<const std::uint16_t*>(page + s.scale);
  const auto* const biases = reinterpret_cast<const std::uint16_t*>(page + s.bias);
  const std::size_t begin = (s.first - s.run_first) * kKvPageTokens;
  q += s.first * R;
  float q_sum[R] = {};
  if (s.bias != 0)
    for (std::size_t i = 0; i < s.count; ++i)
      for (std::size_t r = 0; r < R; ++r) q_sum[r] += q[i * R + r];
  for (std::size_t j = 0; j < kTokenBlocks; j += B) {
    Lanes sums[R][B];
    for (auto& row : sums)
      for (auto& lanes : row) lanes = all(0.0f);
    for (std::size_t i = 0; i < s.count; ++i)
      for (std::size_t b = 0; b < B; ++b) {
        const Lanes k = source.at(begin + i * kKvPageTokens + (j + b) * 16);
        for (std::size_t r = 0; r < R; ++r) sums[r][b] = fma(all(q[i * R + r]), k, sums[r][b]);
      }
    for (std::size_t b = 0; b < B; ++b)
      for (std::size_t r = 0; r < R; ++r) {
        const std::size_t token = (j + b) * 16;
        Lanes score = sums[r][b];
        if (s.scale != 0) score = score * load_f16(scales + token);
        if (s.bias != 0) score = fma(all(q_sum[r]), load_f16(biases + token), score);
        float* const to = scores + r * kKvPageTokens + token;
        store(to, s.first == 0 ? score : load(to) + score);
      }
  }
}

/// Scores become weights relative to the greatest score so far.
/// @param visible  tokens of the page that the row sees, at least one
/// @return what earlier sums must be multiplied with
TERN_TARGET inline float soften(float* p, std::uint64_t visible, float& greatest, float& weight) {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  if (~visible != 0)
    for (std::size_t s = 0; s < kKvPageTokens; ++s)
      if ((visible >> s & 1) == 0) p[s] = kHidden;
  Lanes most = all(kHidden);
  for (std::size_t j = 0; j < kKvPageTokens; j += 16) most = max(load(p + j), most);
  const float maximum = std::max(greatest, max_of(most));
  Lanes total = all(0.0f);
  for (std::size_t j = 0; j < kKvPageTokens; j += 16) {
    const Lanes e = exp(load(p + j) - all(maximum));
    store(p + j, e);
    total = total + e;
  }
  if (~visible != 0)  // not the 2^-150 that exp makes of them
    for (std::size_t s = 0; s < kKvPageTokens; ++s)
      if ((visible >> s & 1) == 0) p[s] = 0;
  const float shrink = std::exp(greatest - maximum);  // 0 for the first page
  weight = weight * shrink + sum(total);
  greatest = maximum;
  return shrink;
}

/// The weights of a page times the scales of its values, and what the biases add.
struct Weighted {
  alignas(64) float by_scale[kRegisters * kKvPageTokens];
  float bias[kRegisters];
};
TERN_TARGET inline void weigh(const std::byte* page, const KvSegment& s, std::uint64_t visible,
                              const float* p, std::size_t rows, Weighted& out) {
  // What no row sees may hold anything.
  const auto visible_only = [&](std::size_t offset, std::uint16_t* to) {
    std::memcpy(to, page + offset, 2 * kKvPageTokens);
    if (~visible != 0)
      for (std::size_t t = 0; t < kKvPageTokens; ++t)
        if ((visible >> t & 1) == 0) to[t] = 0;
  };
  std::uint16_t scales[kKvPageTokens], biases[kKvPageTokens];
  visible_only(s.scale, scales);
  if (s.bias != 0) visible_only(s.bias, biases);
  for (std::size_t r = 0; r < rows; ++r) {
    Lanes total = all(0.0f);
    for (std::size_t j = 0; j < kKvPageTokens; j += 16) {
      const Lanes weight = load(p + r * kKvPageTokens + j);
      store(out.by_scale + r * kKvPageTokens + j, weight * load_f16(scales + j));
      if (s.bias != 0) total = fma(weight, load_f16(biases + j), total);
    }
    out.bias[r] = s.bias != 0 ? sum(total) : 0.0f;
  }
}

/// out_r[i] = shrink_r out_r[i] + bias_r + sum_s w_r[s] v_s[i] for C blocks of sixteen elements.
template <KvCode code, std::size_t R, std::size_t C>
TERN_INLINE void add_values(const Source<code>& source, std::size_t begin, std::size_t stride,
                            std::uint64_t visible, const float* w, const float* bias,
                            const float* shrink, float* out, std::size_t head_dim) {
  Lanes sums[R][C];
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t c = 0; c < C; ++c)
      sums[r][c] = fma(all(shrink[r]), load(out + r * head_dim + c * 16), all(bias[r]));
  while (visible != 0) {
    const auto first = static_cast<std::size_t>(std::countr_zero(visible));
    const std::size_t end = first + static_cast<std::size_t>(std::countr_one(visible >> first));
    for (std::size_t s = first; s < end; ++s)
      for (std::size_t c = 0; c < C; ++c) {
        const Lanes v = source.at(begin + s * stride + c * 16);
        for (std::size_t r = 0; r < R; ++r)
          sums[r][c] = fma(all(w[r * kKvPageTokens + s]), v, sums[r][c]);
      }
    if (end == kKvPageTokens) break;
    visible &= ~std::uint64_t{0} << end;
  }
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t c = 0; c < C; ++c) store(out + r * head_dim + c * 16, sums[r][c]);
}

/// The elements of one segment. @param p  weights [R][kKvPageTokens] @param out  [R, head_dim]
template <KvCode code, std::size_t R>
TERN_TARGET void segment_values(const std::byte* page, const KvSegment& s, std::uint64_t visible,
                                const float* p, const float* shrink, float* out,
                                std::size_t head_dim) {
  constexpr std::size_t C = kRegisters / R < 4 ? kRegisters / R : 4;
  const Source<code> source(page, s);
  Weighted weighted;
  const float* w = p;
  float bias[R] = {};
  if (s.scale != 0) {
    weigh(page, s, visible, p, R, weighted);
    w = weighted.by_scale;
    std::copy_n(weighted.bias, R, bias);
  }
  const std::size_t begin = s.first - s.run_first;
  out += s.first;
  std::size_t i = 0;
  for (; i + C * 16 <= s.count; i += C * 16)
    add_values<code, R, C>(source, begin + i, s.run_count, visible, w, bias, shrink, out + i,
                           head_dim);
  for (; i + 16 <= s.count; i += 16)
    add_values<code, R, 1>(source, begin + i, s.run_count, visible, w, bias, shrink, out + i,
                           head_dim);
  if constexpr (code == KvCode::f32 || code == KvCode::f16 || code == KvCode::bf16)
    for (; i < s.count; ++i)
      for (std::size_t r = 0; r < R; ++r) {
        float sum = shrink[r] * out[r * head_dim + i];
        for (std::size_t t = 0; t < kKvPageTokens; ++t)
          if ((visible >> t & 1) != 0)
            sum = __builtin_fmaf(w[r * kKvPageTokens + t], source.one(begin + t * s.run_count + i),
                                 sum);
        out[r * head_dim + i] = sum;
      }
}

/// Calls f.operator()<code>() for the code of a segment.
template <class F>
void with_code(KvCode code, F f) {
  switch (code) {
    case KvCode::f32:
      return f.template operator()<KvCode::f32>();
    case KvCode::f16:
      return f.template operator()<KvCode::f16>();
    case KvCode::bf16:
      return f.template operator()<KvCode::bf16>();
    case KvCode::code2:
      return f.template operator()<KvCode::code2>();
    case KvCode::code3:
      return f.template operator()<KvCode::code3>();
    case KvCode::code4:
      return f.template operator()<KvCode::code4>();
    case KvCode::code8:
      return f.template operator()<KvCode::code8>();
  }
}

/// R rows take one page in.
/// @param visible  tokens that each row sees; @param q [head_dim][R]; @param rows  of the tile
template <std::size_t R>
TERN_TARGET void attend_page(const KvHead::View& view, std::size_t page,
                             const std::uint64_t* visible, const float* q, std::size_t head_dim,
                             Attended rows) {
  alignas(64) float p[R * kKvPageTokens];
  const std::byte* const keys = view.keys.pages[page] + view.keys.offset;
  for (const KvSegment& s : view.keys.layout->segments())
    with_code(s.code, [&]<KvCode code> { segment_scores<code, R>(keys, s, q, p); });
  float shrink[R];
  std::uint64_t any = 0;
  for (std::size_t r = 0; r < R; ++r) {
    any |= visible[r];
    shrink[r] = 1;
    float* const scores = p + r * kKvPageTokens;
    if (visible[r] != 0)
      shrink[r] = soften(scores, visible[r], rows.greatest[r], rows.weights[r]);
    else
      std::fill_n(scores, kKvPageTokens, 0.0f);
  }
  const std::byte* const values = view.values.pages[page] + view.values.offset;
  for (const KvSegment& s : view.values.layout->segments())
    with_code(s.code, [&]<KvCode code> {
      segment_values<code, R>(values, s, any, p, shrink, rows.sums, head_dim);
    });
}

TERN_TARGET void attend_part(const KvHead& kv, const Queries& queries,
                             std::span<const float> prepared, std::size_t part, Attended result) {
  const std::size_t d = kv.head_dim(), rows = queries.rows();
  const bool recent = part % 2 == 1;
  const KvHead::View& view = recent ? kv.recent : kv.main;
  const float* const q = prepared.data() + (recent ? rows * d : 0);
  const std::size_t seen = queries.first_position + queries.tokens;
  const std::size_t begin = part / 2 * kAttentionPart, end = std::min(begin + kAttentionPart, seen);
  for (std::size_t token = begin; token < end; token += kKvPageTokens)
    for (std::size_t first = 0, n = 0; first < rows; first += n) {
      n = tile_of(rows - first, kRegisters);
      std::uint64_t visible[kRegisters], any = 0;
      for (std::size_t r = 0; r < n; ++r)
        any |= visible[r] =
            seen_by(kv, queries.first_position + (first + r) / queries.heads, recent)
                .of_page(token);
      if (any == 0) continue;
      const Attended tile = {result.sums + first * d, result.greatest + first,
                             result.weights + first};
      const auto take = [&]<std::size_t R> {
        if constexpr (R <= kRegisters)
          attend_page<R>(view, token / kKvPageTokens, visible, q + first * d, d, tile);
      };
      if (n == 16) take.template operator()<16>();
      if (n == 4) take.template operator()<4>();
      if (n == 2) take.template operator()<2>();
      if (n == 1) take.template operator()<1>();
    }
}

#undef TERN_INLINE
