// Attention over codes by whole numbers; included by attention.cpp inside the namespace of each
// instruction set, before attention_lanes.inc.h.
//
// A level is a whole number of 8 bits times the step of its codebook, and the other factor, a
// query's element or a token's weight, is rounded to 16 bits with one step for its row (and page).
// Products are then summed in pairs as 32-bit integers, exactly: 128 products of 15 and 8 bits stay
// below 2^31. Twice the multiplications of a float32 instruction, and what is unpacked is half the
// size.
//
//   s_t = (sum_i round(q_i / a) n_i) scale_t (a step)
//   o_i = (sum_t round(p_t scale_t / b) n_t) (b step)
//
// Two numbers that are multiplied in one instruction stand in one 32-bit word: two elements of a
// key, or an element of two tokens' values. A block is sixteen words, one for each lane.

#define TERN_INLINE TERN_TARGET __attribute__((always_inline)) inline

/// Of a page of values.
inline constexpr std::size_t kTokenPairs = kKvPageTokens / 2;

/// The third bits of a unit's sixteen codes are in a half of a word: the four of quarter n go to
/// the lower bits of byte n.
template <unsigned half>
TERN_INLINE Words spread_third_bits(Words third) {
  Words w = bits<16 * half>(third, 0xffff);
  w = either(w, shift_left<8>(w));
  w = bits<0>(w, 0x00ff00ff);
  w = either(w, shift_left<4>(w));
  return bits<0>(w, 0x0f0f0f0f);
}

/// The n-th code of every byte of a word, as a byte.
template <unsigned n>
TERN_INLINE Words bytes_of_4(Words w) {
  return bits<4 * n>(w, 0x0f0f0f0f);
}
template <unsigned n>
TERN_INLINE Words bytes_of_2(Words w) {
  return bits<2 * n>(w, 0x03030303);
}
template <unsigned n>
TERN_INLINE Words bytes_of_3(Words w, Words spread) {
  return either(bytes_of_2<n>(w), shift_left<2>(bits<n>(spread, 0x01010101)));
}

/// Where the pairs of the lower and the upper bytes of both halves of words go.
struct PairPlace {
  std::int32_t *lower, *upper;
};
TERN_INLINE void put_pairs(Words levels, PairPlace to) {
  store_words(to.lower, lower_bytes(levels));
  store_words(to.upper, upper_bytes(levels));
}
/// Codes of 8 bits, the bytes of w, from `lowest` on.
TERN_INLINE void put_pairs8(Words w, Words lowest, PairPlace to) {
  store_words(to.lower, add_pairs(bits<0>(w, 0x00ff00ff), lowest));
  store_words(to.upper, add_pairs(bits<8>(w, 0x00ff00ff), lowest));
}

/// The levels of the n-th codes of 2 or 3 bits of every byte.
template <KvCode code, unsigned n>
TERN_INLINE Words levels_of_quarter(Bytes table, Words w, Words spread) {
  if constexpr (code == KvCode::code2)
    return look_up_bytes(table, bytes_of_2<n>(w));
  else
    return look_up_bytes(table, bytes_of_3<n>(w, spread));
}

/// Calls put(n, levels) for the codes of unit `unit` of a plane of 2 bits (and one of third bits).
template <KvCode code, unsigned half, class Put>
TERN_INLINE void take_unit(const std::byte* low, const std::byte* high, std::size_t unit,
                           Bytes table, Put put) {
  const Words w = load_words(low + unit * 64);
  Words spread = w;
  if constexpr (code == KvCode::code3)
    spread = spread_third_bits<half>(load_words(high + unit / 2 * 64));
  put(0uz, levels_of_quarter<code, 0>(table, w, spread));
  put(1uz, levels_of_quarter<code, 1>(table, w, spread));
  put(2uz, levels_of_quarter<code, 2>(table, w, spread));
  put(3uz, levels_of_quarter<code, 3>(table, w, spread));
}

/// The level of code 0 twice.
TERN_INLINE Words lowest_pair(const KvSegment& s) {
  return all_words((s.lowest & 0xffff) | s.lowest * 65536);
}

