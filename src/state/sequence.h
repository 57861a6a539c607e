// What one conversation leaves behind: keys and values of the attention layers in pages, the
// convolution and SSM states of the Mamba-2 layers, and how many tokens that were.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "state/kv_cache.h"
#include "state/state_codec.h"
#include "tensor/buffer.h"

namespace tern::state {

/// Sizes that the model fixes.
struct SequenceShape {
  std::size_t attention_layers = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t mamba_layers = 0;
  std::size_t conv_columns = 0;   ///< conv_kernel - 1
  std::size_t conv_channels = 0;  ///< x, B and C
  std::size_t ssm_values = 0;     ///< heads * head_dim * state_size

  bool operator==(const SequenceShape&) const = default;

  KvShape kv() const { return {attention_layers, kv_heads, head_dim}; }
  /// As KvCache::bytes_per_token; 0 for a type that head_dim does not fit.
  std::uint64_t kv_bytes_per_token(const KvConfig& kv) const;
  /// Recurrent state, always f32, whatever the number of tokens.
  std::uint64_t state_bytes() const;
};

/// The recurrent state at one position, packed, and the 16-bit windows of the cache, to go back to.
class Snapshot {
 public:
  std::size_t position() const { return position_; }
  std::uint64_t bytes() const { return states_.bytes() + windows_.bytes(); }

 private:
  friend class Sequence;
  std::size_t position_ = 0;
  PackedState states_;
  KvWindows windows_;
};

/// Belongs to one thread at a time. Move-only; `fork` copies.
class Sequence {
 public:
  /// An empty sequence for at most `capacity` tokens. The recurrent state is allocated now, pages
  /// of keys and values as tokens arrive.
  /// @error too_large  more memory than the machine has, were the sequence full
  /// @error no_memory  the recurrent state cannot be allocated
  /// @error unsupported, usage  as KvCache::create
  static Result<Sequence> create(const SequenceShape& shape, const KvConfig& kv,
                                 std::size_t capacity);

  const SequenceShape& shape() const { return shape_; }
  const KvCache& cache() const { return cache_; }
  std::size_t position() const { return position_; }  ///< tokens held
  std::size_t capacity() const { return capacity_; }
  /// Memory held now.
  std::uint64_t bytes() const;

  /// Makes room for `tokens` more, so that writing them, in steps of at most `step`, cannot fail.
  /// Nothing else changes.
  /// @error too_large  beyond the capacity. @error no_memory
  Result<void> reserve(std::size_t tokens, std::size_t step, ThreadPool* pool = nullptr);
  Result<void> reserve(std::size_t tokens) { return reserve(tokens, tokens); }

  /// Keys and values [tokens, kv_heads * head_dim] of the (reserved) tokens after those held.
  /// @param pool  encodes what ages out of the windows; null: this thread does
  void write_kv(std::size_t attention_layer, std::size_t tokens, std::span<const float> k,
                std::span<const float> v, ThreadPool* pool = nullptr);
  /// Valid until the sequence changes.
  kernels::KvHead kv(std::size_t attention_layer, std::size_t head) const {
    return cache_.head(attention_layer, head);
  }

  /// Inputs of the convolution before the next token, oldest first: [conv_columns, conv_channels].
  std::span<float> conv_state(std::size_t mamba_layer);
  /// [heads, head_dim, state_size]
  std::span<float> ssm_state(std::size_t mamba_layer);

  /// The states now include `tokens` more (reserved) tokens.
  void advance(std::size_t tokens);

  /// Forgets everything and gives the pages back.
  void reset();

  /// An independent copy. @error no_memory
  Result<Sequence> fork() const;

  /// The recurrent state as it is now. After going back to a lossy one, what follows differs a
  /// little from what followed before. @param pool  packs; null: this thread does. @error no_memory
  Result<Snapshot> snapshot(StateCodec codec = StateCodec::f32, ThreadPool* pool = nullptr) const;

  /// Packs the recurrent state while nothing is asked of the sequence; `reserve`, `restore` and
  /// `reset` unpack it. The state cannot be read or written meanwhile.
  /// @error no_memory  nothing has changed
  Result<void> rest(StateCodec codec, ThreadPool* pool = nullptr);
  bool resting() const { return resting_.has_value(); }

  /// rest and unpack: what a stored copy would give back. @return its bytes
  Result<std::uint64_t> compress_state(StateCodec codec, ThreadPool* pool = nullptr);

  /// Everything that is held, as bytes; the recurrent state is packed without loss, or as it rests.
  /// Errors of the sink, and no_memory.
  Result<void> store(const Sink& sink, ThreadPool* pool = nullptr) const;
  /// Takes what `store` wrote of a sequence of the same shape and cache configuration: the same
  /// bits, then the same bits for whatever follows.
  /// @error corrupt, mismatch  what `store` did not write, or of another shape, or longer than the
  ///        capacity; no_memory. The sequence is empty then.
  Result<void> load(Source& source);

  /// Goes back to `snapshot`, which was taken of this sequence or of one that it was forked from,
  /// and not after a token that is no longer here.
  /// @error mismatch  another shape, or a position that this sequence has not reached
  /// @error no_memory  the sequence is empty (reset)
  Result<void> restore(const Snapshot& snapshot, ThreadPool* pool = nullptr);

 private:
  Sequence(const SequenceShape& shape, KvCache cache, std::size_t capacity)
      : shape_(shape), capacity_(capacity), cache_(std::move(cache)) {}
  std::size_t conv_values() const { return shape_.conv_columns * shape_.conv_channels; }
  std::size_t state_values() const { return shape_.state_bytes() / sizeof(float); }

  SequenceShape shape_;
  std::size_t capacity_ = 0;
  std::size_t position_ = 0;
  KvCache cache_;
  Result<void> wake(ThreadPool* pool);

  std::optional<PackedState> resting_;
  Buffer<float>
      states_;  // empty while resting; for each Mamba layer: convolution inputs, then SSM state
};

}  // namespace tern::state
