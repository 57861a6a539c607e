// What quantization costs, measured: the table of the TurboQuant paper on random unit vectors, and
// the error on vectors with the structure that keys have.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "quant/rotation.h"

namespace tern::quant {

/// A mean, and its standard error.
struct Estimate {
  double value = 0;
  double error = 0;
};

struct Distortion {
  unsigned bits = 0;
  Estimate mse;                     ///< MSE: E |u - u'|^2
  double mse_theory = 0;            ///< of the codebook
  Estimate prod_bias;               ///< PROD: E <u, u'> - 1
  Estimate prod_variance;           ///< PROD: E (<y, u'> - <y, u>)^2, y a unit vector apart from u
  double prod_variance_theory = 0;  ///< pi / 2 mse_theory(bits - 1) / dim
};

struct DistortionTask {
  std::size_t dim = 128;
  std::vector<unsigned> bits = {1, 2, 3, 4};
  RotationKind rotation = RotationKind::hadamard;
  std::size_t vectors = 100'000;
  std::uint64_t seed = 0;
  bool prod = true;  ///< false leaves the figures of PROD zero
};

/// The distortion of random unit vectors. Each 256 vectors have a rotation (haar above 256
/// dimensions: one for all) and a projection S of their own, so that the standard errors hold for
/// the draw of the matrices too. The result depends on the task alone, not on the threads.
///
/// @param progress  called with the number of vectors done, from any thread, one call at a time;
///                  false stops the measurement
/// @cost  PROD: (2 + bits.size()) dim^2 multiplications a vector
/// @error unsupported  bits or dimension outside TurboQuant's. @error cancelled
Result<std::vector<Distortion>> measure_distortion(
    const DistortionTask& task, ThreadPool& pool,
    const std::function<bool(std::size_t)>& progress = {});

/// Vectors with and without structure.
enum class SampleKind : std::uint8_t {
  gaussian,            ///< independent N(0, 1)
  outlier_channels,    ///< four channels ten times as large
  lognormal_channels,  ///< channel scales exp(N(0, 1))
  shifted_channels,    ///< six channels with a constant mean of 8
};
std::string_view name(SampleKind kind);

/// E (|x - x'|^2 / |x|^2) over `vectors` vectors of `dim`. Which channels are special, and how,
/// is drawn anew every 100 vectors.
/// @param round_trip  (x, x'): encodes x and decodes it into x'
Estimate relative_error(
    SampleKind kind, std::size_t dim, std::size_t vectors, std::uint64_t seed,
    const std::function<void(std::span<const float>, std::span<float>)>& round_trip);

}  // namespace tern::quant
