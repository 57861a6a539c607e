// Keys and values of the attention layers of one sequence, in pages.
//
// A side (keys or values) that is stored as codes also has a window of 16-bit floats: the first
// tokens (sinks) and the last ones (recent), in pages of their own that come and go. Every token is
// written there first, and is encoded once, from its 16-bit values, when the first query that reads
// it as codes is there. Its 16-bit copy stays until no query can read it any more. So codes, and
// what a query at some position reads, do not depend on how the tokens were cut into calls.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "state/kv_config.h"
#include "state/stored.h"
#include "tensor/buffer.h"

namespace tern::state {

struct KvShape {
  std::size_t layers = 0, heads = 0, head_dim = 0;

  bool operator==(const KvShape&) const = default;
};

/// Windows at one position: see KvCache::copy_windows.
struct KvWindows {
  struct Page {
    std::size_t number = 0;
    Buffer<std::byte> bytes;
  };
  KvShape shape;
  KvConfig config;
  std::vector<std::vector<Page>> sides;  ///< keys of layer 0, values of layer 0, keys of layer 1...

  std::uint64_t bytes() const;
};

/// Belongs to one thread at a time. Move-only.
class KvCache {
 public:
  /// @error unsupported  a type that head_dim does not fit
  /// @error usage        a full layer that the model does not have
  static Result<KvCache> create(const KvShape& shape, const KvConfig& config);

  const KvShape& shape() const { return shape_; }
  const KvConfig& config() const { return config_; }

  /// Of one token, when it has aged out of the window.
  std::uint64_t bytes_per_token() const;
  /// Most that windows take between calls of one token, at positions from quantized_start on.
  std::uint64_t window_limit() const;

  /// Held now: pages of `main`, and of the windows.
  std::uint64_t main_bytes() const;
  std::uint64_t window_bytes() const;

  /// Makes room for tokens [position, position + tokens) that are written in calls of at most
  /// `chunk`. Throws std::bad_alloc, and then holds what it held, or more room.
  void reserve(std::size_t position, std::size_t tokens, std::size_t chunk);

  /// Keys and values [tokens, heads * head_dim] from `position` on, which must be reserved.
  /// Encodes what ages out. @param pool  null: on this thread
  void write(std::size_t layer, std::size_t position, std::size_t tokens, std::span<const float> k,
             std::span<const float> v, ThreadPool* pool);

  /// Valid until the next call that is not const.
  kernels::KvHead head(std::size_t layer, std::size_t head) const;

  /// Tokens [0, position) are written, in all layers: gives back window pages that no later query
  /// reads.
  void advance(std::size_t position);

  /// What of the windows a query at `position`, the present one, or a later one may read, sinks
  /// apart. Throws std::bad_alloc.
  KvWindows copy_windows(std::size_t position) const;
  /// Goes back to `position`, where `windows` were copied. Throws std::bad_alloc, unchanged.
  void restore(std::size_t position, const KvWindows& windows);

  /// An independent copy. Throws std::bad_alloc.
  KvCache copy() const;
  void clear();

  /// The tokens before `position`, the present one, as bytes, and back into a cache of the same
  /// shape and configuration. Errors of the sink; @error corrupt  what `store` did not write, and
  /// then the cache is to be cleared. `load` throws std::bad_alloc.
  Result<void> store(const Sink& sink, std::size_t position) const;
  Result<void> load(Source& source, std::size_t position);

 private:
  /// Pages of one side, by position. Those of windows may be missing.
  struct Pages {
    std::vector<Buffer<std::byte>> pages;
    std::vector<const std::byte*> addresses;

    void put(std::size_t number, Buffer<std::byte> page);
    std::uint64_t bytes() const;
    Pages copy() const;
  };
  struct Side {
    const kernels::KvLayout* layout = nullptr;  // of `main`
    const kernels::KvLayout* recent_layout = nullptr;
    Pages main, recent;

    bool windowed() const { return !layout->codec().plain(); }
  };
  struct Layer {
    Side sides[2];            // keys, values
    std::size_t encoded = 0;  // tokens before it are codes, sinks apart

    bool windowed() const { return sides[0].windowed() || sides[1].windowed(); }
  };
  struct Layouts;

  KvCache() = default;
  std::size_t aged_before(std::size_t position) const;
  std::size_t window_begin(std::size_t position, std::size_t encoded) const;
  std::size_t sink_pages() const;
  std::size_t window_pages(std::size_t tokens) const;
  std::size_t windows() const;
  std::size_t window_page_bytes() const;
  std::size_t window_pages_held() const;
  void drop_before(std::size_t token, Side& side);
  void store(Side& side, std::size_t position, std::size_t tokens, std::span<const float> x,
             ThreadPool* pool);
  void encode(Side& side, std::size_t begin, std::size_t end, ThreadPool* pool);
  std::size_t main_pages(const Side& side, std::size_t encoded, std::size_t position) const;
  Result<void> load_side(Source& source, std::size_t position, std::size_t encoded, Side& side);
  template <class F>
  void for_pages(std::size_t begin, std::size_t end, ThreadPool* pool, F f) const;

  KvShape shape_;
  KvConfig config_;
  std::shared_ptr<const Layouts> layouts_;
  std::vector<Layer> layers_;
  std::vector<Buffer<std::byte>> spare_;  // window pages
  std::size_t reserved_ = 0;              // tokens that `reserve` made room for
};

}  // namespace tern::state
