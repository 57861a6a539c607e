// mlx-lm's filters and their order: top-p, min-p, XTC, top-k, each over log-probabilities at
// temperature 1, and then one draw at the temperature. (The engine's own sampler follows
// transformers instead: temperature first.)
#pragma once
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace tern_python {

/// Removed tokens are -inf. `x` are log-probabilities, or logits: only differences count.

/// Keeps the likeliest tokens that the others outweigh: a token goes when those above it have a
/// mass of at least `top_p`. Tokens as likely as the last one stay too.
void apply_top_p(std::span<float> x, float top_p);
/// Keeps tokens of at least `min_p` times the probability of the likeliest, and the `keep`
/// likeliest.
void apply_min_p(std::span<float> x, float min_p, std::size_t keep);
/// Keeps the `top_k` likeliest; among equals the lowest ids.
void apply_top_k(std::span<float> x, std::size_t top_k);
/// "Exclude top choices": removes every token above `threshold` but the least likely of them.
/// @param special  ids that stay in any case; those outside `x` are ignored
void apply_xtc(std::span<float> x, float threshold, std::span<const std::uint32_t> special);

/// Index of the largest value, the lowest among equals. `x` is not empty.
std::uint32_t argmax(std::span<const float> x);

struct ChainOptions {
  float temp = 0.0f;  ///< 0: greedy, without any filter
  float top_p = 0.0f;
  float min_p = 0.0f;
  std::size_t min_tokens_to_keep = 1;
  std::size_t top_k = 0;
  float xtc_probability = 0.0f;
  float xtc_threshold = 0.1f;
  std::vector<std::uint32_t> xtc_special_tokens;
};

/// Belongs to one thread at a time.
class ChainSampler {
 public:
  ChainSampler(ChainOptions options, std::uint64_t seed)
      : options_(std::move(options)), random_(seed) {}

  /// @param x  logits or log-probabilities, not empty
  /// @return whether one could be chosen: none when every value is -inf or one is NaN
  bool sample(std::span<const float> x, std::uint32_t& token);
  void seed(std::uint64_t value) { random_.seed(value); }

 private:
  void filter(std::span<float> x);
  std::uint32_t draw(std::span<const float> x, float largest);
  double uniform();

  ChainOptions options_;
  std::mt19937_64 random_;
  std::vector<float> scores_;
};

}  // namespace tern_python
