// Recurrent state in fewer bytes: without loss, or through the rotation and codebook of the cache.
//
//   lossless  the four bytes of each float apart, each plane through zstd
//   q8, q6    128 values rotated (randomized Hadamard), then uniform steps of max |r| / 127 or / 31
//   q4        the cache's turbo4
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "state/stored.h"

namespace tern::state {

enum class StateCodec : std::uint8_t { f32, lossless, q8, q6, q4 };
inline constexpr StateCodec kStateCodecs[] = {StateCodec::f32, StateCodec::lossless, StateCodec::q8,
                                              StateCodec::q6, StateCodec::q4};
std::string_view name(StateCodec codec);
std::optional<StateCodec> state_codec(std::string_view name);

/// Floats, packed. The same values give the same bytes on any number of threads. Lossy codecs store
/// NaN as 0 and clamp to +-65504, as the cache does.
class PackedState {
 public:
  PackedState() = default;

  /// @param pool  null: on this thread
  /// @error no_memory
  static Result<PackedState> pack(std::span<const float> values, StateCodec codec,
                                  ThreadPool* pool = nullptr);

  /// @param values  as many as were packed
  /// @error mismatch  another number of values. @error corrupt  bytes that pack did not write
  Result<void> unpack(std::span<float> values, ThreadPool* pool = nullptr) const;

  /// As bytes for a file, and back.
  /// @error corrupt  what `store` did not write; mismatch  another number of values, unless none
  Result<void> store(const Sink& sink) const;
  static Result<PackedState> load(Source& source, std::size_t values);

  StateCodec codec() const { return codec_; }
  std::size_t values() const { return values_; }
  std::uint64_t bytes() const;

 private:
  static std::size_t block_count(std::size_t values);

  StateCodec codec_ = StateCodec::f32;
  std::size_t values_ = 0;
  std::vector<std::vector<std::byte>> blocks_;  // of kBlock values each
};

}  // namespace tern::state