/// The keys of a page, the elements of one segment: [4 blocks of tokens][count / 2 pairs][16].
/// Elements are paired as key_pair says.
template <KvCode code>
TERN_TARGET void unpack_whole_keys(const std::byte* page, const KvSegment& s, std::int32_t* to) {
  const std::size_t pairs = s.count / 2, first = s.first - s.run_first;
  const auto at = [=](std::size_t block, std::size_t pair) {
    return to + (block * pairs + pair) * 16;
  };
  if constexpr (code == KvCode::code8) {
    const std::byte* const low = page + s.low + first * 64;
    const Words lowest = lowest_pair(s);
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      const Words a = load_words(low + pair * 128), b = load_words(low + pair * 128 + 64);
      put_pairs8(zip_low(a, b), lowest, {at(0, pair), at(1, pair)});
      put_pairs8(zip_high(a, b), lowest, {at(2, pair), at(3, pair)});
    }
  } else if constexpr (code == KvCode::code4) {
    const std::byte* const low = page + s.low + first / 2 * 64;
    const Bytes table = load_bytes(s.whole);
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      const Words w = load_words(low + pair * 64);
      put_pairs(look_up_bytes(table, bytes_of_4<0>(w)), {at(0, pair), at(2, pair)});
      put_pairs(look_up_bytes(table, bytes_of_4<1>(w)), {at(1, pair), at(3, pair)});
    }
  } else {
    const std::byte *const low = page + s.low + first / 4 * 64, *const high =
                                                                    page + s.high + first / 8 * 64;
    const Bytes table = load_bytes(s.whole);
    for (std::size_t unit = 0; unit < pairs / 2; unit += 2) {
      const auto put = [&](std::size_t block, Words levels) TERN_TARGET {
        put_pairs(levels, {at(block, 2 * unit), at(block, 2 * unit + 1)});
      };
      const auto put_next = [&](std::size_t block, Words levels) TERN_TARGET {
        put_pairs(levels, {at(block, 2 * unit + 2), at(block, 2 * unit + 3)});
      };
      take_unit<code, 0>(low, high, unit, table, put);
      take_unit<code, 1>(low, high, unit + 1, table, put_next);
    }
  }
}

/// The values of a page, one run of kKvUnpackedDim elements: [8 blocks of elements][kTokenPairs]
/// [16]; a pair is two neighbouring tokens.
template <KvCode code>
TERN_TARGET void unpack_whole_values(const std::byte* page, const KvSegment& s, std::int32_t* to) {
  const std::byte *const low = page + s.low, *const high = page + s.high;
  const auto at = [=](std::size_t block, std::size_t pair) {
    return to + (block * kTokenPairs + pair) * 16;
  };
  if constexpr (code == KvCode::code8) {
    const Words lowest = lowest_pair(s);
    for (std::size_t pair = 0; pair < kTokenPairs; ++pair)
      for (std::size_t half = 0; half < 2; ++half) {
        const std::byte* const from = low + (pair * 4 + half) * 64;
        const Words a = load_words(from), b = load_words(from + 128);
        put_pairs8(zip_low(a, b), lowest, {at(4 * half, pair), at(4 * half + 1, pair)});
        put_pairs8(zip_high(a, b), lowest, {at(4 * half + 2, pair), at(4 * half + 3, pair)});
      }
  } else if constexpr (code == KvCode::code4) {
    const Bytes table = load_bytes(s.whole);
    for (std::size_t pair = 0; pair < kTokenPairs; ++pair) {
      const Words a = load_words(low + pair * 128), b = load_words(low + pair * 128 + 64);
      const Words first = zip_low(a, b), second = zip_high(a, b);
      put_pairs(look_up_bytes(table, bytes_of_4<0>(first)), {at(0, pair), at(2, pair)});
      put_pairs(look_up_bytes(table, bytes_of_4<1>(first)), {at(1, pair), at(3, pair)});
      put_pairs(look_up_bytes(table, bytes_of_4<0>(second)), {at(4, pair), at(6, pair)});
      put_pairs(look_up_bytes(table, bytes_of_4<1>(second)), {at(5, pair), at(7, pair)});
    }
  } else {
    const Bytes table = load_bytes(s.whole);
    for (std::size_t pair = 0; pair < kTokenPairs; pair += 2) {
      const auto put = [&](std::size_t block, Words levels) TERN_TARGET {
        put_pairs(levels, {at(block, pair), at(block + 4, pair)});
      };
      const auto put_next = [&](std::size_t block, Words levels) TERN_TARGET {
        put_pairs(levels, {at(block, pair + 1), at(block + 4, pair + 1)});
      };
      take_unit<code, 0>(low, high, pair, table, put);
      take_unit<code, 1>(low, high, pair + 1, table, put_next);
    }
  }
}

