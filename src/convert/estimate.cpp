#include "convert/estimate.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <string_view>

#include "convert/row_coder.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::uint64_t weights_of(const quant::Matrix& matrix) {
  return std::uint64_t{matrix.rows} * matrix.cols;
}

/// Touches every page, as conversion does: by all threads at once. Seconds.
double try_reading(Bytes bytes, ThreadPool& pool) {
  constexpr std::size_t kPage = 4096;
  const auto start = Clock::now();
  pool.parallel_for(
      (bytes.size() + kPage - 1) / kPage, 64, [&](std::size_t begin, std::size_t end) {
        for (std::size_t page = begin; page < end; ++page)
          static_cast<void>(*static_cast<const volatile std::byte*>(&bytes[page * kPage]));
      });
  return seconds_since(start);
}

/// Seconds for a weight, by a loop as long as that of the conversion, or long enough. The rows are
/// read before, so that no disk is measured.
double try_coding(const Coding& coding, ThreadPool& pool) {
  constexpr double kEnough = 0.1;  // seconds
  const quant::Matrix& matrix = coding.matrices.front();
  const std::size_t cols = std::max<std::size_t>(1, matrix.cols);
  const std::size_t most = std::min(matrix.rows, RowCoder::kSlabWeights / cols + 1);
  RowCoder coder(pool);
  std::size_t rows = pool.size() * RowCoder::kGrainWeights / cols + 1;
  while (true) {
    rows = std::min(rows, most);
    try_reading({matrix.codes, rows * matrix.code_stride}, pool);
    const auto start = Clock::now();
    coder.try_rows(coding, rows);
    const double seconds = seconds_since(start);
    if (seconds >= kEnough || rows == most)
      return seconds / static_cast<double>(std::uint64_t{rows} * cols);
    rows *= 2;
  }
}

/// Seconds for a weight of each kind of coding, by the largest tensor: `how` says from what to
/// what.
std::map<std::string_view, double> try_kinds(const Plan& plan, ThreadPool& pool) {
  std::map<std::string_view, const Coding*> largest;
  for (const PlannedFile& file : plan.files)
    for (const PlannedTensor& tensor : file.tensors) {
      const auto* coding = std::get_if<Coding>(&tensor.from);
      if (coding == nullptr || coding->rows() == 0) continue;
      const Coding*& best = largest[tensor.how];
      if (best == nullptr ||
          weights_of(coding->matrices.front()) > weights_of(best->matrices.front()))
        best = coding;
    }
  std::map<std::string_view, double> out;
  for (const auto& [kind, coding] : largest) out[kind] = try_coding(*coding, pool);
  return out;
}

/// What a tensor is made from, where that lies in the source's files.
std::vector<Bytes> sources_of(const PlannedTensor& tensor) {
  std::vector<Bytes> out;
  if (const auto* coding = std::get_if<Coding>(&tensor.from)) {
    for (const quant::Matrix& matrix : coding->matrices) {
      out.emplace_back(matrix.codes, matrix.rows * matrix.code_stride);
      for (const std::byte* plane : {matrix.scales, matrix.biases})
        if (plane != nullptr) out.emplace_back(plane, matrix.rows * matrix.scale_stride);
    }
  } else if (const auto* stored = std::get_if<const Tensor*>(&tensor.from)) {
    out.push_back((*stored)->data);
  }
  return out;
}

std::uint64_t size_of(const std::vector<Bytes>& parts) {
  return std::accumulate(parts.begin(), parts.end(), std::uint64_t{0},
                         [](std::uint64_t sum, Bytes part) { return sum + part.size(); });
}

/// Seconds for a byte of the source, by pieces spread over it: some of it may be in memory already.
double try_source(const Plan& plan, ThreadPool& pool) {
  constexpr std::size_t kPiece = std::size_t{2} << 20;
  constexpr std::uint64_t kPieces = 24;
  constexpr double kEnough = 0.3;  // seconds
  std::vector<Bytes> parts;
  for (const PlannedFile& file : plan.files)
    for (const PlannedTensor& tensor : file.tensors)
      for (const Bytes part : sources_of(tensor)) parts.push_back(part);
  const std::uint64_t total = size_of(parts), step = total / kPieces + 1;
  std::uint64_t begin = 0, next = step / 2, tried = 0;
  double seconds = 0;
  for (const Bytes part : parts) {
    for (; next < begin + part.size() && seconds < kEnough; next += step) {
      const std::size_t at = next - begin;
      const Bytes piece = part.subspan(at, std::min({kPiece, part.size() - at, step}));
      seconds += try_reading(piece, pool);
      tried += piece.size();
    }
    begin += part.size();
  }
  return tried == 0 ? 0 : seconds / static_cast<double>(tried);
}

}  // namespace

