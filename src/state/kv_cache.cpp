#include "state/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"

namespace tern::state {
namespace {

using kernels::kKvPageTokens;
using kernels::KvLayout;
using kernels::KvSide;
using quant::KvCodec;

constexpr std::uint64_t kSeeds[2] = {1, 2};  // of the rotations of keys and values

std::size_t pages_of(std::size_t tokens) {
  return (tokens + kKvPageTokens - 1) / kKvPageTokens;
}

/// Pages that so many neighbouring tokens touch at most.
std::size_t pages_touched(std::size_t tokens) {
  return tokens == 0 ? 0 : (tokens + kKvPageTokens - 2) / kKvPageTokens + 1;
}

Buffer<std::byte> copy_of(const Buffer<std::byte>& page) {
  Buffer<std::byte> copy(page.size());
  if (page.size() > 0) std::memcpy(copy.data(), page.data(), page.size());
  return copy;
}

}  // namespace

struct KvCache::Layouts {
  KvLayout main[2], full[2];
};

std::uint64_t KvWindows::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& side : sides)
    for (const Page& page : side) sum += page.bytes.size();
  return sum;
}

void KvCache::Pages::put(std::size_t number, Buffer<std::byte> page) {
  if (pages.size() <= number) {
    pages.resize(number + 1);
    addresses.resize(number + 1, nullptr);
  }
  addresses[number] = page.data();
  pages[number] = std::move(page);
}

std::uint64_t KvCache::Pages::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& page : pages) sum += page.size();
  return sum;
}

KvCache::Pages KvCache::Pages::copy() const {
  Pages other;
  for (std::size_t i = 0; i < pages.size(); ++i) other.put(i, copy_of(pages[i]));
  return other;
}

Result<KvCache> KvCache::create(const KvShape& shape, const KvConfig& config) {
  for (const std::size_t layer : config.full_layers)
    if (layer >= shape.layers)
      return fail(ErrorCode::usage,
                  "there is no attention layer " + std::to_string(layer) +
                      " to keep in f16: the "
                      "model has " +
                      std::to_string(shape.layers) + ", counted from 0",
                  "kv");
  constexpr std::size_t kAnyDim = 64;  // for a model without attention
  const std::size_t dim = shape.layers == 0 ? kAnyDim : shape.head_dim;
  TERN_TRY(KvCodec keys, KvCodec::create(config.keys, dim, kSeeds[0]));
  TERN_TRY(KvCodec values, KvCodec::create(config.values, dim, kSeeds[1]));
  if (keys.rotation().kind() == config.rotated_keys) keys = keys.for_rotated();
  if (values.rotation().kind() == config.rotated_values) values = values.for_rotated();
  TERN_TRY(const KvCodec full, KvCodec::create(KvScheme::f16, dim));
  KvCache cache;
  cache.shape_ = shape;
  cache.config_ = config;
  cache.layouts_ = std::make_shared<const Layouts>(Layouts{
      {KvLayout(std::move(keys), KvSide::keys), KvLayout(std::move(values), KvSide::values)},
      {KvLayout(full, KvSide::keys), KvLayout(full, KvSide::values)}});
  cache.layers_.resize(shape.layers);
  for (std::size_t i = 0; i < shape.layers; ++i)
    for (std::size_t side = 0; side < 2; ++side) {
      const bool is_full = std::ranges::count(config.full_layers, i) > 0;
      const KvLayout* const own = &cache.layouts_->full[side];
      cache.layers_[i].sides[side].layout = is_full ? own : &cache.layouts_->main[side];
      cache.layers_[i].sides[side].recent_layout = own;
    }
  return cache;
}

std::uint64_t KvCache::bytes_per_token() const {
  std::uint64_t sum = 0;
  for (const Layer& layer : layers_)
    for (const Side& side : layer.sides) sum += shape_.heads * side.layout->codec().vector_bytes();
  return sum;
}

std::uint64_t KvCache::window_limit() const {
  return std::uint64_t{windows()} * window_pages(1) * window_page_bytes();
}

std::uint64_t KvCache::main_bytes() const {
  std::uint64_t sum = 0;
  for (const Layer& layer : layers_)
    for (const Side& side : layer.sides) sum += side.main.bytes();
  return sum;
}

std::uint64_t KvCache::window_bytes() const {
  std::uint64_t sum = std::uint64_t{spare_.size()} * window_page_bytes();
  for (const Layer& layer : layers_)
    for (const Side& side : layer.sides) sum += side.recent.bytes();
  return sum;
}

/// The query at `position` reads tokens from the sinks to here as codes.
std::size_t KvCache::aged_before(std::size_t position) const {
  if (position < config_.quantized_start) return config_.sinks;
  const std::size_t all = position + 1;
  return std::max(config_.sinks, all - std::min(config_.recent, all));
}

/// The first token whose 16-bit values a query at `position` or later reads, or that must still be
/// encoded.
std::size_t KvCache::window_begin(std::size_t position, std::size_t encoded) const {
  if (position < config_.quantized_start) return 0;
  return std::min({position, encoded, position + 1 - std::min(config_.recent, position + 1)});
}