/// scores[r][16 block ...] += q_r . k for the elements of one segment (= for the first one).
/// @param q  pairs [count / 2][R]  @param step, sum  [R]: of a row's rounded elements
template <std::size_t R>
TERN_TARGET void whole_scores(const std::int32_t* keys, std::size_t block, const std::byte* page,
                              const KvSegment& s, const std::int32_t* q, const float* step,
                              const float* sum, float* scores) {
  const std::size_t pairs = s.count / 2, token = block * 16;
  keys += block * pairs * 16;
  Words sums[R];
  for (Words& words : sums) words = all_words(0);
#pragma GCC unroll 4
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    const Words k = load_words(keys + pair * 16);
    for (std::size_t r = 0; r < R; ++r) sums[r] = dot_pairs(sums[r], k, all_words(q[pair * R + r]));
  }
  const auto* const scales = reinterpret_cast<const std::uint16_t*>(page + s.scale);
  const auto* const biases = reinterpret_cast<const std::uint16_t*>(page + s.bias);
  const Lanes scale = load_f16(scales + token);
  for (std::size_t r = 0; r < R; ++r) {
    Lanes score = to_float(sums[r]) * scale * all(step[r] * s.step);
    if (s.bias != 0) score = fma(all(sum[r]), load_f16(biases + token), score);
    float* const to = scores + r * kKvPageTokens + token;
    store(to, s.first == 0 ? score : load(to) + score);
  }
}

/// A page's weights of one row in 16 bits.
struct WholeWeights {
  float factor, bias;
};
/// @param p  weights [kKvPageTokens]  @param scales, biases  of what a row of the group sees, else
/// 0
TERN_TARGET inline WholeWeights round_weights(const float* p, const std::uint16_t* scales,
                                              const std::uint16_t* biases, const KvSegment& s,
                                              std::int16_t* to) {
  Lanes weights[kKvPageTokens / 16], greatest = all(0.0f), bias = all(0.0f);
  for (std::size_t j = 0; j < kKvPageTokens / 16; ++j) {
    const Lanes weight = load(p + j * 16);
    weights[j] = weight * load_f16(scales + j * 16);
    greatest = max(max(weights[j], all(0.0f) - weights[j]), greatest);
    if (s.bias != 0) bias = fma(weight, load_f16(biases + j * 16), bias);
  }
  const float most = max_of(greatest);
  const float inverse = most >= 0x1p-100f ? kWholeQuery / most : 0.0f;
  for (std::size_t j = 0; j < kKvPageTokens / 16; ++j)
    store_rounded(to + j * 16, weights[j] * all(inverse));
  return {most / kWholeQuery * s.step, s.bias != 0 ? sum(bias) : 0.0f};
}

/// out_r[i] = shrink_r out_r[i] + bias_r + factor_r sum_t w_r[t] v_t[i] for one block of elements.
/// @param values  pairs of the block [kTokenPairs][16]  @param w  [R][kKvPageTokens]
template <std::size_t R>
TERN_TARGET void add_whole_values(const std::int32_t* values, const std::int16_t* w,
                                  const float* factor, const float* bias, const float* shrink,
                                  float* out, std::size_t head_dim) {
  Words sums[R];
  for (Words& words : sums) words = all_words(0);
#pragma GCC unroll 4
  for (std::size_t pair = 0; pair < kTokenPairs; ++pair) {
    const Words v = load_words(values + pair * 16);
    for (std::size_t r = 0; r < R; ++r) {
      std::int32_t two = 0;
      std::memcpy(&two, w + r * kKvPageTokens + 2 * pair, sizeof two);
      sums[r] = dot_pairs(sums[r], v, all_words(two));
    }
  }
  for (std::size_t r = 0; r < R; ++r) {
    float* const to = out + r * head_dim;
    const Lanes before = fma(all(shrink[r]), load(to), all(bias[r]));
    store(to, fma(to_float(sums[r]), all(factor[r]), before));
  }
}

#undef TERN_INLINE
