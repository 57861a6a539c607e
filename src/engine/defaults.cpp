#include "engine/defaults.h"

#include "engine/vocabulary.h"

namespace tern::engine {

Result<Defaults> Defaults::load(const formats::Checkpoint& checkpoint) {
  constexpr std::string_view kFile = "generation_config.json";
  Defaults defaults;
  TERN_TRY(const auto config, side_object(checkpoint, kFile));
  if (!config) return defaults;

  const std::string where = side_name(checkpoint, kFile);
  Sampling& sampling = defaults.thinking.sampling;
  TERN_TRY(const bool do_sample, get_bool_or(*config, "do_sample", true, where));
  TERN_TRY(const double temperature,
           get_number_or(*config, "temperature", double{sampling.temperature}, where));
  TERN_TRY(const double top_p, get_number_or(*config, "top_p", double{sampling.top_p}, where));
  TERN_TRY(const double min_p, get_number_or(*config, "min_p", double{sampling.min_p}, where));
  TERN_TRY(const std::uint64_t top_k, get_uint_or(*config, "top_k", sampling.top_k, where));
  TERN_TRY(const double penalty, get_number_or(*config, "repetition_penalty", 1.0, where));
  sampling.temperature = do_sample ? static_cast<float>(temperature) : 0.0f;
  sampling.top_p = static_cast<float>(top_p);
  sampling.min_p = static_cast<float>(min_p);
  sampling.top_k = top_k;
  for (Sampling* each : {&defaults.thinking.sampling, &defaults.direct.sampling}) {
    each->repetition_penalty = static_cast<float>(penalty);
    // As in transformers, where the penalty sees the whole sequence.
    if (each->repetition_penalty != 1.0f) each->repetition_window = 0;
  }
  if (const auto sound = check(sampling); !sound)
    return fail(ErrorCode::corrupt, sound.error().what, where);
  return defaults;
}

}  // namespace tern::engine
