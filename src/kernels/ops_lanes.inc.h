// The fast forms of ops.h; included inside the namespace of each instruction set, see lanes.h.
// Same names and order of steps as the scalar forms in ops.cpp. No include guard: that is the
// point.

/// Calls body(i, lanes) for each sixteen elements, the last time with fewer lanes.
#define TERN_FOR_LANES(i, some, n)          \
  for (std::size_t i = 0; i < (n); i += 16) \
    if (const First some = first((n) - i); true)

TERN_TARGET void rms_norm(const float* x, const float* w, float* y, std::size_t n, float eps) {
  Lanes squares = all(0.0f);
  TERN_FOR_LANES(i, some, n) {
    const Lanes v = load(x + i, some);
    squares = fma(v, v, squares);
  }
  const float scale = 1.0f / std::sqrt(sum(squares) / static_cast<float>(n) + eps);
  TERN_FOR_LANES(i, some, n)
  store(y + i, load(w + i, some) * (load(x + i, some) * all(scale)), some);
}

TERN_TARGET void gated_rms_norm(const float* y, const float* z, const float* w, float* out,
                                std::size_t n, std::size_t groups, float eps) {
  const std::size_t group = n / groups;
  for (std::size_t g = 0; g < n; g += group) {
    TERN_FOR_LANES(i, some, group)
    store(out + g + i, load(y + g + i, some) * silu(load(z + g + i, some)), some);
    rms_norm(out + g, w + g, out + g, group, eps);
  }
}

TERN_TARGET void relu2(float* x, std::size_t n) {
  TERN_FOR_LANES(i, some, n) {
    const Lanes v = max(all(0.0f), load(x + i, some));
    store(x + i, v * v, some);
  }
}

TERN_TARGET bool add(float* y, const float* x, std::size_t n) {
  Lanes zero = all(0.0f);
  TERN_FOR_LANES(i, some, n) {
    const Lanes v = load(y + i, some) + load(x + i, some);
    store(y + i, v, some);
    zero = fma(v, all(0.0f), zero);  // 0 v is NaN for infinities and NaN
  }
  return sum(zero) == 0.0f;
}

TERN_TARGET bool finite(const float* x, std::size_t n) {
  Lanes zero = all(0.0f);
  TERN_FOR_LANES(i, some, n) zero = fma(load(x + i, some), all(0.0f), zero);
  return sum(zero) == 0.0f;
}

TERN_TARGET void add_scaled(float* y, float a, const float* x, std::size_t n) {
  TERN_FOR_LANES(i, some, n)
  store(y + i, fma(all(a), load(x + i, some), load(y + i, some)), some);
}

TERN_TARGET void exp(float* x, std::size_t n) {
  TERN_FOR_LANES(i, some, n) store(x + i, exp(load(x + i, some)), some);
}

#undef TERN_FOR_LANES

constexpr Ops kOps = {rms_norm, gated_rms_norm, relu2, add, finite, add_scaled, exp};
