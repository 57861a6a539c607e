#include "kernels/linear.h"

#include <algorithm>

#include "kernels/dot.h"

namespace tern::kernels {
namespace {

/// Rows [begin, end) of a format without integers. Tokens go in tiles, outside the loop over rows,
/// so that a tile of x stays in the L2 cache while the weights stream past it.
void multiply_floats(const quant::Matrix& weight, std::size_t begin, std::size_t end,
                     const float* x, std::size_t tokens, std::size_t x_stride, float* y,
                     std::size_t y_stride) {
  DotRows* const dot = dot_rows(weight, active_isa());
  for (std::size_t t = 0; t < tokens; t += kDotTokens)
    for (std::size_t r = begin; r < end; r += kDotRows)
      dot(weight, r, std::min(kDotRows, end - r), x + t * x_stride,
          std::min(kDotTokens, tokens - t), x_stride, y + t * y_stride + r - begin, y_stride);
}

/// Below this many multiplications, waking threads takes longer than the work.
constexpr std::size_t kSerialWork = 1 << 16;

template <class T>
void grow(Buffer<T>& buffer, std::size_t size) {
  if (buffer.size() >= size) return;
  buffer = Buffer<T>();
  buffer = Buffer<T>(size);
}

/// Calls body(i) for i < count, on all threads when there are many.
template <class Body>
void run(std::size_t count, ThreadPool* pool, const Body& body) {
  const auto range = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) body(i);
  };
  if (pool == nullptr)
    range(0, count);
  else
    pool->parallel_for(count, 4, range);
}

Activations& scratch() {
  thread_local Activations activations;
  return activations;
}

}  // namespace

bool Activations::alike(const quant::Matrix& a, const quant::Matrix& b) {
  const Isa isa = active_isa();
  const FixedKernels* const one = fixed_kernels(a, isa);
  const FixedKernels* const other = fixed_kernels(b, isa);
  if (a.cols != b.cols || (one == nullptr) != (other == nullptr)) return false;
  if (one == nullptr) return true;
  return one->layout == other->layout &&
         fixed_tiles(*one, isa).prepare == fixed_tiles(*other, isa).prepare;
}

/// row(t): the activations of token t.
template <class Row>
void Activations::lay_out(const FixedKernels& kernels, std::size_t cols, const Row& row,
                          ThreadPool* pool) {
  const FixedTiles form = fixed_tiles(kernels, active_isa());
  stride_ = (fixed_units(cols) + 1) / 2 * 2;
  tiled_ = tokens_ / form.together * form.together;
  if (tokens_ - tiled_ > form.most_units) tiled_ = tokens_;
  const std::size_t tiles = (tiled_ + kTileTokens - 1) / kTileTokens;
  grow(tiles_, tiles * stride_);
  grow(units_, (tokens_ - tiled_) * stride_);
  run(tiles + tokens_ - tiled_, pool, [&](std::size_t i) {
    if (i >= tiles) {
      const std::size_t unit = i - tiles;
      return make_units(kernels.layout, {row(tiled_ + unit), cols}, units_.data() + unit * stride_);
    }
    const float* rows[kTileTokens];
    const std::size_t first = i * kTileTokens, count = std::min(kTileTokens, tiled_ - first);
    for (std::size_t t = 0; t < count; ++t) rows[t] = row(first + t);
    FixedTile* const tile = tiles_.data() + i * stride_;
    make_tiles(kernels.layout, cols, {rows, count}, tile);
    if (form.prepare != nullptr) form.prepare({tile, stride_});
  });
}

void Activations::prepare(const quant::Matrix& weight, const float* x, std::size_t tokens,
                          std::size_t x_stride, ThreadPool* pool) {
  x_ = x;
  tokens_ = tokens;
  x_stride_ = x_stride;
  if (const FixedKernels* const kernels = fixed_kernels(weight, active_isa()))
    lay_out(*kernels, weight.cols, [&](std::size_t t) { return x + t * x_stride; }, pool);
}

void Activations::gather(const quant::Matrix& weight, const float* x,
                         std::span<const std::uint32_t> index, std::size_t x_stride) {
  tokens_ = index.size();
  if (const FixedKernels* const kernels = fixed_kernels(weight, active_isa()))
    return lay_out(
        *kernels, weight.cols, [&](std::size_t t) { return x + index[t] * x_stride; }, nullptr);
  grow(gathered_, tokens_ * weight.cols);
  for (std::size_t t = 0; t < tokens_; ++t)
    std::copy_n(x + index[t] * x_stride, weight.cols, gathered_.data() + t * weight.cols);
  x_ = gathered_.data();
  x_stride_ = weight.cols;
}

void Activations::multiply(const quant::Matrix& weight, std::size_t begin, std::size_t end,
                           float* y, std::size_t y_stride) const {
  const FixedKernels* const kernels = fixed_kernels(weight, active_isa());
  if (kernels == nullptr)
    return multiply_floats(weight, begin, end, x_, tokens_, x_stride_, y, y_stride);
  if (tiled_ > 0)
    fixed_tiles(*kernels, active_isa())
        .multiply(weight, begin, end, tiles_.data(), stride_, tiled_, y, y_stride);
  if (tokens_ > tiled_)
    kernels->rows(weight, begin, end, units_.data(), stride_, tokens_ - tiled_,
                  y + tiled_ * y_stride, y_stride);
}

void apply_serial(const quant::Matrix& weight, const float* x, std::size_t tokens,
                  std::size_t x_stride, float* y, std::size_t y_stride) {
  scratch().prepare(weight, x, tokens, x_stride, nullptr);
  scratch().multiply(weight, 0, weight.rows, y, y_stride);
}

void apply(const Linear& linear, const float* x, std::size_t tokens, std::size_t x_stride, float* y,
           std::size_t y_stride, ThreadPool& pool) {
  const quant::Matrix& weight = linear.weight;
  if (weight.rows * weight.cols * tokens < kSerialWork)
    return apply_serial(weight, x, tokens, x_stride, y, y_stride);
  Activations& activations = scratch();
  activations.prepare(weight, x, tokens, x_stride, &pool);
  // Four ranges for each thread, so that a slow one does not hold up the others.
  constexpr std::size_t kRows = 8;
  const std::size_t range = weight.rows / (4 * pool.size()) / kRows * kRows;
  pool.parallel_for(weight.rows, std::max(range, kRows), [&](std::size_t begin, std::size_t end) {
    activations.multiply(weight, begin, end, y + begin, y_stride);
  });
}

}  // namespace tern::kernels