std::size_t KvCache::sink_pages() const {
  return pages_of(config_.sinks);
}

/// Of one side, while `tokens` are written at once.
std::size_t KvCache::window_pages(std::size_t tokens) const {
  return sink_pages() + pages_touched(config_.recent + tokens);
}

std::size_t KvCache::windows() const {
  std::size_t count = 0;
  for (const Layer& layer : layers_)
    for (const Side& side : layer.sides) count += side.windowed() ? 1 : 0;
  return count;
}

std::size_t KvCache::window_page_bytes() const {
  return shape_.heads * layouts_->full[0].page_bytes();
}

/// Window pages in use.
std::size_t KvCache::window_pages_held() const {
  std::size_t count = 0;
  for (const Layer& layer : layers_)
    for (const Side& side : layer.sides)
      count += static_cast<std::size_t>(
          std::ranges::count_if(side.recent.addresses, [](const auto* page) { return page; }));
  return count;
}

void KvCache::reserve(std::size_t position, std::size_t tokens, std::size_t chunk) {
  if (tokens == 0) return;
  const std::size_t end = position + tokens, aged = aged_before(end - 1);
  for (Layer& layer : layers_)
    for (Side& side : layer.sides) {
      const std::size_t pages =
          side.windowed() ? (aged > config_.sinks ? pages_of(aged) : 0) : pages_of(end);
      while (side.main.pages.size() < pages)
        side.main.put(side.main.pages.size(),
                      Buffer<std::byte>(shape_.heads * side.layout->page_bytes()));
      if (side.windowed()) {
        side.recent.pages.reserve(pages_of(end));
        side.recent.addresses.reserve(pages_of(end));
      }
    }
  if (windows() == 0) return;
  chunk = std::min(chunk, tokens);
  std::size_t each = window_pages(chunk);
  if (position < config_.quantized_start)
    each = std::max(each, pages_of(std::min(end, config_.quantized_start + chunk)));
  std::size_t first_call = 0;  // pages that the next call touches and that are not there
  for (const Layer& layer : layers_)
    for (const Side& side : layer.sides)
      if (side.windowed())
        for (std::size_t p = position / kKvPageTokens; p < pages_of(position + chunk); ++p)
          first_call += p >= side.recent.pages.size() || side.recent.addresses[p] == nullptr;
  const std::size_t held = window_pages_held();
  const std::size_t wanted = std::max(windows() * std::min(each, pages_of(end)), held + first_call);
  while (held + spare_.size() < wanted) spare_.emplace_back(window_page_bytes());
  reserved_ = end;
}

/// Calls f(head, number, first, last) for the tokens [first, last) of each page.
template <class F>
void KvCache::for_pages(std::size_t begin, std::size_t end, ThreadPool* pool, F f) const {
  constexpr std::size_t kFewTokens = 16;
  if (begin >= end) return;
  const std::size_t first_page = begin / kKvPageTokens, pages = pages_of(end) - first_page;
  const auto one = [&](std::size_t i) {
    const std::size_t page = first_page + i / shape_.heads;
    f(i % shape_.heads, page, std::max(begin, page * kKvPageTokens),
      std::min(end, (page + 1) * kKvPageTokens));
  };
  const std::size_t count = pages * shape_.heads;
  if (pool == nullptr || end - begin < kFewTokens) {
    for (std::size_t i = 0; i < count; ++i) one(i);
    return;
  }
  pool->parallel_for(count, 1, [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) one(i);
  });
}

/// As plain numbers: in `main`, or in the window of a side that has one.
void KvCache::store(Side& side, std::size_t position, std::size_t tokens, std::span<const float> x,
                    ThreadPool* pool) {
  const KvLayout& layout = side.windowed() ? *side.recent_layout : *side.layout;
  Pages& pages = side.windowed() ? side.recent : side.main;
  if (side.windowed())
    for (std::size_t page = position / kKvPageTokens; page < pages_of(position + tokens); ++page)
      if (page >= pages.pages.size() || pages.addresses[page] == nullptr) {
        TERN_CHECK(!spare_.empty());
        pages.put(page, std::move(spare_.back()));
        spare_.pop_back();
      }
  TERN_CHECK(pages_of(position + tokens) <= pages.pages.size());
  const std::size_t d = shape_.head_dim, width = shape_.heads * d;
  for_pages(position, position + tokens, pool,
            [&](std::size_t head, std::size_t page, std::size_t first, std::size_t last) {
              std::byte* const to = pages.pages[page].data() + head * layout.page_bytes();
              for (std::size_t s = first; s < last; ++s)
                layout.write(to, s % kKvPageTokens,
                             x.subspan((s - position) * width + head * d, d));
            });
}

