// For tests: the golden cases under tests/golden/model, and how close logits must be.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/test_paths.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"
#include "model/forward.h"

namespace tern::model {

inline const char* const kGoldenCases[] = {
    "all-kinds",  "attention-only", "biases",    "eight-groups", "fused-experts", "grouped-routing",
    "gguf-mixed", "gguf-q8_0",      "latent",    "long",         "mlx-affine",    "mlx-mxfp4",
    "mamba-only", "no-shared",      "one-group", "tied"};

inline std::filesystem::path golden_folder(const std::string& name) {
  return std::filesystem::path(source_dir()) / "tests/golden/model" / name;
}

struct Golden {
  std::vector<TokenId> tokens;
  std::vector<float> logits;  // [tokens, vocab]
};

inline Golden read_golden(const std::filesystem::path& path) {
  Golden golden;
  const auto file = MappedFile::open(path);
  if (!file) {
    ADD_FAILURE() << file.error().message();
    return golden;
  }
  const auto read = formats::read_safetensors(file->bytes(), path.string());
  if (!read) {
    ADD_FAILURE() << read.error().message();
    return golden;
  }
  const Tensor& tokens = *read->tensors.find("tokens");
  const Tensor& logits = *read->tensors.find("logits");
  golden.tokens.resize(tokens.elements());
  std::memcpy(golden.tokens.data(), tokens.data.data(), tokens.data.size());
  golden.logits.resize(logits.elements());
  std::memcpy(golden.logits.data(), logits.data.data(), logits.data.size());
  return golden;
}

/// ||a - b|| / ||b||
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return 1e30;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

/// All logits of `tokens`, fed in pieces of `cut` tokens (0: all at once).
inline Result<std::vector<float>> all_logits(Model& model, std::span<const TokenId> tokens,
                                             std::size_t cut, ThreadPool& pool,
                                             const state::KvConfig& kv = state::KvScheme::f32) {
  const std::size_t vocab = model.config().vocab_size;
  std::vector<float> logits(tokens.size() * vocab);
  TERN_TRY(auto sequence, model.new_sequence(kv, tokens.size()));
  const std::size_t step = cut == 0 ? tokens.size() : cut;
  for (std::size_t begin = 0; begin < tokens.size(); begin += step) {
    const std::size_t n = std::min(step, tokens.size() - begin);
    TERN_TRY_VOID(model.forward(tokens.subspan(begin, n), sequence, LogitsMode::all,
                                std::span(logits).subspan(begin * vocab, n * vocab), pool));
  }
  return logits;
}

}  // namespace tern::model
