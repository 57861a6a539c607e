// What the codecs lose on vectors: the table of the TurboQuant paper and its relatives, measured.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "eval/reading.h"
#include "eval/statistics.h"
#include "quant/distortion.h"

namespace tern::eval {

struct DistortionOptions {
  std::vector<std::size_t> dims = {128, 1536};
  std::vector<unsigned> bits = {1, 2, 3, 4};
  quant::RotationKind rotation = quant::RotationKind::hadamard;
  std::size_t vectors = 100'000;   ///< random unit vectors
  std::size_t structured = 4'000;  ///< vectors with channel structure, dimension 128
  std::uint64_t seed = 1;
};

/// How far a rotation is from orthogonal: the largest |R^T R - I| over up to 128 columns, and the
/// largest |R^T R x - x| over random unit vectors x.
struct Orthogonality {
  std::string rotation;
  std::size_t dim = 0;
  double gram = 0, round_trip = 0;
};

/// Relative error E |x - x'|^2 / |x|^2 on one kind of data each.
struct StructureRow {
  std::string codec;             ///< "hadamard, 4 bits", or a cache type
  double bits_per_value;         ///< everything included
  std::vector<Estimate> errors;  ///< in the order of DistortionReport::data
};

struct DistortionReport {
  struct Row {
    std::size_t dim;
    quant::Distortion distortion;
  };
  std::vector<Row> rows;
  std::vector<Orthogonality> rotations;
  std::vector<std::string> data;        ///< kinds of the structured vectors
  std::vector<StructureRow> codebooks;  ///< each rotation with the codebooks of 3 and 4 bits
  std::vector<StructureRow> caches;     ///< the cache types
};

/// @error unsupported  bits or a dimension outside TurboQuant's. @error cancelled
Result<DistortionReport> measure(const DistortionOptions& options, ThreadPool& pool,
                                 const Watch& watch);

}  // namespace tern::eval
