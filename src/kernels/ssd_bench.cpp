// bench name: Ssd / isa / what, at the model's shape: 8 groups of 8 heads, 64 x 128 a head, one
// thread. "prompt" is a full block of one layer, per token; "token" is one token of 23 layers,
// whose states come from memory as in decoding. Limits: a prompt token needs 2 fused multiply-adds
// for each of the 524288 values of the state, a generated one reads the state once.
#include <benchmark/benchmark.h>

#include "kernels/guarded.h"
#include "kernels/ssd.h"
#include "tensor/buffer.h"

namespace tern::kernels {
namespace {

constexpr std::size_t kGroups = 8, kLayers = 23;
constexpr SsdShape kShape = {.heads = 8, .head_dim = 64, .state_size = 128};

struct Inputs {
  std::vector<float> x = normal(kShape.x_values(), 1), b = normal(kShape.b_values(), 2);
  std::vector<float> c = normal(kShape.b_values(), 3);
  std::vector<float> delta = std::vector<float>(kSsdTokens * kShape.heads, 0.05f);
  std::vector<float> a = std::vector<float>(kShape.heads, -1.0f), d = a, scratch;
  std::vector<float> y = std::vector<float>(kSsdTokens * kShape.heads * kShape.head_dim);
  Buffer<float> kept;

  explicit Inputs(std::size_t groups)
      : scratch(2 * kShape.b_values()), kept(groups * kShape.kept_values()) {}

  SsdBlock block(std::size_t group, std::size_t first, std::size_t last) {
    return {.shape = kShape,
            .first = first,
            .last = last,
            .x = x.data(),
            .b = b.data(),
            .c = c.data(),
            .delta = delta.data(),
            .a = a.data(),
            .d = d.data(),
            .scratch = scratch.data(),
            .kept = kept.data() + group * kShape.kept_values(),
            .y = y.data(),
            .y_stride = kShape.heads * kShape.head_dim};
  }
};

void prompt(benchmark::State& state, Isa isa) {
  Inputs inputs(kGroups);
  for (auto _ : state) {
    for (std::size_t g = 0; g < kGroups; ++g) ssd(isa).block(inputs.block(g, 0, kSsdTokens));
    benchmark::DoNotOptimize(inputs.y.data());
  }
  const auto tokens = static_cast<double>(state.iterations() * kSsdTokens);
  state.counters["tokens/s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
  state.counters["GFLOP/s"] =
      benchmark::Counter(tokens * 4 * 524288e-9, benchmark::Counter::kIsRate);
}

void token(benchmark::State& state, Isa isa) {
  Inputs inputs(kGroups * kLayers);
  std::size_t t = 0;
  for (auto _ : state) {
    for (std::size_t g = 0; g < kGroups * kLayers; ++g)
      ssd(isa).block(inputs.block(g, t % kSsdTokens, t % kSsdTokens + 1));
    benchmark::DoNotOptimize(inputs.y.data());
    ++t;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kLayers * 524288 * 4));
}

const int registered = [] {
  for (const Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512})
    if (supported(isa)) {
      const std::string base = "Ssd/" + std::string(name(isa));
      benchmark::RegisterBenchmark((base + "/prompt").c_str(), [=](benchmark::State& state) {
        prompt(state, isa);
      })->Unit(benchmark::kMicrosecond);
      benchmark::RegisterBenchmark((base + "/token").c_str(), [=](benchmark::State& state) {
        token(state, isa);
      })->Unit(benchmark::kMicrosecond);
    }
  return 0;
}();

}  // namespace
}  // namespace tern::kernels
