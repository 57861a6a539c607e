#include "state/stored.h"

#include <algorithm>
#include <new>

#include "state/kv_cache.h"
#include "state/sequence.h"
#include "state/state_codec.h"

// Order: position; the packed recurrent state (codec, values, then each block's size and bytes);
// for each attention layer the number of encoded tokens, and for its keys and then its values the
// pages of codes, the number of window pages, and those pages, each after its own number.

namespace tern::state {
namespace {

using kernels::kKvPageTokens;

std::size_t pages_of(std::size_t tokens) {
  return (tokens + kKvPageTokens - 1) / kKvPageTokens;
}

Buffer<std::byte> copy_of(Bytes bytes) {
  Buffer<std::byte> copy(bytes.size());
  std::ranges::copy(bytes, copy.data());
  return copy;
}

}  // namespace

Result<void> PackedState::store(const Sink& sink) const {
  TERN_TRY_VOID(state::store(sink, static_cast<std::uint64_t>(codec_)));
  TERN_TRY_VOID(state::store(sink, values_));
  for (const auto& block : blocks_) {
    TERN_TRY_VOID(state::store(sink, block.size()));
    TERN_TRY_VOID(sink(block));
  }
  return {};
}

Result<PackedState> PackedState::load(Source& source, std::size_t values) {
  PackedState packed;
  TERN_TRY(const std::uint64_t codec,
           source.number_up_to(std::size(kStateCodecs) - 1, "the codec of the recurrent state"));
  packed.codec_ = kStateCodecs[codec];
  TERN_TRY(packed.values_, source.number("the size of the recurrent state"));
  // Nothing: a resting sequence that was reset.
  if (packed.values_ != values && packed.values_ != 0)
    return fail(ErrorCode::mismatch, std::to_string(packed.values_) +
                                         " values of recurrent state, the model has " +
                                         std::to_string(values));
  for (std::size_t block = 0; block < block_count(packed.values_); ++block) {
    TERN_TRY(const std::uint64_t size, source.number("a block's size"));
    TERN_TRY(const Bytes bytes, source.take(size, "a block of recurrent state"));
    packed.blocks_.emplace_back(bytes.begin(), bytes.end());
  }
  return packed;
}

Result<void> KvCache::store(const Sink& sink, std::size_t position) const {
  for (const Layer& layer : layers_) {
    TERN_TRY_VOID(state::store(sink, layer.encoded));
    for (const Side& side : layer.sides) {
      for (std::size_t page = 0; page < main_pages(side, layer.encoded, position); ++page)
        TERN_TRY_VOID(sink(side.main.pages[page].span()));
      std::vector<std::size_t> held;
      for (std::size_t page = 0; page < side.recent.addresses.size(); ++page)
        if (side.recent.addresses[page] != nullptr && page < pages_of(position))
          held.push_back(page);
      TERN_TRY_VOID(state::store(sink, held.size()));
      for (const std::size_t page : held) {
        TERN_TRY_VOID(state::store(sink, page));
        TERN_TRY_VOID(sink(side.recent.pages[page].span()));
      }
    }
  }
  return {};
}

/// Pages of codes (or of plain numbers) that hold what was written before `position`.
std::size_t KvCache::main_pages(const Side& side, std::size_t encoded, std::size_t position) const {
  if (!side.windowed()) return pages_of(position);
  const std::size_t codes = std::min(encoded, position);
  return codes > config_.sinks ? pages_of(codes) : 0;
}

Result<void> KvCache::load(Source& source, std::size_t position) {
  clear();
  for (Layer& layer : layers_) {
    const std::size_t most = position == 0 ? 0 : std::max(position, config_.sinks);
    TERN_TRY(layer.encoded, source.number_up_to(most, "the number of encoded tokens"));
    if (position > 0 && layer.encoded < std::min(position, aged_before(position - 1)))
      return fail(ErrorCode::corrupt, std::to_string(layer.encoded) + " tokens are encoded of " +
                                          std::to_string(position) + ", too few");
    for (Side& side : layer.sides) TERN_TRY_VOID(load_side(source, position, layer.encoded, side));
  }
  return {};
}

Result<void> KvCache::load_side(Source& source, std::size_t position, std::size_t encoded,
                                Side& side) {
  const std::size_t bytes = shape_.heads * side.layout->page_bytes();
  for (std::size_t page = 0; page < main_pages(side, encoded, position); ++page) {
    TERN_TRY(const Bytes stored, source.take(bytes, "a page of the cache"));
    side.main.put(page, copy_of(stored));
  }
  TERN_TRY(const std::uint64_t count,
           source.number_up_to(side.windowed() ? pages_of(position) : 0, "the window's pages"));
  for (std::uint64_t i = 0; i < count; ++i) {
    TERN_TRY(const std::uint64_t page,
             source.number_up_to(pages_of(position) - 1, "the number of a window page"));
    TERN_TRY(const Bytes stored, source.take(window_page_bytes(), "a page of the window"));
    side.recent.put(page, copy_of(stored));
  }
  if (!side.windowed()) return {};
  // What later queries read, or must still encode, has to be there.
  const std::size_t begin = window_begin(position, encoded) / kKvPageTokens;
  for (std::size_t page = 0; page < pages_of(position); ++page) {
    const bool wanted = page < sink_pages() || page >= begin;
    const auto& addresses = side.recent.addresses;
    if (wanted && (page >= addresses.size() || addresses[page] == nullptr))
      return fail(ErrorCode::corrupt, "page " + std::to_string(page) + " of the window is missing");
  }
  return {};
}

Result<void> Sequence::store(const Sink& sink, ThreadPool* pool) const {
  TERN_TRY_VOID(state::store(sink, position_));
  if (resting_) {
    TERN_TRY_VOID(resting_->store(sink));
  } else {
    TERN_TRY(const PackedState packed,
             PackedState::pack(states_.span(), StateCodec::lossless, pool));
    TERN_TRY_VOID(packed.store(sink));
  }
  return cache_.store(sink, position_);
}

Result<void> Sequence::load(Source& source) try {
  reset();
  const auto refused = [&](Error error) {
    reset();
    return std::unexpected(std::move(error));
  };
  const auto position = source.number_up_to(capacity_, "the number of tokens");
  if (!position) return refused(position.error());
  auto packed = PackedState::load(source, state_values());
  if (!packed) return refused(packed.error());
  if (packed->values() == 0 && *position > 0 && state_values() > 0)
    return refused({ErrorCode::corrupt, "the recurrent state is missing"});
  if (auto cache = cache_.load(source, *position); !cache) return refused(cache.error());
  resting_ = *std::move(packed);  // the next reserve unpacks it
  states_ = Buffer<float>();
  position_ = *position;
  return {};
} catch (const std::bad_alloc&) {
  reset();
  return fail(ErrorCode::no_memory, "no memory for a stored sequence");
}

}  // namespace tern::state
