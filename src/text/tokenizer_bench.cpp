#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "base/mapped_file.h"
#include "text/tokenizer.h"

namespace tern::text {
namespace {

/// The tokenizer.json that TERN_TOKENIZER names.
Result<MappedFile> file() {
  const char* path = std::getenv("TERN_TOKENIZER");
  return MappedFile::open(path == nullptr ? "tokenizer.json" : path);
}

void load(benchmark::State& state) {
  const auto json = file();
  if (!json) return state.SkipWithError("set TERN_TOKENIZER to a tokenizer.json");
  for (auto _ : state)
    benchmark::DoNotOptimize(Tokenizer::from_json(as_text(json->bytes()), "bench"));
}
BENCHMARK(load)->Unit(benchmark::kMillisecond);

/// A megabyte of one thing, over and over.
void encode(benchmark::State& state, const std::string& unit) {
  const auto json = file();
  if (!json) return state.SkipWithError("set TERN_TOKENIZER to a tokenizer.json");
  const auto tokenizer = Tokenizer::from_json(as_text(json->bytes()), "bench");
  if (!tokenizer) return state.SkipWithError("not a tokenizer");
  std::string text;
  while (text.size() < 1u << 20) text += unit;
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->encode(text));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK_CAPTURE(encode, prose, "The quick brown fox jumps over the lazy dog, 42 times. ");
BENCHMARK_CAPTURE(encode, code, "for (int i = 0; i < n; ++i) {\n    sum += values[i];\n}\n");
BENCHMARK_CAPTURE(encode, chinese, "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C");
BENCHMARK_CAPTURE(encode, one_letter, "a");
BENCHMARK_CAPTURE(encode, spaces, " ");

}  // namespace
}  // namespace tern::text
