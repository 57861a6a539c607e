#include "quant/distortion.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <mutex>
#include <numbers>
#include <numeric>
#include <optional>

#include "base/check.h"
#include "quant/codebook.h"
#include "quant/random.h"
#include "quant/turboquant.h"

namespace tern::quant {
namespace {

constexpr std::size_t kBatch = 256;

std::vector<float> unit_vectors(std::size_t count, std::size_t dim, Random& random) {
  std::vector<float> x(count * dim);
  std::vector<double> v(dim);
  for (std::size_t first = 0; first < x.size(); first += dim) {
    double square = 0;
    for (double& value : v) {
      value = random.normal();
      square += value * value;
    }
    for (std::size_t i = 0; i < dim; ++i)
      x[first + i] = static_cast<float>(v[i] / std::sqrt(square));
  }
  return x;
}

double dot(const float* a, const float* b, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

double square_distance(const float* a, const float* b, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

/// Sums over one batch, for one number of bits.
struct BatchSums {
  double mse = 0, bias = 0, square = 0;
};

/// A mean over batches that are independent, whatever happens inside them.
Estimate estimate(std::span<const double> sums, std::span<const std::size_t> counts) {
  const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double mean = std::accumulate(sums.begin(), sums.end(), 0.0) / n;
  double square = 0;
  for (std::size_t b = 0; b < sums.size(); ++b)
    square += std::pow(sums[b] - static_cast<double>(counts[b]) * mean, 2);
  return {mean, std::sqrt(square) / n};
}

/// Encodes and decodes one batch with each number of bits.
class Batch {
 public:
  Batch(const DistortionTask& task, const std::optional<Rotation>& shared, std::uint64_t seed,
        std::size_t count)
      : task_(task),
        random_(seed),
        rotation_(shared ? *shared : Rotation::make(task.rotation, task.dim, random_.next())),
        count_(count),
        u_(unit_vectors(count, task.dim, random_)) {}

  Result<std::vector<BatchSums>> run() {
    std::vector<BatchSums> sums(task_.bits.size());
    for (std::size_t b = 0; b < sums.size(); ++b) TERN_TRY_VOID(run_mse(task_.bits[b], sums[b]));
    if (!task_.prod) return sums;
    const GaussianProjection projection = GaussianProjection::make(task_.dim, random_.next());
    const std::vector<float> y = unit_vectors(count_, task_.dim, random_);
    std::optional<ProdQueries> own, other;  // the same for each number of bits
    for (std::size_t b = 0; b < sums.size(); ++b) {
      TERN_TRY(const auto prod, TurboProd::create(rotation_, projection, task_.bits[b]));
      if (!own) own = prod.queries(u_);
      if (!other) other = prod.queries(y);
      run_prod(prod, *own, *other, y, sums[b]);
    }
    return sums;
  }

 private:
  Result<void> run_mse(unsigned bits, BatchSums& sums) const {
    TERN_TRY(const auto mse, TurboMse::create(rotation_, bits));
    std::vector<float> decoded(u_.size());
    mse.decode(mse.encode(u_), decoded);
    for (std::size_t v = 0; v < count_; ++v)
      sums.mse += square_distance(&u_[v * task_.dim], &decoded[v * task_.dim], task_.dim);
    return {};
  }

  void run_prod(const TurboProd& prod, const ProdQueries& own, const ProdQueries& other,
                const std::vector<float>& y, BatchSums& sums) const {
    const ProdCodes codes = prod.encode(u_);
    for (std::size_t v = 0; v < count_; ++v) {
      const float* const u = &u_[v * task_.dim];
      sums.bias += prod.inner_product(own, v, codes, v) - dot(u, u, task_.dim);
      const double truth = dot(&y[v * task_.dim], u, task_.dim);
      sums.square += std::pow(prod.inner_product(other, v, codes, v) - truth, 2);
    }
  }

  const DistortionTask& task_;
  Random random_;
  Rotation rotation_;
  std::size_t count_;
  std::vector<float> u_;
};

/// Seeds of the batches, far apart whatever the task's seed.
std::vector<std::uint64_t> seeds(std::uint64_t seed, std::size_t count) {
  Random random(seed);
  std::vector<std::uint64_t> out(count);
  for (std::uint64_t& value : out) value = random.next();
  return out;
}

double theory(std::size_t dim, unsigned bits) {
  return bits == 0 ? 1 : sphere_codebook(dim, bits).distortion;
}

Distortion summarize(const DistortionTask& task, std::size_t b,
                     std::span<const std::vector<BatchSums>> batches,
                     std::span<const std::size_t> counts) {
  const auto over_batches = [&](double BatchSums::* figure) {
    std::vector<double> sums;
    for (const auto& batch : batches) sums.push_back(batch[b].*figure);
    return estimate(sums, counts);
  };
  const unsigned bits = task.bits[b];
  return {.bits = bits,
          .mse = over_batches(&BatchSums::mse),
          .mse_theory = theory(task.dim, bits),
          .prod_bias = over_batches(&BatchSums::bias),
          .prod_variance = over_batches(&BatchSums::square),
          .prod_variance_theory =
              std::numbers::pi / 2 * theory(task.dim, bits - 1) / static_cast<double>(task.dim)};
}

}  // namespace

Result<std::vector<Distortion>> measure_distortion(
    const DistortionTask& task, ThreadPool& pool,
    const std::function<bool(std::size_t)>& progress) {
  for (const unsigned bits : task.bits)  // before anything is drawn
    TERN_TRY_VOID(TurboMse::create(Rotation::make(RotationKind::identity, task.dim, 0), bits));

  constexpr std::size_t kManyRotations = 256;  // dimensions up to which each batch draws its own
  std::optional<Rotation> shared;
  if (task.rotation == RotationKind::haar && task.dim > kManyRotations)
    shared = Rotation::make(task.rotation, task.dim, task.seed);

  const std::size_t count = (task.vectors + kBatch - 1) / kBatch;
  const std::vector<std::uint64_t> batch_seeds = seeds(task.seed, count);
  std::vector<std::vector<BatchSums>> batches(count);
  std::vector<std::size_t> counts(count);
  std::mutex mutex;
  std::size_t done = 0;
  std::atomic<bool> stopped = false;
  pool.parallel_for(count, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end && !stopped; ++b) {
      counts[b] = std::min(kBatch, task.vectors - b * kBatch);
      auto sums = Batch(task, shared, batch_seeds[b], counts[b]).run();
      TERN_CHECK(sums.has_value());  // the task was checked above
      batches[b] = *std::move(sums);
      const std::scoped_lock lock(mutex);
      done += counts[b];
      if (progress && !progress(done)) stopped = true;
    }
  });
  if (stopped) return fail(ErrorCode::cancelled, "interrupted");
  std::vector<Distortion> out;
  for (std::size_t b = 0; b < task.bits.size(); ++b)
    out.push_back(summarize(task, b, batches, counts));
  return out;
}

std::string_view name(SampleKind kind) {
  constexpr std::array<std::string_view, 4> kNames = {"gaussian", "outlier channels",
                                                      "log-normal channels", "shifted channels"};
  return kNames[static_cast<std::size_t>(kind)];
}

namespace {

/// Scale and mean of each channel.
struct Channels {
  std::vector<double> scale, mean;
};
Channels draw_channels(SampleKind kind, std::size_t dim, Random& random) {
  Channels out{std::vector<double>(dim, 1), std::vector<double>(dim, 0)};
  const auto distinct = [&](std::size_t count, std::vector<double>& values, double value) {
    const double ordinary = values[0];
    while (count > 0) {
      double& chosen = values[random.next() % dim];
      if (chosen != ordinary) continue;
      chosen = value;
      --count;
    }
  };
  if (kind == SampleKind::outlier_channels) distinct(4, out.scale, 10);
  if (kind == SampleKind::shifted_channels) distinct(6, out.mean, 8);
  if (kind == SampleKind::lognormal_channels)
    for (double& scale : out.scale) scale = std::exp(random.normal());
  return out;
}

}  // namespace

Estimate relative_error(
    SampleKind kind, std::size_t dim, std::size_t vectors, std::uint64_t seed,
    const std::function<void(std::span<const float>, std::span<float>)>& round_trip) {
  TERN_CHECK(dim >= 8);
  constexpr std::size_t kVectorsOfChannels = 100;
  Random random(seed);
  std::vector<double> sums;
  std::vector<std::size_t> counts;
  std::vector<float> x(dim), decoded(dim);
  for (std::size_t first = 0; first < vectors; first += kVectorsOfChannels) {
    const Channels channels = draw_channels(kind, dim, random);
    counts.push_back(std::min(kVectorsOfChannels, vectors - first));
    double sum = 0;
    for (std::size_t v = 0; v < counts.back(); ++v) {
      for (std::size_t i = 0; i < dim; ++i)
        x[i] = static_cast<float>(channels.mean[i] + channels.scale[i] * random.normal());
      round_trip(x, decoded);
      sum += square_distance(x.data(), decoded.data(), dim) / dot(x.data(), x.data(), dim);
    }
    sums.push_back(sum);
  }
  return estimate(sums, counts);
}

}  // namespace tern::quant