Estimate estimate(const Plan& plan, ThreadPool& pool, double write_rate) {
  const double read_byte = try_source(plan, pool);
  const auto kinds = try_kinds(plan, pool);
  Estimate out;
  for (const PlannedFile& file : plan.files) {
    std::vector<double>& costs = out.tensors.emplace_back();
    for (const PlannedTensor& tensor : file.tensors) {
      const auto* coding = std::get_if<Coding>(&tensor.from);
      const auto found = coding == nullptr ? kinds.end() : kinds.find(tensor.how);
      const double codes =
          found == kinds.end() ? 0 : found->second * static_cast<double>(tensor.elements());
      const double reads = read_byte * static_cast<double>(size_of(sources_of(tensor)));
      const double writes = static_cast<double>(tensor.bytes()) / write_rate;
      out.coding += codes;
      out.reading += reads;
      out.writing += writes;
      costs.push_back(codes + reads + writes);
    }
  }
  return out;
}

double measure_write_rate(const fs::path& destination, std::uint64_t bytes) {
  if (bytes < 100'000'000) return kAssumedWriteRate;
#ifdef O_TMPFILE
  constexpr std::size_t kMost = std::size_t{128} << 20, kPiece = std::size_t{8} << 20;
  constexpr double kEnough = 0.4;  // seconds
  std::error_code error;
  fs::path folder = fs::absolute(destination, error);
  do folder = folder.parent_path();
  while (!fs::is_directory(folder, error) && folder.has_relative_path());
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return kAssumedWriteRate;
  const std::vector<std::byte> piece(kPiece, std::byte{0x5a});
  std::size_t written = 0;
  double seconds = 0;
  const auto start = Clock::now();
  for (std::size_t next = kPiece; next <= kMost && seconds < kEnough; next *= 2) {
    while (written < next && ::write(fd, piece.data(), kPiece) == static_cast<ssize_t>(kPiece))
      written += kPiece;
    if (written < next || ::fdatasync(fd) != 0) break;
    seconds = seconds_since(start);
  }
  ::close(fd);
  if (seconds > 0) return static_cast<double>(written) / seconds;
#endif
  return kAssumedWriteRate;
}

Work::Work(const Plan& plan, const Estimate* estimate)
    : plan_(plan), seconds_(estimate != nullptr) {
  if (estimate != nullptr) costs_ = estimate->tensors;
  if (estimate == nullptr)
    for (const PlannedFile& file : plan.files) {
      std::vector<double>& costs = costs_.emplace_back();
      for (const PlannedTensor& tensor : file.tensors)
        costs.push_back(static_cast<double>(tensor.bytes()));
    }
  for (const auto& costs : costs_) total_ = std::accumulate(costs.begin(), costs.end(), total_);
}

void Work::skip(std::size_t files, std::size_t tensors) {
  for (std::size_t f = 0; f <= files && f < costs_.size(); ++f)
    for (std::size_t t = 0; t < costs_[f].size() && (f < files || t < tensors); ++t)
      skipped_ += costs_[f][t];
}

void Work::add(std::size_t file, std::size_t tensor, std::uint64_t bytes) {
  const std::uint64_t all = plan_.files[file].tensors[tensor].bytes();
  if (all > 0)
    done_ += costs_[file][tensor] * static_cast<double>(bytes) / static_cast<double>(all);
}

double Work::part() const {
  return total_ > 0 ? std::min(1.0, (skipped_ + done_) / total_) : 1.0;
}

double Work::seconds_left(double elapsed) const {
  // As if the first seconds had gone as estimated.
  const double trusted = seconds_ ? std::min(10.0, 0.05 * total_) : 0;
  const double left = std::max(0.0, total_ - skipped_ - done_);
  return done_ + trusted > 0 ? left * (elapsed + trusted) / (done_ + trusted) : 0;
}

}  // namespace tern::convert
