// One conversation: reads prompts, generates answers.
#pragma once
#include <span>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "engine/context.h"
#include "engine/engine.h"

namespace tern::engine {

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

  /// What it has read, for those who read more for it (see Answer).
  Context& context() { return context_; }

  std::size_t position() const { return context_.position(); }
  void reset() { context_.reset(); }
  /// Packs the recurrent state until the next prompt. @error no_memory  nothing has changed
  Result<void> rest() { return context_.rest(); }

 private:
  Engine* engine_;
  Context context_;
  std::vector<float> logits_;  // of the last token, [vocabulary]
};

}  // namespace tern::engine
