// What is asked for, checked.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <tern/tern.hpp>

#include "base/error.h"
#include "engine/budget.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "text/stop.h"

namespace tern::engine {

/// GenerateOptions once every default is filled in and everything is checked.
struct Request {
  std::optional<bool> thinking;  ///< see Output
  Sampling sampling;
  std::uint64_t seed = 0;
  std::size_t max_tokens = 0;
  ReasoningBudget budget;
  text::StopMatcher stop;
};

/// @error too_large  the prompt leaves no room in the context
/// @error mismatch   an id outside the vocabulary
/// @error usage      an empty prompt, an option outside its range, an empty stop text
Result<Request> resolve(const Engine& engine, std::span<const TokenId> prompt,
                        const GenerateOptions& options);

/// @error mismatch  an id outside the vocabulary
Result<void> check_ids(std::span<const TokenId> tokens, std::size_t vocabulary);

}  // namespace tern::engine