void KvCache::encode(Side& side, std::size_t begin, std::size_t end, ThreadPool* pool) {
  if (begin >= end) return;
  TERN_CHECK(pages_of(end) <= side.main.pages.size());
  for_pages(begin, end, pool,
            [&](std::size_t head, std::size_t page, std::size_t first, std::size_t last) {
              float memory[KvCodec::kMaxDim];
              const std::span x(memory, shape_.head_dim);
              const std::byte* const from =
                  side.recent.pages[page].data() + head * side.recent_layout->page_bytes();
              std::byte* const to = side.main.pages[page].data() + head * side.layout->page_bytes();
              for (std::size_t s = first; s < last; ++s) {
                side.recent_layout->read(from, s % kKvPageTokens, x);
                side.layout->write(to, s % kKvPageTokens, x);
              }
            });
}

void KvCache::write(std::size_t layer, std::size_t position, std::size_t tokens,
                    std::span<const float> k, std::span<const float> v, ThreadPool* pool) {
  Layer& held = layers_[layer];
  const std::span<const float> x[2] = {k, v};
  const std::size_t begin = std::max(held.encoded, config_.sinks);
  const std::size_t aged = std::max(begin, aged_before(position + tokens - 1));
  for (std::size_t i = 0; i < 2; ++i) {
    store(held.sides[i], position, tokens, x[i], pool);
    if (held.sides[i].windowed()) encode(held.sides[i], begin, aged, pool);
  }
  held.encoded = aged;
}

kernels::KvHead KvCache::head(std::size_t layer, std::size_t head) const {
  const Layer& held = layers_[layer];
  const auto view = [&](const Side& side, bool recent) {
    const KvLayout* const layout = recent ? side.recent_layout : side.layout;
    return kernels::KvPages{recent ? side.recent.addresses : side.main.addresses,
                            head * layout->page_bytes(), layout};
  };
  const Side &keys = held.sides[0], &values = held.sides[1];
  return {.main = {view(keys, false), view(values, false)},
          .recent = {view(keys, keys.windowed()), view(values, values.windowed())},
          .windowed = held.windowed(),
          .sinks = config_.sinks,
          .window = config_.recent,
          .start = config_.quantized_start};
}

/// Pages of the window whose tokens all lie before `token`, sinks apart.
void KvCache::drop_before(std::size_t token, Side& side) {
  Pages& window = side.recent;
  const std::size_t end = std::min(token / kKvPageTokens, window.pages.size());
  for (std::size_t page = end; page-- > sink_pages() && window.addresses[page] != nullptr;) {
    spare_.push_back(std::move(window.pages[page]));
    window.addresses[page] = nullptr;
  }
}

void KvCache::advance(std::size_t position) {
  for (Layer& layer : layers_)
    for (Side& side : layer.sides)
      if (side.windowed()) drop_before(window_begin(position, layer.encoded), side);
  if (position < reserved_) return;  // spare pages may be needed
  const std::size_t limit = windows() * window_pages(1), held = window_pages_held();
  while (!spare_.empty() && held + spare_.size() > limit) spare_.pop_back();
}

KvWindows KvCache::copy_windows(std::size_t position) const {
  KvWindows windows{.shape = shape_, .config = config_, .sides = {}};
  for (const Layer& layer : layers_)
    for (const Side& side : layer.sides) {
      auto& pages = windows.sides.emplace_back();
      if (!side.windowed()) continue;
      for (std::size_t page = window_begin(position, layer.encoded) / kKvPageTokens;
           page < pages_of(position); ++page)
        pages.push_back({page, copy_of(side.recent.pages[page])});
    }
  return windows;
}

void KvCache::restore(std::size_t position, const KvWindows& windows) {
  TERN_CHECK(windows.shape == shape_ && windows.config == config_);
  std::vector<std::vector<Buffer<std::byte>>> copies;
  for (const auto& side : windows.sides) {
    copies.emplace_back();
    for (const KvWindows::Page& page : side) copies.back().push_back(copy_of(page.bytes));
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    layer.encoded = std::min(layer.encoded, position);
    for (std::size_t j = 0; j < 2; ++j) {
      Pages& window = layer.sides[j].recent;
      const std::size_t sinks = std::min(sink_pages(), pages_of(position));
      if (window.pages.size() > sinks) {
        window.pages.resize(sinks);
        window.addresses.resize(sinks);
      }
      for (std::size_t p = 0; p < copies[2 * i + j].size(); ++p)
        window.put(windows.sides[2 * i + j][p].number, std::move(copies[2 * i + j][p]));
    }
  }
}

KvCache KvCache::copy() const {
  KvCache other;
  other.shape_ = shape_;
  other.config_ = config_;
  other.layouts_ = layouts_;
  for (const Layer& layer : layers_) {
    Layer& to = other.layers_.emplace_back();
    to.encoded = layer.encoded;
    for (std::size_t i = 0; i < 2; ++i) {
      to.sides[i].layout = layer.sides[i].layout;
      to.sides[i].recent_layout = layer.sides[i].recent_layout;
      to.sides[i].main = layer.sides[i].main.copy();
      to.sides[i].recent = layer.sides[i].recent.copy();
    }
  }
  return other;
}

void KvCache::clear() {
  spare_.clear();
  reserved_ = 0;
  for (Layer& layer : layers_) {
    layer.encoded = 0;
    for (Side& side : layer.sides) {
      side.main = Pages();
      side.recent = Pages();
    }
  }
}

}  // namespace tern::state
