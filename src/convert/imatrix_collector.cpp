#include "convert/imatrix_collector.h"

#include <algorithm>
#include <cmath>

#include "formats/gguf_writer.h"
#include "quant/turbo_weights.h"

namespace tern::convert {
namespace {

constexpr std::size_t kColumns = 512;  // that one thread adds at a time: 4 KiB of sums

const float* row(const model::Inputs& inputs, std::size_t i) {
  const std::size_t at = inputs.rows.empty() ? i : inputs.rows[i];
  return inputs.x + at * inputs.weight.cols;
}

/// sums[i] += x[i]^2
void add_squares(const float* x, std::size_t n, double* sums) {
  for (std::size_t i = 0; i < n; ++i)
    sums[i] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
}

/// The columns of one product that one thread adds.
struct Piece {
  const model::Inputs* inputs;
  double* sums;
  std::size_t first, count;

  void add() const {
    if (!inputs->weight.rotated()) {
      for (std::size_t i = 0; i < inputs->count; ++i)
        add_squares(row(*inputs, i) + first, count, sums + first);
      return;
    }
    std::vector<float> plain(inputs->weight.cols);
    for (std::size_t i = 0; i < inputs->count; ++i) {
      std::copy_n(row(*inputs, i), plain.size(), plain.begin());
      quant::unrotate_inputs(inputs->weight.signs, plain.data(), plain.size());
      add_squares(plain.data(), plain.size(), sums);
    }
  }
};

}  // namespace

ImatrixCollector::ImatrixCollector(const Source& source, bool head) {
  for (const SourceTensor& tensor : source.tensors()) {
    const bool is_head = tensor.hf == "lm_head.weight";
    if (!tensor.is_matrix() || tensor.role == model::Role::embedding || (is_head && !head))
      continue;
    const std::size_t matrices = tensor.matrices.size(), inputs = tensor.matrices.front().cols;
    sums_.push_back({tensor.gguf, inputs, std::vector<double>(matrices * inputs),
                     std::vector<std::uint64_t>(matrices)});
    for (std::size_t m = 0; m < matrices; ++m)
      slots_[tensor.matrices[m].codes] = {sums_.size() - 1, m};
  }
}

void ImatrixCollector::see(std::span<const model::Inputs> products, ThreadPool& pool) {
  std::vector<Piece> pieces;
  for (const model::Inputs& inputs : products) {
    const auto slot = slots_.find(inputs.weight.codes);
    if (slot == slots_.end()) continue;
    Sums& sums = sums_[slot->second.sums];
    sums.counts[slot->second.matrix] += inputs.count;
    double* const squares = sums.squares.data() + slot->second.matrix * sums.inputs;
    // A rotation needs whole rows.
    const std::size_t width = inputs.weight.rotated() ? sums.inputs : kColumns;
    for (std::size_t first = 0; first < sums.inputs; first += width)
      pieces.push_back({&inputs, squares, first, std::min(width, sums.inputs - first)});
  }
  pool.parallel_for(pieces.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) pieces[i].add();
  });
}

ImatrixCollector::Summary ImatrixCollector::summary() const {
  Summary summary{.tensors = sums_.size()};
  for (const Sums& sums : sums_) {
    summary.matrices += sums.counts.size();
    summary.unseen += static_cast<std::size_t>(std::ranges::count(sums.counts, 0u));
  }
  return summary;
}

Result<void> ImatrixCollector::write(const std::filesystem::path& path, const Text& text) const {
  std::vector<const Sums*> sorted;
  for (const Sums& sums : sums_) sorted.push_back(&sums);
  std::ranges::sort(sorted, {}, &Sums::name);
  std::vector<formats::TensorPlan> plan;
  for (const Sums* sums : sorted) {
    const std::uint64_t matrices = sums->counts.size();
    plan.push_back({sums->name + ".in_sum2", DType::f32, {matrices, sums->inputs}});
    plan.push_back({sums->name + ".counts", DType::f32, {matrices, 1}});
  }
  const std::vector<formats::GgufKey> keys = {
      {"general.type", std::string("imatrix")},
      {"imatrix.datasets", std::vector<std::string>{text.name}},
      {"imatrix.chunk_count", text.chunks},
      {"imatrix.chunk_size", text.chunk_tokens}};
  TERN_TRY(auto file, formats::GgufWriter::create(path, keys, plan));
  for (const Sums* sums : sorted) {
    const std::vector<float> squares(sums->squares.begin(), sums->squares.end());
    const std::vector<float> counts(sums->counts.begin(), sums->counts.end());
    if (!std::ranges::all_of(squares, [](float value) { return std::isfinite(value); }))
      return fail(ErrorCode::numeric, "a sum of squared inputs is beyond float32", sums->name,
                  "a broken model file");
    TERN_TRY_VOID(file.write(sums->name + ".in_sum2", std::as_bytes(std::span(squares))));
    TERN_TRY_VOID(file.write(sums->name + ".counts", std::as_bytes(std::span(counts))));
  }
  return file.commit();
}

}  // namespace tern::convert
