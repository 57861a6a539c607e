// Blocks of each GGUF type from the searches of gguf_search.inc.h, for one instruction set;
// included by gguf_encode.cpp like that file.

/// Encoder<Format>::block(x, w, out): one block of x, with importance w.
template <class Format>
struct Encoder;

/// Codes of n levels.
template <class Levels, std::size_t n>
TERN_WORD void to_codes(const float* levels, std::uint8_t* codes) {
  for (std::size_t i = 0; i < n; ++i) codes[i] = Levels::code(levels[i]);
}

/// A block of 32 under one scale: d, then the codes at `codes`. @return d as f16
template <class Levels>
TERN_WORD std::uint16_t scaled_block(const float* x, const float* w, std::uint8_t* codes) {
  const std::uint16_t d = f16_scale(best_scale<Levels, 32>(x, w));
  float levels[32];
  assign<Levels, 32>(x, w, f16_to_float(d), levels);
  to_codes<Levels, 32>(levels, codes);
  return d;
}

template <>
struct Encoder<Q4_0> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    std::uint8_t q[32];
    put_u16(out, scaled_block<Integers<-8, 7>>(x, w, q));
    put_nibbles(q, out + 2);
  }
};

template <>
struct Encoder<Q5_0> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    std::uint8_t q[32];
    put_u16(out, scaled_block<Integers<-16, 15>>(x, w, q));
    put_fifth_bits(q, out + 2);
    put_nibbles(q, out + 6);
  }
};

/// Codes stay above -128, which the dot products of some programs cannot hold.
template <>
struct Encoder<Q8_0> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    std::uint8_t q[32];
    put_u16(out, scaled_block<Integers<-127, 127>>(x, w, q));
    for (std::size_t j = 0; j < 32; ++j) put_byte(out + 2 + j, (q[j] - 127u) & 255u);
  }
};

template <>
struct Encoder<Iq4Nl> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    std::uint8_t q[32];
    put_u16(out, scaled_block<Iq4Levels>(x, w, q));
    put_nibbles(q, out + 2);
  }
};

/// A block of 32 on one line: d and m as f16, then the codes.
template <int top>
TERN_WORD void line_block(const float* x, const float* w, std::byte* d_and_m, std::uint8_t* codes) {
  const Line line = best_line<top, 32, false>(x, w);
  const std::uint16_t d = f16_scale(line.scale), m = f16_scale(line.min);
  float q[32];
  assign_line<top, 32>(x, w, f16_to_float(d), f16_to_float(m), q);
  to_codes<Integers<0, top>, 32>(q, codes);
  put_u16(d_and_m, d);
  put_u16(d_and_m + 2, m);
}

template <>
struct Encoder<Q4_1> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    std::uint8_t q[32];
    line_block<15>(x, w, out, q);
    put_nibbles(q, out + 4);
  }
};

template <>
struct Encoder<Q5_1> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    std::uint8_t q[32];
    line_block<31>(x, w, out, q);
    put_fifth_bits(q, out + 4);
    put_nibbles(q, out + 8);
  }
};

/// The exponent whose largest level holds the largest value, or one beside it.
template <>
struct Encoder<Mxfp4> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    const int first = mxfp4_exponent(std::abs(peak<32>(x)));
    float least = 0;
    int best = -1;
    std::uint8_t q[32];
    for (int e = std::max(first - 1, 0); e <= std::min(first + 1, 254); ++e) {
      float steps[32];
      const float error = assign_steps(x, w, Mxfp4::scale(static_cast<std::uint8_t>(e)), steps);
      if (best >= 0 && error >= least) continue;
      best = e;
      least = error;
      for (std::size_t j = 0; j < 32; ++j)
        q[j] = static_cast<std::uint8_t>(static_cast<int>(steps[j]) + (x[j] < 0 ? 8 : 0));
    }
    for (std::size_t j = 0; j < 32; ++j) q[j] = q[j] == 8 ? 0 : q[j];
    put_byte(out, static_cast<unsigned>(best));
    put_nibbles(q, out + 1);
  }

  /// steps[j]: how many levels |x[j]| is above zero. @return the weighted squared error
  TERN_WORD static float assign_steps(const float* x, const float* w, float scale, float* steps) {
    const Lanes8 zero{};
    Lanes8 error{};
    for (std::size_t i = 0; i < 32; i += 8) {
      Lanes8 value, weight, step = zero, level = zero;
      load(x + i, value);
      load(w + i, weight);
      value = value < zero ? -value : value;
#pragma GCC unroll 7
      for (int k = 0; k < 7; ++k) {
        const auto low = static_cast<float>(kTwiceE2m1[k]);
        const auto high = static_cast<float>(kTwiceE2m1[k + 1]);
        const auto above = value > zero + scale * (0.5f * (low + high));  // exact
        level += above ? zero + (high - low) : zero;
        step += above ? zero + 1.0f : zero;
      }
      std::memcpy(steps + i, &step, sizeof step);
      const Lanes8 rest = value - level * scale;
      error += weight * rest * rest;
    }
    return sum(error);
  }
};

