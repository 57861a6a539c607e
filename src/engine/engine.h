// A loaded model, ready to generate: what the program, the server and the Python module share.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <tern/tern.hpp>

#include "base/error.h"
#include "base/thread_pool.h"
#include "engine/chat.h"
#include "engine/defaults.h"
#include "engine/kv_options.h"
#include "engine/model_source.h"
#include "engine/vocabulary.h"
#include "formats/checkpoint.h"
#include "model/forward.h"
#include "state/sequence.h"

namespace tern::engine {

/// Everything but the conversations. Safe to share between threads: steps of the model from
/// several of them take turns.
class Engine {
 public:
  /// @param model  as open_checkpoint has it
  /// @error usage  an option outside its range. Else what Checkpoint, Model and Vocabulary say.
  static Result<std::unique_ptr<Engine>> load(std::string_view model, const LoadOptions& options);
  /// The same for files that are open already.
  static Result<std::unique_ptr<Engine>> load(formats::Checkpoint checkpoint,
                                              const LoadOptions& options);

  ~Engine();

  const formats::Checkpoint& checkpoint() const { return checkpoint_; }
  const model::Model& model() const { return model_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  const Chat& chat() const { return chat_; }
  const Defaults& defaults() const { return defaults_; }
  ModelInfo info() const;
  const state::KvConfig& kv_config() const { return kv_.config; }
  /// The cache of a session that asks for one of its own; types that `kv` leaves open are those of
  /// the model. @error usage  as resolve_kv; unsupported  as KvCache::create
  Result<state::KvConfig> kv_config(const KvOptions& kv) const;

  /// Most tokens that a conversation may hold.
  std::size_t context() const { return context_; }
  std::size_t prefill_chunk() const { return options_.prefill_chunk; }

  /// Errors as Sequence::create.
  Result<state::Sequence> new_sequence() const { return new_sequence(kv_.config); }
  Result<state::Sequence> new_sequence(const state::KvConfig& kv) const;

  /// One step of several sequences: see model::Model::forward.
  void forward(std::span<model::Part> parts);
  /// The same for one.
  Result<void> forward(std::span<const TokenId> tokens, state::Sequence& sequence,
                       model::LogitsMode mode, std::span<float> logits);

  /// A sequence's state as LoadOptions::state_codec wants it kept; errors as those of Sequence.
  Result<state::Snapshot> snapshot(const state::Sequence& sequence);
  Result<void> restore(state::Sequence& sequence, const state::Snapshot& snapshot);
  Result<void> rest(state::Sequence& sequence);
  /// Errors as Sequence::store.
  Result<void> store(const state::Sequence& sequence, const state::Sink& sink);

  /// Calls body(i) for i < count on all threads, between steps. It must not throw.
  void parallel(std::size_t count, const std::function<void(std::size_t)>& body);

  /// Keys, values and recurrent state of a conversation of so many tokens.
  std::uint64_t bytes_of(std::size_t tokens) const;

  /// See model::Model::observe; between steps only.
  void observe(model::InputObserver* observer) { model_.observe(observer); }

  void report(std::string_view what, std::size_t done, std::size_t total) const;

 private:
  Engine(formats::Checkpoint checkpoint, model::Model model, Vocabulary vocabulary, Chat chat,
         Defaults defaults, const LoadOptions& options);

  /// Moves the rotations of the cache types into the weights.
  Result<void> fold();

  /// The context that was asked for; else the model's own, halved until it fits the machine.
  Result<std::size_t> find_context() const;

  formats::Checkpoint checkpoint_;  // before model_, which points into it
  model::Model model_;
  Vocabulary vocabulary_;
  Chat chat_;
  Defaults defaults_;
  LoadOptions options_;
  KvChoice kv_;
  state::StateCodec state_codec_ = state::StateCodec::f32;
  std::size_t context_ = 0;
  std::mutex step_;  // one forward at a time
  ThreadPool pool_;
};

}  // namespace tern::engine
