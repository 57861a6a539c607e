#include "state/sequence.h"

#include <algorithm>
#include <new>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/checked.h"
#include "base/memory.h"

namespace tern::state {
namespace {

using kernels::kKvPageTokens;

std::optional<std::uint64_t> product(std::initializer_list<std::uint64_t> factors) {
  return checked_product(std::span(factors.begin(), factors.size()));
}

std::unexpected<Error> no_memory(std::string_view what, std::uint64_t bytes) {
  return fail(ErrorCode::no_memory,
              "no memory for " + std::to_string(bytes) + " bytes of " + std::string(what), "",
              "a shorter context or a smaller cache type needs less");
}

}  // namespace

std::uint64_t SequenceShape::kv_bytes_per_token(const KvConfig& config) const {
  const auto cache = KvCache::create(kv(), config);
  return cache ? cache->bytes_per_token() : 0;
}

std::uint64_t SequenceShape::state_bytes() const {
  return std::uint64_t{mamba_layers} * (std::uint64_t{conv_columns} * conv_channels + ssm_values) *
         sizeof(float);
}

Result<Sequence> Sequence::create(const SequenceShape& shape, const KvConfig& kv,
                                  std::size_t capacity) {
  TERN_TRY(KvCache cache, KvCache::create(shape.kv(), kv));
  const auto tokens = checked_align(capacity, kKvPageTokens);
  const auto pages = tokens ? product({*tokens, cache.bytes_per_token()}) : std::nullopt;
  const auto fixed = checked_add(shape.state_bytes(), cache.window_limit());
  const auto total = pages && fixed ? checked_add(*pages, *fixed) : std::nullopt;
  if (!total || *total > physical_memory())
    return fail(ErrorCode::too_large,
                "a conversation of " + std::to_string(capacity) + " tokens needs " +
                    (total ? std::to_string(*total) : "more than 2^64") +
                    " bytes, the machine has " + std::to_string(physical_memory()),
                "", "a shorter context or a smaller cache type needs less");
  Sequence sequence(shape, std::move(cache), capacity);
  try {
    sequence.states_ = Buffer<float>(sequence.state_values());
  } catch (const std::bad_alloc&) {
    return no_memory("recurrent state", shape.state_bytes());
  }
  return sequence;
}

std::uint64_t Sequence::bytes() const {
  return (resting_ ? resting_->bytes() : states_.size() * sizeof(float)) + cache_.main_bytes() +
         cache_.window_bytes();
}

Result<void> Sequence::reserve(std::size_t tokens, std::size_t step, ThreadPool* pool) {
  if (tokens > capacity_ - position_)
    return fail(ErrorCode::too_large, "the context holds " + std::to_string(capacity_) +
                                          " tokens; " + std::to_string(position_) + " are taken, " +
                                          std::to_string(tokens) + " more do not fit");
  try {
    cache_.reserve(position_, tokens, step);
  } catch (const std::bad_alloc&) {
    return no_memory("keys and values", tokens * cache_.bytes_per_token());
  }
  return wake(pool);
}

void Sequence::write_kv(std::size_t attention_layer, std::size_t tokens, std::span<const float> k,
                        std::span<const float> v, ThreadPool* pool) {
  cache_.write(attention_layer, position_, tokens, k, v, pool);
}

std::span<float> Sequence::conv_state(std::size_t mamba_layer) {
  TERN_CHECK(!resting_);
  return states_.span().subspan(mamba_layer * (conv_values() + shape_.ssm_values), conv_values());
}

std::span<float> Sequence::ssm_state(std::size_t mamba_layer) {
  TERN_CHECK(!resting_);
  const std::size_t layer = conv_values() + shape_.ssm_values;
  return states_.span().subspan(mamba_layer * layer + conv_values(), shape_.ssm_values);
}

void Sequence::advance(std::size_t tokens) {
  TERN_CHECK(tokens <= capacity_ - position_);
  position_ += tokens;
  cache_.advance(position_);
}

std::vector<ExactRange> Sequence::exact_state() const {
  std::vector<ExactRange> ranges;
  if (shape_.ssm_exact == 0) return ranges;
  const std::size_t group = shape_.ssm_values / shape_.ssm_groups;
  for (std::size_t layer = 0; layer < shape_.mamba_layers; ++layer) {
    std::size_t end = layer * (conv_values() + shape_.ssm_values) + conv_values();
    for (std::size_t i = 0; i < shape_.ssm_groups; ++i) {
      end += group;
      ranges.push_back({end - shape_.ssm_exact, shape_.ssm_exact});
    }
  }
  return ranges;
}

Result<void> Sequence::rest(StateCodec codec, ThreadPool* pool) {
  if (resting_) return {};
  TERN_TRY(resting_, PackedState::pack(states_.span(), codec, pool, exact_state()));
  states_ = Buffer<float>();
  return {};
}

Result<void> Sequence::wake(ThreadPool* pool) {
  if (!resting_) return {};
  try {
    Buffer<float> states(state_values());
    if (resting_->values() > 0) TERN_TRY_VOID(resting_->unpack(states.span(), pool));
    states_ = std::move(states);
  } catch (const std::bad_alloc&) {
    return no_memory("recurrent state", shape_.state_bytes());
  }
  resting_.reset();
  return {};
}

Result<std::uint64_t> Sequence::compress_state(StateCodec codec, ThreadPool* pool) {
  TERN_TRY_VOID(rest(codec, pool));
  const std::uint64_t packed = resting_->bytes();
  TERN_TRY_VOID(wake(pool));
  return packed;
}

void Sequence::reset() {
  position_ = 0;
  if (resting_) resting_ = PackedState();  // nothing: zeros, see wake
  std::ranges::fill(states_.span(), 0.0f);
  cache_.clear();
}

Result<Sequence> Sequence::fork() const {
  try {
    Sequence copy(shape_, cache_.copy(), capacity_);
    copy.position_ = position_;
    copy.resting_ = resting_;
    copy.states_ = Buffer<float>(states_.size());
    std::ranges::copy(states_.span(), copy.states_.data());
    return copy;
  } catch (const std::bad_alloc&) {
    return no_memory("a copy", bytes());
  }
}

Result<Snapshot> Sequence::snapshot(StateCodec codec, ThreadPool* pool) const {
  Snapshot snapshot;
  snapshot.position_ = position_;
  try {
    snapshot.windows_ = cache_.copy_windows(position_);
    if (resting_) snapshot.states_ = *resting_;
  } catch (const std::bad_alloc&) {
    return no_memory("a snapshot", shape_.state_bytes());
  }
  if (!resting_) {
    TERN_TRY(snapshot.states_, PackedState::pack(states_.span(), codec, pool, exact_state()));
  }
  return snapshot;
}

Result<void> Sequence::restore(const Snapshot& snapshot, ThreadPool* pool) {
  if (snapshot.states_.values() != state_values())
    return fail(ErrorCode::mismatch, "a snapshot of " + std::to_string(snapshot.states_.values()) +
                                         " values for a state of " +
                                         std::to_string(state_values()));
  if (snapshot.position_ > position_)
    return fail(ErrorCode::mismatch, "a snapshot at token " + std::to_string(snapshot.position_) +
                                         " of a sequence that holds " + std::to_string(position_));
  if (snapshot.windows_.shape != shape_.kv() || snapshot.windows_.config != cache_.config())
    return fail(ErrorCode::mismatch, "a snapshot of a sequence with another cache");
  try {
    if (resting_) states_ = Buffer<float>(state_values());
    resting_.reset();
    cache_.restore(snapshot.position_, snapshot.windows_);
  } catch (const std::bad_alloc&) {
    reset();
    return no_memory("a restored state", snapshot.bytes());
  }
  position_ = snapshot.position_;
  auto unpacked = snapshot.states_.unpack(states_.span(), pool);
  if (!unpacked) reset();
  return unpacked;
}

}  // namespace tern::state
