// The search for scales and codes of one run of weights, for one instruction set.
//
// gguf_encode.cpp includes this once for each, inside its namespace, with TERN_TARGET and `clamp`
// defined; there is no include guard. Eight lanes everywhere and no fused operations: every
// instruction set finds the same codes.
#define TERN_WORD TERN_TARGET __attribute__((always_inline)) inline

TERN_WORD void load(const float* p, Lanes8& v) {
  std::memcpy(&v, p, sizeof v);
}

TERN_WORD float sum(const Lanes8& v) {
  Lanes4 half[2];
  std::memcpy(half, &v, sizeof v);
  const Lanes4 four = half[0] + half[1];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

/// To the nearest integer, ties to even; |u| below 2^22.
TERN_WORD void round(Lanes8& u) {
  constexpr float kShift = 0x1.8p23f;
  u = (u + kShift) - kShift;
}

/// Levels that are all integers from `low` to `high`. `kUnit` is the distance of levels near the
/// ends.
template <int low, int high>
struct Integers {
  static constexpr float kLow = low, kHigh = high, kUnit = 1;
  TERN_WORD static void nearest(Lanes8& u) {
    clamp(u, kLow, kHigh);
    round(u);
  }
  static std::uint8_t code(float level) {
    return static_cast<std::uint8_t>(static_cast<int>(level) - low);
  }
};

/// The 16 levels of IQ4.
struct Iq4Levels {
  static constexpr float kLow = kIq4[0], kHigh = kIq4[15], kUnit = 16;
  TERN_WORD static void nearest(Lanes8& u) {
    const Lanes8 zero{};
    Lanes8 level = zero + kLow;
#pragma GCC unroll 15
    for (int i = 0; i < 15; ++i) {
      const Lanes8 bound = zero + 0.5f * static_cast<float>(kIq4[i] + kIq4[i + 1]);
      const Lanes8 step = zero + static_cast<float>(kIq4[i + 1] - kIq4[i]);
      level += u > bound ? step : zero;
    }
    u = level;
  }
  static std::uint8_t code(float level) {
    std::uint8_t index = 0;
    while (static_cast<float>(kIq4[index]) < level) ++index;
    return index;
  }
};

/// Of n weights x under importance w, with the levels l that a scale gives them.
struct Moments {
  float cross = 0;   ///< sum of w x l
  float square = 0;  ///< sum of w l l
};

template <class Levels, std::size_t n>
TERN_WORD void moments(const float* x, const float* w, float inverse, Moments& out) {
  Lanes8 cross{}, square{};
#pragma GCC unroll 4
  for (std::size_t i = 0; i < n; i += 8) {
    Lanes8 value, weight;
    load(x + i, value);
    load(w + i, weight);
    Lanes8 level = value * inverse;
    Levels::nearest(level);
    weight *= level;
    cross += weight * value;
    square += weight * level;
  }
  out = {sum(cross), sum(square)};
}

/// The levels nearest to x / scale (all zero for scale 0), and the weighted squared error.
template <class Levels, std::size_t n>
TERN_WORD float assign(const float* x, const float* w, float scale, float* levels) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  Lanes8 error{};
#pragma GCC unroll 4
  for (std::size_t i = 0; i < n; i += 8) {
    Lanes8 value, weight;
    load(x + i, value);
    load(w + i, weight);
    Lanes8 level = value * inverse;
    Levels::nearest(level);
    std::memcpy(levels + i, &level, sizeof level);
    const Lanes8 rest = value - level * scale;
    error += weight * rest * rest;
  }
  return sum(error);
}

/// The smallest and the largest value.
template <std::size_t n>
TERN_WORD void range(const float* x, float& low, float& high) {
  Lanes8 least, most;
  load(x, least);
  most = least;
#pragma GCC unroll 4
  for (std::size_t i = 8; i < n; i += 8) {
    Lanes8 value;
    load(x + i, value);
    least = value < least ? value : least;
    most = value > most ? value : most;
  }
  low = least[0];
  high = most[0];
  for (int i = 1; i < 8; ++i) {
    low = least[i] < low ? least[i] : low;
    high = most[i] > high ? most[i] : high;
  }
}

/// The value of largest magnitude.
template <std::size_t n>
TERN_WORD float peak(const float* x) {
  float low, high;
  range<n>(x, low, high);
  return -low > high ? low : high;
}

/// A scale, and how much of the weighted square of x it explains.
struct ScaleFit {
  float scale = 0, gain = 0;
};

/// Takes the best scale for the levels of `inverse` if it is better; says whether it was.
template <class Levels, std::size_t n>
TERN_WORD bool consider(const float* x, const float* w, float inverse, ScaleFit& best) {
  Moments m;
  moments<Levels, n>(x, w, inverse, m);
  if (m.cross * m.cross <= best.gain * m.square) return false;
  best = {m.cross / m.square, m.cross * m.cross / m.square};
  return true;
}

/// The scale of least squared error: for either end of the levels at the largest value, or some
/// units beside it, the best scale for the levels found.
template <class Levels, std::size_t n>
TERN_WORD float best_scale(const float* x, const float* w) {
  const float top = peak<n>(x);
  if (std::abs(top) < kLeastWeight) return 0;
  const float unit = 1 / top;
  ScaleFit best;
  for (int i = 0; i < kTries; ++i) {
    const float beside = Levels::kUnit * (kFirstTry + kTryStep * static_cast<float>(i));
    consider<Levels, n>(x, w, (Levels::kLow - beside) * unit, best);
    if constexpr (Levels::kLow != -Levels::kHigh)
      consider<Levels, n>(x, w, (Levels::kHigh + beside) * unit, best);
  }
  for (int i = 0; i < kRounds && best.scale != 0; ++i)
    if (!consider<Levels, n>(x, w, 1 / best.scale, best)) break;
  return best.scale;
}

