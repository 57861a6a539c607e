// bench name: Linear / format / isa / tokens. One expert's up-projection, 1856 x 2688, one thread.
// Bytes are those of the stored weights: GB/s against the memory bandwidth is what decode can
// reach.
#include <benchmark/benchmark.h>

#include <algorithm>

#include "base/cpu.h"
#include "kernels/linear.h"
#include "quant/sample_matrix.h"

namespace tern::kernels {
namespace {

constexpr std::size_t kRows = 1856, kCols = 2688;

void linear(benchmark::State& state, const quant::Format& format, Isa isa, std::size_t tokens) {
  // Copies that do not fit the caches together, so that weights come from memory as in a model.
  quant::SampleMaker maker(1, /*tame=*/true);
  std::vector<quant::SampleMatrix> weights;
  for (std::uint64_t bytes = 0; bytes < (128u << 20); bytes += weights.back().matrix.bytes())
    weights.push_back(maker.make(format, kRows, kCols));
  const auto x = maker.floats(tokens * kCols);
  std::vector<float> y(tokens * kRows);

  Activations activations;
  const Isa before = active_isa();
  if (!select_isa(name(isa))) return state.SkipWithError("not on this CPU");
  std::size_t next = 0;
  for (auto _ : state) {
    activations.prepare(weights[next].matrix, x.data(), tokens, kCols, nullptr);
    activations.multiply(weights[next].matrix, 0, kRows, y.data(), kRows);
    benchmark::DoNotOptimize(y.data());
    next = (next + 1) % weights.size();
  }
  static_cast<void>(select_isa(name(before)));

  const auto runs = static_cast<std::int64_t>(state.iterations());
  state.SetBytesProcessed(runs * static_cast<std::int64_t>(weights[0].matrix.bytes()));
  state.counters["GFLOP/s"] = benchmark::Counter(
      2.0 * static_cast<double>(kRows * kCols * tokens) * static_cast<double>(runs) * 1e-9,
      benchmark::Counter::kIsRate);
}

/// Names of benchmarks hold no spaces.
std::string underscored(std::string text) {
  std::ranges::replace(text, ' ', '_');
  return text;
}

const int registered = [] {
  for (const quant::Format& format : quant::all_formats()) {
    if (kCols % format.unit() != 0) continue;
    if (format.scheme == quant::Scheme::mlx_affine &&
        (format.group != 64 || format.scale_type != DType::bf16))
      continue;
    for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx})
      for (const std::size_t tokens : {1uz, 4uz, 8uz, 32uz, 128uz})
        if (supported(isa))
          benchmark::RegisterBenchmark(
              ("Linear/" + underscored(format.label()) + "/" + std::string(name(isa)) + "/" +
               std::to_string(tokens))
                  .c_str(),
              [=](benchmark::State& state) { linear(state, format, isa, tokens); })
              ->Unit(benchmark::kMicrosecond);
  }
  return 0;
}();

}  // namespace
}  // namespace tern::kernels