/// A super-block whose `subs` runs have integer scales, `least` to `-least - 1`, under one d.
template <class Levels, std::size_t subs, int least>
struct ScaledSuperBlock {
  static constexpr std::size_t n = 256 / subs;
  std::uint16_t d = 0;
  std::int8_t scales[subs] = {};
  float levels[256] = {};

  TERN_WORD void search(const float* x, const float* w) {
    float wanted[subs];
    for (std::size_t k = 0; k < subs; ++k) wanted[k] = best_scale<Levels, n>(x + n * k, w + n * k);
    const float top = peak<subs>(wanted);
    float error = -1;
    for (int i = 0; i < kSuperTries; ++i) {
      const float start = top / (static_cast<float>(least) - 0.5f * static_cast<float>(i));
      improve(x, w, wanted, start, error);
    }
  }

 private:
  /// Integer scales for d = start, and then for the best d of the codes found.
  TERN_WORD void improve(const float* x, const float* w, const float* wanted, float start,
                         float& error) {
    float next = start;
    for (int round = 0; round < kSuperRounds; ++round) {
      ScaledSuperBlock trial;
      trial.d = f16_scale(next);
      Moments fit;
      float total = 0;
      for (std::size_t k = 0; k < subs; ++k)
        total += trial.choose(k, x + n * k, w + n * k, wanted[k], fit);
      if (error >= 0 && total >= error) break;
      error = total;
      *this = trial;
      if (fit.square <= 0) break;
      next = fit.cross / fit.square;
    }
  }

  /// Run k with the best of the three integers around `wanted`; adds to the sums for d.
  TERN_WORD float choose(std::size_t k, const float* x, const float* w, float wanted,
                         Moments& fit) {
    const float unit = f16_to_float(d);
    const int middle = unit != 0 ? nearest_int(wanted / unit, least, -least - 1) : 0;
    float best = -1;
    for (int s = std::max(middle - 1, least); s <= std::min(middle + 1, -least - 1); ++s) {
      float trial[n];
      const float error = assign<Levels, n>(x, w, unit * static_cast<float>(s), trial);
      if (best >= 0 && error >= best) continue;
      best = error;
      scales[k] = static_cast<std::int8_t>(s);
      std::memcpy(levels + n * k, trial, sizeof trial);
    }
    const float s = scales[k];
    Lanes8 cross{}, square{};
    for (std::size_t i = 0; i < n; i += 8) {
      Lanes8 value, weight, level;
      load(x + i, value);
      load(w + i, weight);
      load(levels + n * k + i, level);
      weight *= level;
      cross += weight * value;
      square += weight * level;
    }
    fit.cross += s * sum(cross);
    fit.square += s * s * sum(square);
    return best;
  }
};

template <>
struct Encoder<Q3K> {
  using Levels = Integers<-4, 3>;
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    ScaledSuperBlock<Levels, 16, -32> super;
    super.search(x, w);
    std::uint8_t q[256];
    to_codes<Levels, 256>(super.levels, q);
    put_bit_plane(q, 2, out);
    put_pairs(q, out + 32);
    put_q3_scales(super.scales, out + 96);
    put_u16(out + 108, super.d);
  }
};

template <>
struct Encoder<Q6K> {
  using Levels = Integers<-32, 31>;
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    ScaledSuperBlock<Levels, 16, -128> super;
    super.search(x, w);
    std::uint8_t q[256];
    to_codes<Levels, 256>(super.levels, q);
    put_q6_codes(q, out);
    std::memcpy(out + 192, super.scales, sizeof super.scales);
    put_u16(out + 208, super.d);
  }
};

template <>
struct Encoder<Iq4Xs> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    ScaledSuperBlock<Iq4Levels, 8, -32> super;
    super.search(x, w);
    std::uint8_t q[256];
    to_codes<Iq4Levels, 256>(super.levels, q);
    put_u16(out, super.d);
    put_iq4_scales(super.scales, out + 2);
    for (std::size_t j = 0; j < 8; ++j) put_nibbles(q + 32 * j, out + 8 + 16 * j);
  }
};

/// A super-block whose `subs` runs have integer scales and minima, 0 to `most`, under d and dmin.
template <int top, std::size_t subs, int most>
struct LineSuperBlock {
  static constexpr std::size_t n = 256 / subs;
  std::uint16_t d = 0, dmin = 0;
  std::uint8_t scales[subs] = {}, mins[subs] = {};
  float codes[256] = {};

  TERN_WORD void search(const float* x, const float* w) {
    Line wanted[subs];
    float top_scale = 0, top_min = 0;
    for (std::size_t k = 0; k < subs; ++k) {
      wanted[k] = best_line<top, n, true>(x + n * k, w + n * k);
      top_scale = std::max(top_scale, wanted[k].scale);
      top_min = std::max(top_min, -wanted[k].min);
    }
    float error = -1;
    for (int i = 0; i < kSuperTries; ++i) {
      const float steps = static_cast<float>(most) + 0.5f * static_cast<float>(i);
      improve(x, w, wanted, top_scale / steps, top_min / steps, error);
    }
  }

