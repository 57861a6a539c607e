// The loops of mlx_search.h, in the compiler's own vectors.
//
// mlx_search.cpp includes this once for each instruction set, inside its namespace, with
// TERN_TARGET defined; there is no include guard. Two vectors of eight sums run side by side
// whatever the registers hold, and they are added in one order, so that all sets give the same
// bits.

using Lanes = float __attribute__((vector_size(32)));
using Words = std::int32_t __attribute__((vector_size(32)));

#define TERN_LOOP TERN_TARGET __attribute__((always_inline)) inline

/// To the nearest integer, ties to even, for |x| < 2^22.
#define TERN_NEAREST(x) (((x) + kMagic) - kMagic)

TERN_LOOP void load(Lanes& to, const float* from) {
  std::memcpy(&to, from, sizeof to);
}

/// Of both vectors.
TERN_LOOP float sum(const Lanes (&lanes)[2]) {
  const Lanes both = lanes[0] + lanes[1];
  float part[8];
  std::memcpy(part, &both, sizeof part);
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

TERN_LOOP void absolute(Lanes& x) {
  Words bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= 0x7fffffff;
  std::memcpy(&x, &bits, sizeof x);
}

TERN_TARGET AffineSums affine(const float* w, const float* u, std::size_t n, float scale,
                              float bias, float levels) {
  const float inverse = 1 / scale;
  Lanes error[2] = {}, q_sum[2] = {}, qq_sum[2] = {}, wq_sum[2] = {};
  for (std::size_t i = 0; i < n; i += kSearchLanes)
    for (std::size_t half = 0; half < 2; ++half) {
      Lanes x, weight;
      load(x, w + i + 8 * half);
      load(weight, u + i + 8 * half);
      Lanes q = TERN_NEAREST((x - bias) * inverse);
      q = q > 0.0f ? q : Lanes{};
      q = q < levels ? q : Lanes{} + levels;
      const Lanes lost = x - (q * scale + bias);
      const Lanes uq = weight * q;
      error[half] += weight * lost * lost;
      q_sum[half] += uq;
      qq_sum[half] += uq * q;
      wq_sum[half] += uq * x;
    }
  return {sum(error), sum(q_sum), sum(qq_sum), sum(wq_sum)};
}

TERN_TARGET float e2m1(const float* w, const float* u, std::size_t n, float scale) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  Lanes error[2] = {};
  for (std::size_t i = 0; i < n; i += kSearchLanes)
    for (std::size_t half = 0; half < 2; ++half) {
      Lanes x, weight;
      load(x, w + i + 8 * half);
      load(weight, u + i + 8 * half);
      absolute(x);
      Lanes a = x * inverse;
      a = a < 6.0f ? a : Lanes{} + 6.0f;
      const Lanes by_half = TERN_NEAREST(a * 2.0f) * 0.5f, by_one = TERN_NEAREST(a),
                  by_two = TERN_NEAREST(a * 0.5f) * 2.0f;
      const Lanes y = a < 2.0f ? by_half : (a < 4.0f ? by_one : by_two);
      const Lanes lost = x - y * scale;
      error[half] += weight * lost * lost;
    }
  return sum(error);
}

TERN_TARGET float e4m3(const float* w, const float* u, std::size_t n, float scale) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  const std::int32_t least = 118 << 23;  // 2^-9, the distance of subnormal numbers
  Lanes error[2] = {};
  for (std::size_t i = 0; i < n; i += kSearchLanes)
    for (std::size_t half = 0; half < 2; ++half) {
      Lanes x, weight;
      load(x, w + i + 8 * half);
      load(weight, u + i + 8 * half);
      absolute(x);
      Lanes a = x * inverse;
      a = a < 448.0f ? a : Lanes{} + 448.0f;
      // The distance of neighbours is the power of two of `a`, divided by 8.
      Words step;
      std::memcpy(&step, &a, sizeof step);
      step = (step & 0x7f800000) - (3 << 23);
      step = step > least ? step : Words{} + least;
      Lanes big;
      std::memcpy(&big, &step, sizeof big);
      big = big * kMagic;
      const Lanes lost = x - ((a + big) - big) * scale;
      error[half] += weight * lost * lost;
    }
  return sum(error);
}

#undef TERN_NEAREST
#undef TERN_LOOP
