// bench name: Attention / cache type / isa / tokens / depth. The family's attention layers: KV
// heads of 128 in turn (12, as 6 layers have, or what 64 MB of f16 hold), 16 query heads each.
// Items are multiplications, 2 x 128 for a query row and position; bytes are those of the cache.
#include <benchmark/benchmark.h>

#include <random>

#include "base/cpu.h"
#include "kernels/attention.h"
#include "tensor/buffer.h"

namespace tern::kernels {
namespace {

constexpr std::size_t kQueryHeads = 16, kDim = 128;

std::size_t benchmarked_heads(std::size_t depth) {
  return depth <= 16384 ? 12 : 2;
}

struct Head {
  std::vector<Buffer<std::byte>> pages;
  std::vector<const std::byte*> addresses;
};

/// Keys or values of all heads. The same pages again and again would do for speed, but not for the
/// caches.
struct Side {
  KvLayout layout;
  std::vector<Head> heads;

  Side(quant::KvScheme scheme, KvSide side, std::size_t tokens)
      : layout(*quant::KvCodec::create(scheme, kDim, 1), side), heads(benchmarked_heads(tokens)) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    Buffer<std::byte> page(layout.page_bytes());
    std::vector<float> x(kDim);
    for (std::size_t t = 0; t < kKvPageTokens; ++t) {
      for (float& each : x) each = normal(random);
      layout.write(page.data(), t, x);
    }
    for (Head& head : heads)
      for (std::size_t t = 0; t < tokens; t += kKvPageTokens) {
        head.pages.emplace_back(layout.page_bytes());
        std::copy_n(page.data(), page.size(), head.pages.back().data());
        head.addresses.push_back(head.pages.back().data());
      }
  }
  KvPages view(std::size_t head) const { return {heads[head].addresses, 0, &layout}; }
};

void attention(benchmark::State& state, quant::KvScheme scheme, Isa isa, std::size_t tokens,
               std::size_t depth) {
  const Side keys(scheme, KvSide::keys, depth), values(scheme, KvSide::values, depth);
  const std::size_t rows = tokens * kQueryHeads;
  std::vector<float> q(rows * kDim, 0.25f), out(rows * kDim);
  Buffer<float> scratch(attend_scratch(rows, kDim));
  const Queries queries = {q.data(),    out.data(),         tokens,
                           kQueryHeads, kQueryHeads * kDim, depth - tokens};
  std::size_t next = 0;
  for (auto _ : state) {
    const KvHead kv = {.main = {keys.view(next), values.view(next)}, .recent = {}};
    attend(kv, queries, scratch.span(), isa);
    benchmark::DoNotOptimize(out.data());
    next = (next + 1) % keys.heads.size();
  }
  const auto runs = static_cast<std::int64_t>(state.iterations());
  state.SetItemsProcessed(runs * static_cast<std::int64_t>(2 * kDim * rows * depth));
  state.SetBytesProcessed(
      runs * static_cast<std::int64_t>(2 * depth * keys.layout.codec().vector_bytes()));
}

const int registered = [] {
  using enum quant::KvScheme;
  for (const auto scheme :
       {f32, f16, bf16, q8_0, q4_0, affine4, turbo2, turbo3, turbo4, iso3, planar3})
    for (const Isa isa : {Isa::neon, Isa::avx2, Isa::avx512})
      for (const auto& [tokens, depth] :
           {std::pair(1uz, 1024uz), std::pair(1uz, 4096uz), std::pair(1uz, 16384uz),
            std::pair(1uz, 65536uz), std::pair(8uz, 4096uz), std::pair(8uz, 16384uz)})
        if (supported(isa))
          benchmark::RegisterBenchmark(
              ("Attention/" + std::string(quant::name(scheme)) + "/" + std::string(name(isa)) +
               "/" + std::to_string(tokens) + "/" + std::to_string(depth))
                  .c_str(),
              [=](benchmark::State& state) { attention(state, scheme, isa, tokens, depth); })
              ->Unit(benchmark::kMicrosecond);
  return 0;
}();

}  // namespace
}  // namespace tern::kernels
