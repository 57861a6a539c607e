#include "eval/distortion.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "eval/random.h"
#include "quant/kv_codec.h"
#include "quant/turboquant.h"

namespace tern::eval {
namespace {

using quant::RotationKind;
using quant::SampleKind;

constexpr std::size_t kHeadDim = 128;
constexpr std::size_t kColumns = 128;
// A rotation must not be drawn from the numbers that the vectors are drawn from: the rows of a haar
// matrix would be vectors of the sample.
constexpr std::uint64_t kRotationSeed = 0x9d5c0fb3a1e84627u;
constexpr RotationKind kRotations[] = {RotationKind::identity, RotationKind::hadamard,
                                       RotationKind::haar,     RotationKind::planar,
                                       RotationKind::iso,      RotationKind::rotor};
constexpr SampleKind kData[] = {SampleKind::gaussian, SampleKind::outlier_channels,
                                SampleKind::lognormal_channels, SampleKind::shifted_channels};

Orthogonality check_rotation(RotationKind kind, std::size_t dim, std::uint64_t seed) {
  const auto rotation = quant::Rotation::make(kind, dim, seed);
  const std::size_t columns = std::min(dim, kColumns);
  std::vector<float> matrix(columns * dim, 0.0f);  // row i is column i * dim / columns of R
  Orthogonality result{std::string(quant::name(kind)), dim, 0, 0};
  for (std::size_t i = 0; i < columns; ++i) {
    const auto column = std::span(matrix).subspan(i * dim, dim);
    column[i * dim / columns] = 1;
    rotation.forward(column);
    for (std::size_t j = 0; j <= i; ++j) {
      double dot = i == j ? -1 : 0;
      for (std::size_t k = 0; k < dim; ++k)
        dot += static_cast<double>(matrix[i * dim + k]) * static_cast<double>(matrix[j * dim + k]);
      result.gram = std::max(result.gram, std::abs(dot));
    }
  }
  Random random(seed);
  std::vector<float> x(dim), y;
  for (int repeat = 0; repeat < 100; ++repeat) {
    double norm = 0, apart = 0;
    for (float& value : x) {
      value = static_cast<float>(random.uniform() - 0.5);
      norm += static_cast<double>(value) * static_cast<double>(value);
    }
    y = x;
    rotation.forward(y);
    rotation.inverse(y);
    for (std::size_t k = 0; k < dim; ++k) apart += std::pow(double{y[k]} - double{x[k]}, 2);
    result.round_trip = std::max(result.round_trip, std::sqrt(apart / norm));
  }
  return result;
}

template <class RoundTrip>
std::vector<Estimate> errors_of(const DistortionOptions& options, const RoundTrip& round_trip) {
  std::vector<Estimate> errors;
  for (const SampleKind kind : kData)
    errors.push_back(
        quant::relative_error(kind, kHeadDim, options.structured, options.seed, round_trip));
  return errors;
}

Result<StructureRow> with_codebook(const DistortionOptions& options, RotationKind kind,
                                   unsigned bits) {
  TERN_TRY(const auto codec,
           quant::TurboMse::create(
               quant::Rotation::make(kind, kHeadDim, options.seed ^ kRotationSeed), bits));
  return StructureRow{fmt::format("{}, {} bits", quant::name(kind), bits), bits + 16.0 / kHeadDim,
                      errors_of(options, [&](std::span<const float> x, std::span<float> y) {
                        codec.decode(codec.encode(x), y);
                      })};
}

Result<StructureRow> with_cache(const DistortionOptions& options, quant::KvScheme scheme) {
  TERN_TRY(const auto codec,
           quant::KvCodec::create(scheme, kHeadDim, options.seed ^ kRotationSeed));
  std::vector<std::uint8_t> codes(kHeadDim);
  std::vector<std::uint16_t> scales(codec.scales()), biases(codec.has_bias() ? codec.scales() : 0);
  return StructureRow{std::string(quant::name(scheme)),
                      8.0 * static_cast<double>(codec.vector_bytes()) / kHeadDim,
                      errors_of(options, [&](std::span<const float> x, std::span<float> y) {
                        codec.encode(x, codes, scales, biases);
                        codec.decode(codes, scales, biases, y);
                      })};
}

}  // namespace

Result<DistortionReport> measure(const DistortionOptions& options, ThreadPool& pool,
                                 const Watch& watch) {
  DistortionReport report;
  for (const std::size_t dim : options.dims) {
    TERN_TRY_VOID(watch.check());
    const std::string what = fmt::format("random vectors of {}", dim);
    TERN_TRY(const auto rows, quant::measure_distortion({.dim = dim,
                                                         .bits = options.bits,
                                                         .rotation = options.rotation,
                                                         .vectors = options.vectors,
                                                         .seed = options.seed},
                                                        pool, [&](std::size_t done) {
                                                          watch.report(what, done, options.vectors);
                                                          return watch.check().has_value();
                                                        }));
    for (const auto& row : rows) report.rows.push_back({dim, row});
  }
  const std::size_t total = std::size(kRotations) * 2 + quant::kKvSchemes;
  std::size_t done = 0;
  for (const SampleKind kind : kData) report.data.emplace_back(quant::name(kind));
  for (const RotationKind kind : kRotations) {
    report.rotations.push_back(check_rotation(kind, kHeadDim, options.seed));
    for (const unsigned bits : {3u, 4u}) {
      TERN_TRY_VOID(watch.check());
      watch.report("vectors with structure", done++, total);
      TERN_TRY(auto row, with_codebook(options, kind, bits));
      report.codebooks.push_back(std::move(row));
    }
  }
  for (const std::size_t dim : options.dims)
    if (dim != kHeadDim)
      report.rotations.push_back(check_rotation(options.rotation, dim, options.seed));
  for (std::size_t i = 0; i < quant::kKvSchemes; ++i) {
    const auto scheme = static_cast<quant::KvScheme>(i);
    TERN_TRY_VOID(watch.check());
    watch.report("vectors with structure", done++, total);
    TERN_TRY(const auto codec, quant::KvCodec::create(scheme, kHeadDim));
    if (codec.plain()) continue;
    TERN_TRY(auto row, with_cache(options, scheme));
    report.caches.push_back(std::move(row));
  }
  watch.report("vectors with structure", total, total);
  return report;
}

}  // namespace tern::eval
