// The text model: load it once, then feed it tokens.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "formats/checkpoint.h"
#include "model/config.h"
#include "model/fold.h"
#include "model/observer.h"
#include "model/weights.h"
#include "state/sequence.h"

namespace tern::model {

using TokenId = std::uint32_t;

/// The instruction set that matrix products use: less than active_isa() where tiles of bytes (AMX)
/// do not prove themselves. The first call may take milliseconds.
Isa products_isa();

/// Which positions of a chunk get logits.
enum class LogitsMode : std::uint8_t { none, last, all };

/// What one sequence contributes to a step of the model, and what it gets back.
struct Part {
  std::span<const TokenId> tokens;      ///< one or more, to be appended to the sequence
  state::Sequence* sequence = nullptr;  ///< in no other part of the step
  LogitsMode mode = LogitsMode::last;
  /// Nothing, [vocab_size] of the last token, or [tokens, vocab_size], as `mode` says. Spans that
  /// lie behind one another in memory, in the order of the parts, come from one product.
  std::span<float> logits = {};
  Result<void> result = {};
};

/// Bytes that a conversation of some length takes.
struct MemoryNeeds {
  std::uint64_t weights = 0;  ///< in the mapped files
  std::uint64_t kv = 0;       ///< keys and values
  std::uint64_t state = 0;    ///< recurrent state
  std::uint64_t scratch = 0;  ///< activations of one chunk, shared by all conversations
};

/// Weights stay in the files of the checkpoint that they were loaded from, which must outlive the
/// model. `forward` may run on one thread at a time, everything else on any.
class Model {
 public:
  /// Reads the configuration and checks every tensor against it.
  /// @error mismatch  all misfits at once: names, and both shapes
  /// @error not_found, corrupt, unsupported, too_large  see Config
  static Result<Model> load(const formats::Checkpoint& checkpoint);

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const Config& config() const;
  std::uint64_t parameters() const;
  std::uint64_t weight_bytes() const;
  const std::vector<TensorEntry>& tensors() const;
  /// Text tensors of the file that this model has no use for, in file order.
  const std::vector<std::string>& ignored() const;

  /// What sequences of this model hold.
  const state::SequenceShape& sequence_shape() const;
  /// @error too_large  a context whose memory does not fit 64 bits
  Result<MemoryNeeds> memory(std::size_t context, const state::KvConfig& kv) const;
  /// The same for a model that is not there, with plain (not TurboQuant) weights of so many bytes.
  static Result<MemoryNeeds> memory_of(const Config& config, std::uint64_t weight_bytes,
                                       std::size_t context, const state::KvConfig& kv);
  /// Rotations of keys and values that the weights contain (see fold.h).
  const Fold& folded() const;
  /// Moves rotations into the weights, which must contain none yet. Sequences from before belong to
  /// another model then. Errors as model::fold, and usage: there are some already.
  Result<void> fold(const Fold& fold);

  /// An empty sequence, whose cache leaves out what is folded; errors as Sequence::create.
  Result<state::Sequence> new_sequence(const state::KvConfig& kv, std::size_t capacity) const;

  /// Appends the tokens of every part to its sequence. The parts go through the layers together,
  /// 512 tokens at a time, so that a weight is read once for all of them. Whatever the other parts
  /// are, however the tokens of a conversation are cut into calls, and whatever the number of
  /// threads, the results of a sequence are the same bits.
  ///
  /// A part whose result is an error does not disturb the others:
  /// @error mismatch   a token outside the vocabulary, or a sequence of another model
  /// @error too_large  the sequence has no room left
  /// @error no_memory  for pages; for activations, and then of every part
  /// @error numeric    an activation that is not finite: a broken model file
  /// After `numeric` the sequence is empty (reset); after the others it is unchanged.
  void forward(std::span<Part> parts, ThreadPool& pool);

  /// The same for one sequence.
  Result<void> forward(std::span<const TokenId> tokens, state::Sequence& sequence, LogitsMode mode,
                       std::span<float> logits, ThreadPool& pool);

  /// From now on `observer`, who must outlive the model or be taken away with null, sees the inputs
  /// of every matrix; those of lm_head for the tokens whose logits are wanted.
  void observe(InputObserver* observer);

  struct State;

 private:
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tern::model