 private:
  /// Sums for the best d and dmin of the codes found: x ~ d a - dmin b, a = scale q, b = min.
  struct Normal {
    float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
  };

  TERN_WORD void improve(const float* x, const float* w, const Line* wanted, float start,
                         float start_min, float& error) {
    float next = start, next_min = start_min;
    for (int round = 0; round < kSuperRounds; ++round) {
      LineSuperBlock trial;
      trial.d = f16_scale(next);
      trial.dmin = f16_scale(next_min);
      Normal normal;
      float total = 0;
      for (std::size_t k = 0; k < subs; ++k)
        total += trial.choose(k, x + n * k, w + n * k, wanted[k], normal);
      if (error >= 0 && total >= error) break;
      error = total;
      *this = trial;
      const float determinant = normal.aa * normal.bb - normal.ab * normal.ab;
      if (determinant > 0) {
        next = (normal.xa * normal.bb - normal.xb * normal.ab) / determinant;
        next_min = (normal.xa * normal.ab - normal.xb * normal.aa) / determinant;
      } else if (normal.aa > 0) {
        next = normal.xa / normal.aa;
      }
      if (!(next > 0) || !(next_min >= 0)) break;
    }
  }

  /// Run k with the best scale and minimum of the nine around `wanted`; adds to the sums.
  TERN_WORD float choose(std::size_t k, const float* x, const float* w, const Line& wanted,
                         Normal& normal) {
    const float unit = f16_to_float(d), unit_min = f16_to_float(dmin);
    const int s0 = unit > 0 ? nearest_int(wanted.scale / unit, 0, most) : 0;
    const int m0 = unit_min > 0 ? nearest_int(-wanted.min / unit_min, 0, most) : 0;
    float best = -1;
    for (int s = std::max(s0 - 1, 0); s <= std::min(s0 + 1, most); ++s)
      for (int m = std::max(m0 - 1, 0); m <= std::min(m0 + 1, most); ++m) {
        float trial[n];
        const float error = assign_line<top, n>(x, w, unit * static_cast<float>(s),
                                                -unit_min * static_cast<float>(m), trial);
        if (best >= 0 && error >= best) continue;
        best = error;
        scales[k] = static_cast<std::uint8_t>(s);
        mins[k] = static_cast<std::uint8_t>(m);
        std::memcpy(codes + n * k, trial, sizeof trial);
      }
    add(k, x, w, normal);
    return best;
  }

  TERN_WORD void add(std::size_t k, const float* x, const float* w, Normal& normal) const {
    Lanes8 ww{}, wx{}, wq{}, qq{}, xq{};
    for (std::size_t i = 0; i < n; i += 8) {
      Lanes8 value, weight, q;
      load(x + i, value);
      load(w + i, weight);
      load(codes + n * k + i, q);
      ww += weight;
      wx += weight * value;
      weight *= q;
      wq += weight;
      qq += weight * q;
      xq += weight * value;
    }
    const float s = scales[k], m = mins[k];
    normal.aa += s * s * sum(qq);
    normal.ab += s * m * sum(wq);
    normal.bb += m * m * sum(ww);
    normal.xa += s * sum(xq);
    normal.xb += m * sum(wx);
  }
};

template <>
struct Encoder<Q2K> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    LineSuperBlock<3, 16, 15> super;
    super.search(x, w);
    std::uint8_t q[256];
    to_codes<Integers<0, 3>, 256>(super.codes, q);
    for (std::size_t k = 0; k < 16; ++k)
      put_byte(out + k, super.scales[k] | (static_cast<unsigned>(super.mins[k]) << 4));
    put_pairs(q, out + 16);
    put_u16(out + 80, super.d);
    put_u16(out + 82, super.dmin);
  }
};

template <>
struct Encoder<Q4K> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    LineSuperBlock<15, 8, 63> super;
    super.search(x, w);
    std::uint8_t q[256];
    to_codes<Integers<0, 15>, 256>(super.codes, q);
    put_u16(out, super.d);
    put_u16(out + 2, super.dmin);
    put_scale_mins(super.scales, super.mins, out + 4);
    put_runs(q, out + 16);
  }
};

template <>
struct Encoder<Q5K> {
  TERN_WORD static void block(const float* x, const float* w, std::byte* out) {
    LineSuperBlock<31, 8, 63> super;
    super.search(x, w);
    std::uint8_t q[256];
    to_codes<Integers<0, 31>, 256>(super.codes, q);
    put_u16(out, super.d);
    put_u16(out + 2, super.dmin);
    put_scale_mins(super.scales, super.mins, out + 4);
    put_bit_plane(q, 4, out + 16);
    put_runs(q, out + 48);
  }
};

/// Whole blocks of x; the squared error, unweighted.
template <class Format>
TERN_TARGET double encode_blocks(std::span<const float> x, const float* w, std::byte* out) {
  double error = 0;
  for (std::size_t i = 0; i < x.size(); i += Format::kValues, out += Format::kBytes) {
    Encoder<Format>::block(x.data() + i, w + i, out);
    error += block_error<Format>(x.data() + i, out);
  }
  return error;
}

#undef TERN_WORD
