// One conversation: reads prompts, generates answers.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "engine/budget.h"
#include "engine/context.h"
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

/// Belongs to one thread at a time; the engine must outlive it.
class Session {
 public:
  explicit Session(Engine& engine) : engine_(&engine), context_(engine) {}

  /// Reads what of `prompt` is not held yet, in chunks, then decodes. Afterwards the session holds
  /// prompt and answer, the last token apart, which is read with the next prompt.
  ///
  /// Errors of resolve leave the session as it was; after `no_memory` it holds what was read so
  /// far, after `numeric` from the model nothing. It can be used again in every case.
  Result<Generation> generate(std::span<const TokenId> prompt, const GenerateOptions& options,
                              const OnPiece& on_piece, const Cancel* cancel);

  /// Logits [tokens, vocabulary] of `tokens`, appended to what is held.
  /// @error too_large, mismatch  the session is as it was
  /// @error cancelled            it holds the chunks that were read
  Result<std::vector<float>> logits(std::span<const TokenId> tokens, const Cancel* cancel);

  std::size_t position() const { return context_.position(); }
  void reset() { context_.reset(); }
  /// Packs the recurrent state until the next prompt. @error no_memory  nothing has changed
  Result<void> rest() { return context_.rest(); }

 private:
  Result<bool> read_prompt(std::span<const TokenId> prompt, std::size_t from, const Cancel* cancel);

  Engine* engine_;
  Context context_;
  std::vector<float> logits_;  // of the last token, [vocabulary]
};

}  // namespace tern::engine
