// What a request gets that it does not ask for.
#pragma once
#include <cstddef>

#include "base/error.h"
#include "engine/sampler.h"
#include "formats/checkpoint.h"

namespace tern::engine {

/// The model card's values, by mode.
struct Defaults {
  struct Mode {
    Sampling sampling;
    std::size_t max_tokens = 0;
  };
  Mode thinking = {{.temperature = 0.6f, .top_p = 0.95f}, 20480};
  Mode direct = {{.temperature = 0.2f, .top_k = 1}, 1024};  ///< without thinking
  std::size_t reasoning_budget = 16384;
  std::size_t reasoning_grace = 1024;

  const Mode& mode(bool is_thinking) const { return is_thinking ? thinking : direct; }

  /// The card's values, and for thinking the temperature, top_p, top_k and min_p of
  /// generation_config.json where it says so; its repetition_penalty holds for both. Lengths stay
  /// the card's: the family's own file allows no answer after a full budget of thought.
  /// @error corrupt  a value of the wrong type or out of range; `where` is the file
  static Result<Defaults> load(const formats::Checkpoint& checkpoint);
};

}  // namespace tern::engine
