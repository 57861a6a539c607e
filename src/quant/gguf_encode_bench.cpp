// Weights a second of each encoder, on one thread.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "quant/gguf_encode.h"
#include "quant/random.h"

namespace tern::quant {
namespace {

void encode(benchmark::State& state, DType type, GgufFit fit) {
  Random random(1);
  std::vector<float> row(4096);
  for (float& value : row) value = 0.02f * static_cast<float>(random.normal());
  std::vector<std::byte> out(*checked_row_bytes(type, row.size()));
  double error = 0;
  for (auto _ : state) error += encode_gguf_row(type, row, {}, fit, out);
  benchmark::DoNotOptimize(error);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(row.size()));
}

const bool registered = [] {
  for (std::size_t i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    if (!is_block_type(type)) continue;
    for (const GgufFit fit : {GgufFit::searched, GgufFit::reference}) {
      if (!can_encode_gguf(type, fit)) continue;
      const std::string label = "encode/" + std::string(name(type)) +
                                (fit == GgufFit::reference ? "/reference" : "/searched");
      benchmark::RegisterBenchmark(label.c_str(), encode, type, fit);
    }
  }
  return true;
}();

}  // namespace
}  // namespace tern::quant
