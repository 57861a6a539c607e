// Attention over floats, plain or looked up; included by attention.cpp inside the namespace of each
// instruction set, before attention_lanes.inc.h.

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

/// Floats of a buffer.
struct Floats {
  const float* first;
  TERN_INLINE Lanes at(std::size_t e) const { return load(first + e); }
};

/// Where sixteen neighbouring numbers begin: the i-th of block j at begin + i step + j block.
struct Places {
  std::size_t begin, step, block;
};

inline constexpr std::size_t kTokenBlocks = kKvPageTokens / 16;

/// scores[r][s] += q_r . k_s for B blocks of tokens from block j on, and the elements of one
/// segment (= for the first one). @param q  [count][R]
template <std::size_t R, std::size_t B, class Numbers>
TERN_TARGET void add_scores(const Numbers& keys, Places at, std::size_t j, const std::byte* page,
                            const KvSegment& s, const float* q, float* scores) {
  const auto* const scales = reinterpret_cast<const std::uint16_t*>(page + s.scale);
  const auto* const biases = reinterpret_cast<const std::uint16_t*>(page + s.bias);
  float q_sum[R] = {};
  if (s.bias != 0)
    for (std::size_t i = 0; i < s.count; ++i)
      for (std::size_t r = 0; r < R; ++r) q_sum[r] += q[i * R + r];
  Lanes sums[R][B];
  for (auto& row : sums)
    for (auto& lanes : row) lanes = all(0.0f);
  for (std::size_t i = 0; i < s.count; ++i)
    for (std::size_t b = 0; b < B; ++b) {
      const Lanes k = keys.at(at.begin + i * at.step + (j + b) * at.block);
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

/// The keys of a page, the elements of one segment, as floats: [kTokenBlocks][count][16].
template <KvCode code>
TERN_TARGET void unpack_keys(const std::byte* page, const KvSegment& s, float* to) {
  const Source<code> source(page, s);
  const std::size_t begin = (s.first - s.run_first) * kKvPageTokens;
  for (std::size_t i = 0; i < s.count; ++i)
    for (std::size_t j = 0; j < kTokenBlocks; ++j)
      store(to + (j * s.count + i) * 16, source.at(begin + i * kKvPageTokens + j * 16));
}

/// The values of a page, the elements of one segment, as floats: [count / 16][kKvPageTokens][16].
template <KvCode code>
TERN_TARGET void unpack_values(const std::byte* page, const KvSegment& s, float* to) {
  const Source<code> source(page, s);
  const std::size_t begin = s.first - s.run_first;
  for (std::size_t t = 0; t < kKvPageTokens; ++t)
    for (std::size_t c = 0; c < s.count / 16; ++c)
      store(to + (c * kKvPageTokens + t) * 16, source.at(begin + t * s.run_count + c * 16));
}

/// out_r[i] = shrink_r out_r[i] + bias_r + sum_t w_r[t] v_t[i] for C blocks of sixteen elements
/// from block c on.
template <std::size_t R, std::size_t C, class Numbers>
TERN_TARGET void add_values(const Numbers& values, Places at, std::size_t c, std::uint64_t visible,
                            const float* w, const float* bias, const float* shrink, float* out,
                            std::size_t head_dim) {
  Lanes sums[R][C];
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t b = 0; b < C; ++b)
      sums[r][b] = fma(all(shrink[r]), load(out + r * head_dim + b * 16), all(bias[r]));
  while (visible != 0) {
    const auto first = static_cast<std::size_t>(std::countr_zero(visible));
    const std::size_t end = first + static_cast<std::size_t>(std::countr_one(visible >> first));
    for (std::size_t t = first; t < end; ++t)
      for (std::size_t b = 0; b < C; ++b) {
        const Lanes v = values.at(at.begin + t * at.step + (c + b) * at.block);
        for (std::size_t r = 0; r < R; ++r)
          sums[r][b] = fma(all(w[r * kKvPageTokens + t]), v, sums[r][b]);
      }
    if (end == kKvPageTokens) break;
    visible &= ~std::uint64_t{0} << end;
  }
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t b = 0; b < C; ++b) store(out + r * head_dim + b * 16, sums[r][b]);
}

#undef TERN_INLINE
