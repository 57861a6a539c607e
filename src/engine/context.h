// What a conversation has read: the tokens, the state that they left, and points to go back to.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "state/sequence.h"

namespace tern::engine {

/// The recurrent state of Mamba-2 layers cannot be taken back token by token. So the state at a few
/// positions is kept: a prompt that leaves the held tokens goes on from the last one before.
class Context {
 public:
  /// The state is allocated by the first prompt. The engine must outlive it.
  explicit Context(Engine& engine) : Context(engine, engine.kv_config()) {}
  /// With a cache of its own, as Engine::kv_config(options) gives it.
  Context(Engine& engine, state::KvConfig kv) : engine_(&engine), kv_(std::move(kv)) {}

  /// Tokens whose effect the state holds.
  std::size_t position() const { return tokens_.size(); }
  std::span<const TokenId> tokens() const { return tokens_; }
  const state::KvConfig& kv() const { return kv_; }

  /// Keeps as much of the held start of `prompt` as there is a way back to, at most all but its
  /// last token (whose logits are wanted), and forgets the rest.
  /// @return tokens kept
  /// @error too_large, no_memory  the state cannot be allocated
  Result<std::size_t> keep_start_of(std::span<const TokenId> prompt);

  /// Makes sure that there is a state, for `part`. @error too_large, no_memory
  Result<void> allocate();

  /// What the model is to read next: `tokens`, which must outlive the part. Its logits' memory is
  /// the caller's to add. After keep_start_of or allocate.
  model::Part part(std::span<const TokenId> tokens, model::LogitsMode mode);

  /// Takes in a part that the model has read. @return its result; after `numeric` the context is
  /// empty.
  Result<void> took(const model::Part& part);

  /// Appends `tokens`; arguments and errors as model::Model::forward. After `numeric` the context
  /// is empty.
  Result<void> read(std::span<const TokenId> tokens, model::LogitsMode mode,
                    std::span<float> logits);

  /// Makes the present position a point to go back to. Few are kept: the oldest goes. Without
  /// memory for it, the point is not kept.
  void mark();

  /// Goes back to the last point at or before `position`, or to the beginning; forgets the rest.
  /// @return tokens kept
  std::size_t go_back(std::size_t position);

  /// An independent copy, points to go back to included. @error no_memory
  Result<Context> fork() const;

  /// The state, the tokens apart, as bytes. Errors of the sink; no_memory
  Result<void> store(const state::Sink& sink) const;
  /// Takes in what `store` wrote after `tokens`. @error corrupt, mismatch, no_memory  nothing is
  /// held then
  Result<void> load(std::vector<TokenId> tokens, state::Source& source);

  /// Packs the recurrent state until the next prompt. @error no_memory  nothing has changed
  Result<void> rest();

  void reset();

 private:
  Engine* engine_;
  state::KvConfig kv_;
  std::optional<state::Sequence> sequence_;
  std::vector<TokenId> tokens_;
  std::vector<std::shared_ptr<const state::Snapshot>> marks_;  // by rising position
};

}  // namespace tern::engine
