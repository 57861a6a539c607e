// The meaning of attention.h, in double, token by token.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention_rows.h"

namespace tern::kernels::scalar {
namespace {

/// One view: keys and values as they are stored, rotated, and queries to match.
class View {
 public:
  View(const KvHead::View& view, std::size_t d) : view_(view), d_(d) {}

  void read(std::size_t s) {
    const auto load = [s, this](const KvPages& from, float* x) {
      from.layout->read_rotated(from.pages[s / kKvPageTokens] + from.offset, s % kKvPageTokens,
                                {x, d_});
    };
    load(view_.keys, key_);
    load(view_.values, value_);
  }
  double score(const float* q) const {
    double sum = 0;
    for (std::size_t i = 0; i < d_; ++i) sum += double{q[i]} * key_[i];
    return sum / std::sqrt(static_cast<double>(d_));
  }
  const float* value() const { return value_; }

 private:
  const KvHead::View& view_;
  std::size_t d_;
  float key_[quant::KvCodec::kMaxDim], value_[quant::KvCodec::kMaxDim];
};

}  // namespace

/// For each row: queries of both views (floats), sums of both views, greatest score, weight.
std::size_t attend_doubles(std::size_t rows, std::size_t head_dim) {
  return rows * (3 * head_dim + 2);
}

void attend(const KvHead& kv, const Queries& queries, std::span<float> scratch) {
  const std::size_t d = kv.head_dim(), rows = queries.rows();
  auto* const sums = reinterpret_cast<double*>(scratch.data());  // [2, rows, d]
  double* const greatest = sums + 2 * rows * d;
  double* const weights = greatest + rows;
  auto* const q = reinterpret_cast<float*>(weights + rows);  // [2, rows, d]
  std::fill_n(sums, 2 * rows * d, 0.0);
  std::fill_n(greatest, rows, -std::numeric_limits<double>::infinity());
  std::fill_n(weights, rows, 0.0);
  for (std::size_t r = 0; r < rows; ++r) {
    const float* from = queries.q + row_offset(queries, r, d);
    std::copy_n(from, d, q + r * d);
    std::copy_n(from, d, q + (rows + r) * d);
    kv.main.keys.layout->codec().rotation().forward({q + r * d, d});
  }

  View views[2] = {View(kv.main, d), View(kv.recent, d)};
  const std::size_t end = queries.first_position + queries.tokens;
  for (std::size_t s = 0; s < end; ++s) {
    for (std::size_t recent = 0; recent < 2; ++recent) {
      bool loaded = false;
      for (std::size_t r = 0; r < rows; ++r) {
        if (!seen_by(kv, queries.first_position + r / queries.heads, recent == 1)(s)) continue;
        if (!loaded) views[recent].read(s);
        loaded = true;
        const double score = views[recent].score(q + (recent * rows + r) * d);
        const double most = std::max(greatest[r], score);
        const double shrink = std::exp(greatest[r] - most), p = std::exp(score - most);
        for (std::size_t view = 0; view < 2; ++view)
          for (std::size_t i = 0; i < d; ++i) sums[(view * rows + r) * d + i] *= shrink;
        for (std::size_t i = 0; i < d; ++i)
          sums[(recent * rows + r) * d + i] += p * views[recent].value()[i];
        weights[r] = weights[r] * shrink + p;
        greatest[r] = most;
      }
    }
  }

  for (std::size_t r = 0; r < rows; ++r) {
    float* out = queries.out + row_offset(queries, r, d);
    for (std::size_t i = 0; i < d; ++i) out[i] = static_cast<float>(sums[r * d + i] / weights[r]);
    kv.main.values.layout->codec().rotation().inverse({out, d});
    for (std::size_t i = 0; i < d; ++i)
      out[i] += static_cast<float>(sums[(rows + r) * d + i] / weights[r]);
  }
}

}  // namespace tern::kernels::scalar
