// The loops of codec_kernels.h, sixteen lanes at a time, for one instruction set. codec_kernels.cpp
// includes this once for each, inside its namespace, with the words of lanes_*.h, TERN_TARGET and
// kTileVectors defined; there is no include guard.
#define TERN_WORD TERN_TARGET __attribute__((always_inline)) inline

/// The butterflies of distance h < 16 inside sixteen lanes: a + b in the lower lane of a pair and
/// a - b, as (-b) + a, in the upper.
template <int h>
TERN_WORD Lanes butterfly(Lanes v) {
  return add(swap_lanes<h>(v), negate_upper<h>(v));
}

TERN_TARGET inline void hadamard(float* x, std::size_t dim, std::size_t block, const float* signs,
                                 bool forward) {
  if (block < 16) return scalar::hadamard(x, dim, block, signs, forward);
  for (std::size_t i = 0; i < dim; i += 16) {
    Lanes v = load(x + i);
    if (forward) v = mul(v, load(signs + i));
    store(x + i, butterfly<8>(butterfly<4>(butterfly<2>(butterfly<1>(v)))));
  }
  for (std::size_t h = 16; h < block; h *= 2)
    for (std::size_t first = 0; first < dim; first += 2 * h)
      for (std::size_t i = first; i < first + h; i += 16) {
        const Lanes a = load(x + i), b = load(x + i + h);
        store(x + i, add(a, b));
        store(x + i + h, sub(a, b));
      }
  const Lanes scale = broadcast(hadamard_scale(block));
  for (std::size_t i = 0; i < dim; i += 16) {
    Lanes v = mul(load(x + i), scale);
    if (!forward) v = mul(v, load(signs + i));
    store(x + i, v);
  }
}

/// 32 rows of T vectors, their sums in registers. x and y are dim floats from vector to vector.
template <std::size_t T>
TERN_TARGET void multiply_tile(const float* columns, std::size_t dim, const float* x, float* y) {
  Lanes acc[T][2];
  for (std::size_t t = 0; t < T; ++t) acc[t][0] = acc[t][1] = broadcast(0);
  for (std::size_t c = 0; c < dim; ++c) {
    const Lanes m[2] = {load(columns + c * dim), load(columns + c * dim + 16)};
#pragma GCC unroll 8
    for (std::size_t t = 0; t < T; ++t) {
      const Lanes xc = broadcast(x[t * dim + c]);
      acc[t][0] = add(acc[t][0], mul(m[0], xc));
      acc[t][1] = add(acc[t][1], mul(m[1], xc));
    }
  }
  for (std::size_t t = 0; t < T; ++t) {
    store(y + t * dim, acc[t][0]);
    store(y + t * dim + 16, acc[t][1]);
  }
}

TERN_TARGET inline void multiply(const float* columns, std::size_t dim, const float* x,
                                 std::size_t count, float* y) {
  if (dim % 32 != 0) return scalar::multiply(columns, dim, x, count, y);
  for (std::size_t r = 0; r < dim; r += 32) {  // these columns stay in the L2 cache
    std::size_t t = 0;
    for (; t + kTileVectors <= count; t += kTileVectors)
      multiply_tile<kTileVectors>(columns + r, dim, x + t * dim, y + t * dim + r);
    for (; t < count; ++t) multiply_tile<1>(columns + r, dim, x + t * dim, y + t * dim + r);
  }
}

TERN_TARGET inline float square_sum(const float* x, std::size_t n) {
  Lanes lanes = broadcast(0);
  for (std::size_t i = 0; i < n; i += 16) {
    const Lanes v = load(x + i);
    lanes = add(lanes, mul(v, v));
  }
  return sum(lanes);
}

/// A value of a table of sixteen, or of two for five bits.
template <int tables>
TERN_WORD Lanes value_at(const Table* table, Ints index) {
  if constexpr (tables == 1)
    return lookup(table[0], index);
  else
    return lookup(table[0], table[1], index);
}

template <int tables>
TERN_TARGET Fit assign_levels(const float* r, std::size_t n, float inverse,
                              const CodebookTable& codebook, std::uint8_t* codes) {
  const Table levels[2] = {load(codebook.levels), load(codebook.levels + 16)};
  const Table bounds[2] = {load(codebook.bounds), load(codebook.bounds + 16)};
  const Lanes inverses = broadcast(inverse);
  Lanes cross = broadcast(0), square = broadcast(0);
  for (std::size_t i = 0; i < n; i += 16) {
    const Lanes v = load(r + i), u = mul(v, inverses);
    Ints index = ints(0);
    for (int step = 1 << (codebook.bits - 1); step > 0; step /= 2)
      index =
          add(index, where_greater(u, value_at<tables>(bounds, add(index, ints(step - 1))), step));
    store_bytes(codes + i, index);
    const Lanes level = value_at<tables>(levels, index);
    cross = add(cross, mul(v, level));
    square = add(square, mul(level, level));
  }
  return {sum(cross), sum(square)};
}

TERN_TARGET inline Fit assign(const float* r, std::size_t n, float inverse,
                              const CodebookTable& codebook, std::uint8_t* codes) {
  if (codebook.bits <= 4) return assign_levels<1>(r, n, inverse, codebook, codes);
  if (codebook.bits == 5) return assign_levels<2>(r, n, inverse, codebook, codes);
  return scalar::assign(r, n, inverse, codebook, codes);
}

constexpr CodecKernels kKernels = {hadamard, multiply, square_sum, assign};

#undef TERN_WORD
