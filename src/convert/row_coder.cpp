#include "convert/row_coder.h"

#include <algorithm>
#include <cmath>

#include "convert/release_pages.h"

namespace tern::convert {
namespace {

/// Sum of squares and largest magnitude, sixteen at a time so that the loop is made of vectors. A
/// weight that is not finite makes the largest one so.
void measure(std::span<const float> row, double& square, float& largest) {
  constexpr std::size_t kLanes = 16;
  float sums[kLanes] = {}, most[kLanes] = {}, odd[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= row.size(); i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) {
      const float value = row[i + j];
      sums[j] += value * value;
      most[j] = std::max(most[j], std::abs(value));
      odd[j] += value - value;  // 0, or NaN for what is not finite
    }
  for (std::size_t j = 0; i < row.size(); ++i, ++j) {
    sums[j] += row[i] * row[i];
    most[j] = std::max(most[j], std::abs(row[i]));
    odd[j] += row[i] - row[i];
  }
  square = 0;
  largest = 0;
  for (std::size_t j = 0; j < kLanes; ++j) {
    square += static_cast<double>(sums[j]);
    largest = std::max(largest, most[j] + odd[j]);
    if (odd[j] != 0) largest = INFINITY;
  }
}

/// Rows that have been read need no memory.
void release_rows(const quant::Matrix& rows) {
  release_pages({rows.codes, rows.rows * rows.code_stride});
  if (rows.scales != nullptr) release_pages({rows.scales, rows.rows * rows.scale_stride});
  if (rows.biases != nullptr) release_pages({rows.biases, rows.rows * rows.scale_stride});
}

std::size_t plane_bytes(const PlaneLayout& plane) {
  const auto bytes = checked_row_bytes(plane.type, plane.extent);
  return static_cast<std::size_t>(bytes.value_or(0));
}

}  // namespace

/// Buffers of a coding's planes: a slab of codes, and all of the others, which are small.
struct RowCoder::Planes {
  std::size_t stride[3] = {0, 0, 0};
  std::vector<std::byte> data[3];
  std::size_t rows_before = 0;  ///< of the slab

  Planes(const Coding& coding, std::size_t slab_rows) {
    const auto layout = coding.format->planes(coding.cols());
    for (std::size_t p = 0; p < layout.size(); ++p) {
      stride[p] = plane_bytes(layout[p]);
      data[p].resize(stride[p] * (p == 0 ? slab_rows : coding.rows()));
    }
  }
  /// Of row `row` of the slab.
  RowPlanes at(std::size_t row) {
    const auto part = [&](std::size_t p, std::size_t index) {
      return std::span(data[p]).subspan(index * stride[p], stride[p]);
    };
    return {part(0, row), part(1, rows_before + row), part(2, rows_before + row)};
  }
};

Result<void> RowCoder::run(const Coding& coding, const std::string& name, const Sink& sink,
                           const std::function<bool(std::uint64_t)>& slab_done) {
  const std::size_t slab =
      std::max<std::size_t>(1, kSlabWeights / std::max<std::size_t>(1, coding.cols()));
  Planes planes(coding, slab);
  const bool each = coding.importance.size() > coding.cols();
  for (std::size_t m = 0; m < coding.matrices.size(); ++m) {
    const quant::Matrix& matrix = coding.matrices[m];
    const auto importance =
        each ? coding.importance.subspan(m * coding.cols(), coding.cols()) : coding.importance;
    for (std::size_t first = 0; first < matrix.rows; first += slab) {
      const std::size_t count = std::min(slab, matrix.rows - first);
      std::vector<RowSums> sums(count);
      code_rows(coding, matrix, first, importance, planes, sums);
      TERN_TRY_VOID(add(sums, *coding.format, name));
      const auto bytes = std::span(planes.data[0]).first(count * planes.stride[0]);
      TERN_TRY_VOID(sink(0, bytes));
      release_rows(matrix.slice(first, count));
      planes.rows_before += count;
      if (!slab_done(bytes.size())) return fail(ErrorCode::cancelled, "interrupted");
    }
  }
  for (std::size_t p = 1; p < 3; ++p) {
    if (planes.stride[p] == 0) continue;
    TERN_TRY_VOID(sink(p, planes.data[p]));
    if (!slab_done(planes.data[p].size())) return fail(ErrorCode::cancelled, "interrupted");
  }
  return {};
}

void RowCoder::try_rows(const Coding& coding, std::size_t rows) {
  Coding part{.matrices = {coding.matrices.front().slice(0, rows)}, .format = coding.format};
  if (!coding.importance.empty()) part.importance = coding.importance.first(coding.cols());
  Planes planes(part, rows);
  std::vector<RowSums> sums(rows);
  code_rows(part, part.matrices.front(), 0, part.importance, planes, sums);
}

void RowCoder::code_rows(const Coding& coding, const quant::Matrix& matrix, std::size_t first,
                         std::span<const float> importance, Planes& planes,
                         std::vector<RowSums>& sums) {
  const bool takes = coding.format->takes(matrix);
  const std::size_t grain =
      std::max<std::size_t>(1, kGrainWeights / std::max<std::size_t>(1, matrix.cols));
  pool_.parallel_for(sums.size(), grain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> w(takes ? 0 : matrix.cols);
    for (std::size_t row = begin; row < end; ++row) {
      const RowPlanes out = planes.at(row);
      if (takes) {
        coding.format->take(matrix, first + row, out);
        continue;
      }
      decode_row(matrix, first + row, w);
      RowSums& sum = sums[row];
      measure(w, sum.square, sum.largest);
      if (sum.largest <= coding.format->largest())
        sum.error = coding.format->encode(w, importance, out);
    }
  });
  if (!takes) coded_ += std::uint64_t{sums.size()} * matrix.cols;
}

Result<void> RowCoder::add(const std::vector<RowSums>& sums, const RowFormat& format,
                           const std::string& name) {
  for (const RowSums& row : sums) {
    if (!std::isfinite(row.largest))
      return fail(ErrorCode::corrupt, "a weight is not finite", name);
    if (row.largest > format.largest())
      return fail(ErrorCode::unsupported,
                  "a weight of " + std::to_string(row.largest) + ", " + format.label() +
                      " holds up to " + std::to_string(format.largest()),
                  name);
    error_ += row.error;
    square_ += row.square;
  }
  return {};
}

}  // namespace tern::convert
