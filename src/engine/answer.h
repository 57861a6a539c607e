// One answer in the making: the prompt piece by piece, then one token after another, until
// something says stop.
#pragma once
#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "engine/context.h"
#include "engine/output.h"
#include "engine/request.h"
#include "engine/sampler.h"

namespace tern::engine {

/// Says what its context must read next and makes tokens of the logits. Whoever drives it lets the
/// model read, this answer alone or several together:
///
///   while (auto part = answer.next(chunk)) {
///     part->logits = ...;  engine.forward({&*part, 1});
///     TERN_TRY_VOID(answer.read(*part));
///     answer.show();
///   }
class Answer {
 public:
  /// Begins with what of the prompt `context` holds. The references must outlive it.
  /// @error too_large, no_memory  as Context::keep_start_of
  static Result<Answer> begin(Engine& engine, Context& context, std::span<const TokenId> prompt,
                              Request request, const GenerateOptions& options,
                              const OnPiece& on_piece, const Cancel* cancel);

  /// The prompt is not read to its end.
  bool reading() const { return read_ < prompt_tokens_; }
  /// Tokens of the prompt that were read for this answer, and those that had to be.
  std::size_t prompt_read() const { return std::min(read_, prompt_tokens_) - kept_; }
  std::size_t prompt_total() const { return prompt_tokens_ - kept_; }

  /// What is to be read: at most `most` tokens of the prompt, or the last token of the answer. The
  /// caller adds the logits' memory. Nothing: the answer is complete, or cancelled.
  std::optional<model::Part> next(std::size_t most);

  /// Takes in a part that the model has read, and chooses the next token from its logits. Touches
  /// nothing but this answer and its context, and calls nobody.
  /// @error numeric, no_memory  as Sampler and model::Model::forward
  /// @error usage               every token is banned
  Result<void> read(const model::Part& part);

  bool ended() const { return ended_; }

  /// Hands out the text of the token that was chosen, if one was; call it after each `read`.
  void show();

  /// What came out so far.
  Generation result() &&;

 private:
  using Clock = std::chrono::steady_clock;

  Answer(Engine& engine, Context& context, std::span<const TokenId> prompt, Request request,
         const GenerateOptions& options, const OnPiece& on_piece, const Cancel* cancel);
  bool cancelled() const { return cancel_ != nullptr && cancel_->requested(); }
  Result<TokenId> choose(std::span<const float> logits);
  void end(FinishReason reason);

  Context* context_;
  const Vocabulary* vocabulary_;
  Request request_;
  bool ignore_eos_;
  const Cancel* cancel_;
  Sampler sampler_;
  Output output_;
  std::vector<TokenId> history_;  // prompt and answer
  std::size_t prompt_tokens_, kept_ = 0, turn_, read_ = 0;
  std::optional<TokenId> chosen_;       // not shown yet
  std::optional<FinishReason> ending_;  // the same
  bool ended_ = false;
  Generation generation_;
  Clock::time_point started_ = Clock::now(), answering_ = started_;
};

}  // namespace tern::engine
