#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tern::engine {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();
constexpr float kBanningBias = -100.0f;

std::unexpected<Error> out_of_range(std::string_view option, auto value, std::string_view range) {
  return fail(ErrorCode::usage, fmt::format("{} is {}, must be {}", option, value, range),
              std::string(option));
}

Result<void> check(const std::map<TokenId, float>& bias, std::size_t vocabulary) {
  for (const auto& [id, value] : bias) {
    if (id >= vocabulary)
      return out_of_range("logit_bias", fmt::format("for token {}", id),
                          fmt::format("for a token below {}", vocabulary));
    if (std::isnan(value) || value == std::numeric_limits<float>::infinity())
      return out_of_range("logit_bias", fmt::format("{} for token {}", value, id), "a number");
  }
  return {};
}

/// Keeps finite what a penalty or a bias pushes over the edge.
float clamped(double score) {
  constexpr double kMost = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(score, -kMost, kMost));
}

}  // namespace

Result<void> check(const Sampling& sampling) {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!finite(sampling.temperature) || sampling.temperature < 0.0f)
    return out_of_range("temperature", sampling.temperature, "at least 0");
  if (!(sampling.top_p > 0.0f && sampling.top_p <= 1.0f))
    return out_of_range("top_p", sampling.top_p, "above 0 and at most 1");
  if (!(sampling.min_p >= 0.0f && sampling.min_p < 1.0f))
    return out_of_range("min_p", sampling.min_p, "at least 0 and below 1");
  if (!finite(sampling.repetition_penalty) || sampling.repetition_penalty <= 0.0f)
    return out_of_range("repetition_penalty", sampling.repetition_penalty, "above 0");
  if (!(std::abs(sampling.presence_penalty) <= 2.0f))
    return out_of_range("presence_penalty", sampling.presence_penalty, "from -2 to 2");
  if (!(std::abs(sampling.frequency_penalty) <= 2.0f))
    return out_of_range("frequency_penalty", sampling.frequency_penalty, "from -2 to 2");
  return {};
}

Result<Sampling> resolve(const SamplingOptions& options, const Sampling& defaults,
                         std::size_t vocabulary) {
  const bool own_choice = options.temperature || options.top_p || options.min_p;
  const Sampling sampling = {
      .temperature = options.temperature.value_or(defaults.temperature),
      .top_k = options.top_k.value_or(own_choice ? 0 : defaults.top_k),
      .top_p = options.top_p.value_or(defaults.top_p),
      .min_p = options.min_p.value_or(defaults.min_p),
      .repetition_penalty = options.repetition_penalty.value_or(defaults.repetition_penalty),
      .repetition_window = options.repetition_window.value_or(
          options.repetition_penalty ? Sampling{}.repetition_window : defaults.repetition_window),
      .presence_penalty = options.presence_penalty,
      .frequency_penalty = options.frequency_penalty,
  };
  TERN_TRY_VOID(check(sampling));
  TERN_TRY_VOID(check(options.logit_bias, vocabulary));
  return sampling;
}

Sampler::Sampler(const Sampling& sampling, const std::map<TokenId, float>& bias,
                 std::vector<TokenId> banned, std::uint64_t seed)
    : sampling_(sampling),
      bias_(bias.begin(), bias.end()),
      banned_(std::move(banned)),
      random_(seed) {}

Result<TokenId> Sampler::sample(std::span<const float> logits, std::span<const TokenId> history,
                                std::size_t generated) {
  TERN_TRY_VOID(candidates(logits, history, generated));
  return candidates_.size() == 1 ? candidates_.front().id : draw();
}

