// From logits to the next token.
//
// Order, as in transformers: repetition penalty, presence and frequency penalties, logit bias,
// bans; then temperature, top-k, top-p, min-p, and one draw.
#pragma once
#include <cstdint>
#include <span>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "engine/portable.h"

namespace tern::engine {

/// What SamplingOptions mean once every default is filled in; every value lies in its range.
struct Sampling {
  float temperature = 0.0f;  ///< 0: greedy
  std::size_t top_k = 0;     ///< 0: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  std::size_t repetition_window = 64;  ///< 0: all
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
};

/// @error usage  a value outside its range: option, value and range
Result<void> check(const Sampling& sampling);

/// Fills what `options` leave open from `defaults`. A default top_k holds only together with the
/// other defaults: who asks for a temperature, top_p or min_p does not get a top_k unasked.
/// @error usage  as check; a bias for an id that is not in the vocabulary
Result<Sampling> resolve(const SamplingOptions& options, const Sampling& defaults,
                         std::size_t vocabulary);

/// Chooses tokens. Holds the random state and the scratch memory of one generation.
class Sampler {
 public:
  /// @param bias    added to logits; -100 and below bans. Ids must lie in the vocabulary.
  /// @param banned  ids that are never chosen; those outside the vocabulary are ignored
  Sampler(const Sampling& sampling, const std::map<TokenId, float>& bias,
          std::vector<TokenId> banned, std::uint64_t seed);

  /// The next token. The same logits, history and seed give the same token on every platform.
  ///
  /// @param logits     [vocabulary]
  /// @param history    tokens so far, prompt and answer: the repetition penalty divides positive
  ///                   and multiplies negative logits of those in its last `repetition_window`
  /// @param generated  how many of the last of `history` were generated: presence and frequency
  ///                   penalties count those in the same window, as OpenAI defines them
  /// @error numeric  a logit that is not finite, naming token and value
  /// @error usage    every token is banned
  /// @cost  O(vocabulary + k log k), k tokens kept
  Result<TokenId> sample(std::span<const float> logits, std::span<const TokenId> history,
                         std::size_t generated);

  /// A token that may be chosen. Weights are relative to the likeliest token's, which is 1.
  struct Candidate {
    double weight;
    TokenId id;
  };

  /// The tokens that `sample` draws from, in no particular order; valid until the next call.
  /// Greedy: the best one alone. Same errors.
  Result<std::span<const Candidate>> candidates(std::span<const float> logits,
                                                std::span<const TokenId> history,
                                                std::size_t generated);

 private:
  void penalize(std::span<const TokenId> history, std::size_t generated);
  void weigh(float largest);
  void keep_top_k();
  void keep_top_p();
  void rank(std::size_t from, std::size_t to);
  TokenId draw();

  Sampling sampling_;
  std::vector<std::pair<TokenId, float>> bias_;
  std::vector<TokenId> banned_;
  Random random_;
  std::vector<float> scores_;          // adjusted logits, [vocabulary]
  std::vector<std::uint32_t> counts_;  // in the window, by token; all zero between calls
  std::vector<Candidate> candidates_;
};

/// Index of the largest value, the lowest among equals. `values` is not empty and holds no NaN.
TokenId argmax(std::span<const float> values);

}  // namespace tern::engine
