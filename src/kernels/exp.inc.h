// e^x in sixteen lanes; included inside the namespace of an instruction set, see lanes.h.
//
//   x = n ln 2 + r, |r| <= ln(2) / 2;  e^x = 2^n (1 + r + r^2/2! + ... + r^7/7!)
// The series is cut at 5e-9 of its value. 2^n is applied in two factors, so that results below
// 2^-126 are rounded once, into a subnormal, and results above the range become infinite.

/// The series, for whole n and x = n ln 2 + r.
TERN_TARGET __attribute__((always_inline)) inline Lanes exp_rest(Lanes x, Lanes n) {
  Lanes r = fma(n, all(-0.693145752f), x);  // ln 2 in two parts, the first exact in 15 bits
  r = fma(n, all(-1.42860677e-6f), r);
  Lanes p = all(1.0f / 5040);
  p = fma(p, r, all(1.0f / 720));
  p = fma(p, r, all(1.0f / 120));
  p = fma(p, r, all(1.0f / 24));
  p = fma(p, r, all(1.0f / 6));
  p = fma(p, r, all(0.5f));
  p = fma(p, r, all(1.0f));
  return fma(p, r, all(1.0f));
}

TERN_TARGET __attribute__((always_inline)) inline Lanes exp(Lanes x) {
  x = min(all(89.0f), max(all(-104.0f), x));  // in this order NaN stays NaN
  const Lanes n = round(x * all(1.44269504f));
  const Lanes half = floor(n * all(0.5f));
  return exp_rest(x, n) * power_of_two(half) * power_of_two(n - half);
}

/// For x <= 0; what is below 2^-126 becomes 2^-126.
TERN_TARGET __attribute__((always_inline)) inline Lanes exp_down(Lanes x) {
  x = max(all(-87.336544f), x);  // in this order NaN stays NaN
  const Lanes n = round(x * all(1.44269504f));
  return exp_rest(x, n) * power_of_two(n);
}

TERN_TARGET __attribute__((always_inline)) inline Lanes silu(Lanes x) {
  return x / (all(1.0f) + exp(all(0.0f) - x));
}