/// x ~ scale q + min, q from 0 to `top`.
struct Line {
  float scale = 0, min = 0, error = 0;
};

/// Sums that a line follows from; those without q do not depend on the codes.
struct LineMoments {
  float w = 0, x = 0, xx = 0;   ///< sums of w, w x, w x x
  float q = 0, qq = 0, xq = 0;  ///< sums of w q, w q q, w x q

  /// Of scale q + min.
  TERN_WORD float error(float scale, float min) const {
    return xx + scale * scale * qq + min * min * w - 2 * scale * xq - 2 * min * x +
           2 * scale * min * q;
  }
};

template <std::size_t n>
TERN_WORD void fixed_moments(const float* x, const float* w, LineMoments& m) {
  Lanes8 sum_w{}, sum_x{}, sum_xx{};
#pragma GCC unroll 4
  for (std::size_t i = 0; i < n; i += 8) {
    Lanes8 value, weight;
    load(x + i, value);
    load(w + i, weight);
    sum_w += weight;
    weight *= value;
    sum_x += weight;
    sum_xx += weight * value;
  }
  m.w = sum(sum_w);
  m.x = sum(sum_x);
  m.xx = sum(sum_xx);
}

/// The sums of the codes for (x - min) inverse.
template <int top, std::size_t n>
TERN_WORD void code_moments(const float* x, const float* w, float inverse, float min,
                            LineMoments& m) {
  Lanes8 sum_q{}, sum_qq{}, sum_xq{};
#pragma GCC unroll 4
  for (std::size_t i = 0; i < n; i += 8) {
    Lanes8 value, weight;
    load(x + i, value);
    load(w + i, weight);
    Lanes8 q = (value - min) * inverse;
    clamp(q, 0, top);
    round(q);
    weight *= q;
    sum_q += weight;
    sum_qq += weight * q;
    sum_xq += weight * value;
  }
  m.q = sum(sum_q);
  m.qq = sum(sum_qq);
  m.xq = sum(sum_xq);
}

/// Codes for a line, and the weighted squared error, term by term.
template <int top, std::size_t n>
TERN_WORD float assign_line(const float* x, const float* w, float scale, float min, float* codes) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  Lanes8 error{};
#pragma GCC unroll 4
  for (std::size_t i = 0; i < n; i += 8) {
    Lanes8 value, weight;
    load(x + i, value);
    load(w + i, weight);
    Lanes8 q = (value - min) * inverse;
    clamp(q, 0, top);
    round(q);
    std::memcpy(codes + i, &q, sizeof q);
    const Lanes8 rest = value - (q * scale + min);
    error += weight * rest * rest;
  }
  return sum(error);
}

/// Least squares for the codes of `m`. With `anchored`, min is at most 0.
template <bool anchored>
TERN_WORD Line solve(const LineMoments& m) {
  Line line;
  const float determinant = m.w * m.qq - m.q * m.q;
  if (determinant > 0) {
    line.scale = (m.w * m.xq - m.x * m.q) / determinant;
    line.min = (m.qq * m.x - m.q * m.xq) / determinant;
  }
  if (m.qq > 0 && (determinant <= 0 || (anchored && line.min > 0))) {
    line.scale = m.xq / m.qq;
    line.min = 0;
  }
  line.error = m.error(line.scale, line.min);
  return line;
}

/// One round: codes for (x - min) inverse, and the best line for them if it is better.
template <int top, std::size_t n, bool anchored>
TERN_WORD void consider_line(const float* x, const float* w, float inverse, float min,
                             LineMoments& m, Line& best) {
  code_moments<top, n>(x, w, inverse, anchored && min > 0 ? 0 : min, m);
  const Line line = solve<anchored>(m);
  if (line.scale > 0 && line.error < best.error) best = line;
}

/// The line of least squared error: several steps around the one that spans all values, from either
/// end of them, with the best line for the codes of each; then codes and line by turns. Starting
/// from the ends and not the middle is worth 6 % of the error at 4 bits, 7 % at 5.
template <int top, std::size_t n, bool anchored>
TERN_WORD Line best_line(const float* x, const float* w) {
  float low, high;
  range<n>(x, low, high);
  if (anchored) low = std::min(low, 0.0f);
  LineMoments m;
  fixed_moments<n>(x, w, m);
  Line best{0, anchored ? std::min(0.0f, m.x / m.w) : m.x / m.w, 0};
  best.error = m.error(0, best.min);
  if (!(high - low >= kLeastWeight)) return best;
  const float unit = 1 / (high - low);
  for (int i = 0; i < kTries; ++i) {
    const float steps = static_cast<float>(top) + kFirstTry + kTryStep * static_cast<float>(i);
    const float span = static_cast<float>(top) * (high - low) / steps;
    consider_line<top, n, anchored>(x, w, steps * unit, low, m, best);
    consider_line<top, n, anchored>(x, w, steps * unit, high - span, m, best);
  }
  for (int i = 0; i < kLineRounds && best.scale > 0; ++i)
    consider_line<top, n, anchored>(x, w, 1 / best.scale, best.min, m, best);
  return best;
}