Result<std::span<const Sampler::Candidate>> Sampler::candidates(std::span<const float> logits,
                                                                std::span<const TokenId> history,
                                                                std::size_t generated) {
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (!std::isfinite(logits[id]))
      return fail(ErrorCode::numeric, fmt::format("the logit of token {} is {}", id, logits[id]),
                  "logits", "a broken model file: weights or scales that are not finite");
  }
  scores_.assign(logits.begin(), logits.end());
  penalize(history, generated);
  for (const auto& [id, value] : bias_) {
    float& score = scores_[id];
    score = value <= kBanningBias ? kBanned : clamped(double{score} + double{value});
  }
  for (const TokenId id : banned_) {
    if (id < scores_.size()) scores_[id] = kBanned;
  }

  const TokenId best = scores_.empty() ? 0 : argmax(scores_);
  if (scores_.empty() || scores_[best] == kBanned)
    return fail(ErrorCode::usage, fmt::format("all {} tokens are banned", scores_.size()),
                "logit_bias");
  if (sampling_.temperature == 0.0f || sampling_.top_k == 1) {
    candidates_.assign(1, {1.0, best});
    return candidates_;
  }
  weigh(scores_[best]);
  keep_top_k();
  keep_top_p();
  if (sampling_.min_p > 0.0f) {
    // The best token weighs 1, so a weight is already relative to it.
    std::erase_if(candidates_,
                  [&](const Candidate& c) { return c.weight < double{sampling_.min_p}; });
  }
  return candidates_;
}

void Sampler::penalize(std::span<const TokenId> history, std::size_t generated) {
  const bool repetition = sampling_.repetition_penalty != 1.0f;
  const bool frequency = sampling_.presence_penalty != 0.0f || sampling_.frequency_penalty != 0.0f;
  if (!repetition && !frequency) return;
  const std::size_t window = sampling_.repetition_window;
  if (window != 0 && history.size() > window) history = history.last(window);
  const std::size_t from = history.size() - std::min(generated, history.size());
  counts_.resize(scores_.size());

  const double penalty = sampling_.repetition_penalty;
  for (const TokenId id : history) {
    if (id >= scores_.size() || counts_[id]++ != 0) continue;
    const double score = scores_[id];
    scores_[id] = clamped(score > 0.0 ? score / penalty : score * penalty);
  }
  for (const TokenId id : history.first(from)) {
    if (id < scores_.size()) --counts_[id];
  }
  for (const TokenId id : history) {
    if (id >= scores_.size() || counts_[id] == 0) continue;
    scores_[id] = clamped(double{scores_[id]} - double{sampling_.presence_penalty} -
                          double{sampling_.frequency_penalty} * counts_[id]);
    counts_[id] = 0;
  }
}

void Sampler::weigh(float largest) {
  const double temperature = sampling_.temperature;
  candidates_.clear();
  candidates_.reserve(scores_.size());
  for (std::size_t id = 0; id < scores_.size(); ++id) {
    if (scores_[id] == kBanned) continue;
    const double distance = (double{scores_[id]} - double{largest}) / temperature;
    candidates_.push_back({exp_nonpositive(distance), static_cast<TokenId>(id)});
  }
}

void Sampler::keep_top_k() {
  if (sampling_.top_k == 0 || sampling_.top_k >= candidates_.size()) return;
  rank(0, sampling_.top_k);
  candidates_.resize(sampling_.top_k);
}

/// The smallest set of the likeliest tokens that holds at least `top_p` of the mass.
void Sampler::keep_top_p() {
  if (sampling_.top_p == 1.0f) return;
  double total = 0.0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  const double wanted = total * double{sampling_.top_p};

  // The kept set is small as a rule: order only as many as turn out to be needed.
  std::size_t ranked = 0, kept = 0;
  double mass = 0.0;
  while (mass < wanted && kept < candidates_.size()) {
    if (kept == ranked) {
      ranked = std::min(candidates_.size(), std::max<std::size_t>(64, 4 * ranked));
      rank(kept, ranked);
    }
    mass += candidates_[kept++].weight;
  }
  candidates_.resize(kept);
}

/// Puts into [from, to) the candidates that belong there in falling order; among equals the lowest
/// id first. Those before `from` are already in place.
void Sampler::rank(std::size_t from, std::size_t to) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  const auto at = [&](std::size_t index) {
    return candidates_.begin() + static_cast<std::ptrdiff_t>(index);
  };
  std::nth_element(at(from), at(to), candidates_.end(), before);
  std::sort(at(from), at(to), before);
}

TokenId Sampler::draw() {
  double total = 0.0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  const double point = random_.uniform() * total;
  double mass = 0.0;
  TokenId chosen = candidates_.front().id;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0.0) continue;
    chosen = candidate.id;  // rounding may leave `point` past the end: the last one then
    mass += candidate.weight;
    if (point < mass) break;
  }
  return chosen;
}

TokenId argmax(std::span<const float> values) {
  return static_cast<TokenId>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace tern::engine
