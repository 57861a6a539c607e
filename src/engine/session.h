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
  explicit Session(Engine& engine) : Session(engine, Context(engine)) {}
  Session(Engine& engine, Context context) : engine_(&engine), context_(std::move(context)) {}

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

  /// Appends `tokens`; see tern::Session::read.
  Result<void> read(std::span<const TokenId> tokens, const OnRead& on_read, const Cancel* cancel);
  /// [vocabulary] of the last token, where `read` or `truncate` read it; else empty.
  std::span<const float> last_logits() const {
    return has_logits_ ? std::span<const float>(logits_) : std::span<const float>();
  }
  /// Appends one token to each of several sessions of one engine; see tern::Session::step.
  static std::vector<Result<void>> step(std::span<Session* const> sessions,
                                        std::span<const TokenId> tokens);
  /// Keeps the first `position` tokens; see tern::Session::truncate.
  Result<void> truncate(std::size_t position, const Cancel* cancel);
  void mark() { context_.mark(); }
  /// An independent copy. @error no_memory
  Result<Session> fork() const;

  /// What it has read, for those who read more for it (see Answer).
  Context& context() {
    has_logits_ = false;
    return context_;
  }
  const Context& context() const { return context_; }

  std::size_t position() const { return context_.position(); }
  std::span<const TokenId> tokens() const { return context_.tokens(); }
  const state::KvConfig& kv() const { return context_.kv(); }
  void reset() {
    context_.reset();
    has_logits_ = false;
  }
  /// Packs the recurrent state until the next prompt. @error no_memory  nothing has changed
  Result<void> rest() { return context_.rest(); }

 private:
  Result<void> check_room(std::span<const TokenId> tokens) const;

  Engine* engine_;
  Context context_;
  std::vector<float> logits_;  // of the last token, [vocabulary]
  bool has_logits_ = false;    // logits_ are those of the last token held
};

}  // namespace tern::engine
