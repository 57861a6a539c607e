// The decode loop: one token after another, until something says stop.
#pragma once
#include <span>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "engine/context.h"
#include "engine/output.h"
#include "engine/sampler.h"
#include "engine/session.h"

namespace tern::engine {

/// One answer. The references must outlive it.
class Decoder {
 public:
  Decoder(Context& context, const Vocabulary& vocabulary, const Request& request,
          const GenerateOptions& options, const OnPiece& on_piece, const Cancel* cancel);

  /// Answers `prompt`, which `context` holds.
  /// @param logits  [vocabulary] of its last token; overwritten
  /// @error numeric, no_memory  as Sampler and model::Model::forward
  /// @error usage               every token is banned
  Result<void> run(std::span<const TokenId> prompt, std::span<float> logits);

  /// What came out: content, reasoning, tokens, finish reason (cancelled when nothing was run).
  Generation result() &&;

 private:
  Result<TokenId> choose(std::span<const float> logits);
  /// Takes a chosen token in. @return whether the answer goes on
  bool take(TokenId token);

  Context* context_;
  const Vocabulary* vocabulary_;
  const Request* request_;
  bool ignore_eos_;
  const Cancel* cancel_;
  Sampler sampler_;
  Output output_;
  std::vector<TokenId> history_;  // prompt and answer
  Generation generation_;
};

}  // namespace tern::engine
