#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <unordered_map>

#include "base/check.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

/// Up to here the quadratic scan over a few cache lines is faster than any queue.
constexpr std::size_t kShortPiece = 48;

constexpr std::uint64_t mix(std::uint64_t value) {
  value *= 0x9E3779B97F4A7C15u;
  return value ^ value >> 32;
}

std::uint64_t hash(std::string_view bytes) {
  std::uint64_t state = bytes.size();
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t taken = std::min<std::size_t>(bytes.size(), sizeof word);
    std::memcpy(&word, bytes.data(), taken);
    state = mix(state ^ word);
    bytes.remove_prefix(taken);
  }
  return mix(state);
}

constexpr std::uint64_t pair_key(TokenId left, TokenId right) {
  return std::uint64_t{left} << 32 | right;
}

/// At most half full.
std::size_t slots_for(std::size_t entries) {
  return std::bit_ceil(std::max<std::size_t>(16, entries * 2));
}

}  // namespace

void TokenTable::reserve(std::size_t strings, std::size_t bytes) {
  pool_.reserve(bytes);
  entries_.reserve(strings);
  if (slots_for(strings) > slots_.size()) grow(slots_for(strings));
}

std::size_t TokenTable::place(std::string_view bytes) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash(bytes) & mask;; slot = (slot + 1) & mask) {
    if (slots_[slot] == 0) return slot;
    const Entry& entry = entries_[slots_[slot] - 1];
    if (entry.bytes == bytes.size() &&
        std::memcmp(pool_.data() + entry.offset, bytes.data(), bytes.size()) == 0)
      return slot;
  }
}

void TokenTable::grow(std::size_t slots) {
  slots_.assign(slots, 0);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::string_view bytes(pool_.data() + entries_[i].offset, entries_[i].bytes);
    slots_[place(bytes)] = static_cast<std::uint32_t>(i + 1);
  }
}

bool TokenTable::insert(std::string_view bytes, TokenId id) {
  if (slots_for(entries_.size() + 1) > slots_.size()) grow(slots_for(entries_.size() + 1));
  const std::size_t slot = place(bytes);
  if (slots_[slot] != 0) return false;
  TERN_CHECK(pool_.size() + bytes.size() <= UINT32_MAX);
  entries_.push_back(
      {static_cast<std::uint32_t>(pool_.size()), static_cast<std::uint32_t>(bytes.size()), id});
  pool_.append(bytes);
  slots_[slot] = static_cast<std::uint32_t>(entries_.size());
  return true;
}

std::optional<TokenId> TokenTable::find(std::string_view bytes) const {
  if (slots_.empty()) return std::nullopt;
  const std::size_t slot = place(bytes);
  if (slots_[slot] == 0) return std::nullopt;
  return entries_[slots_[slot] - 1].id;
}

void MergeTable::reserve(std::size_t merges) {
  if (slots_for(merges) > slots_.size()) grow(slots_for(merges));
}

std::size_t MergeTable::place(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = mix(mix(pair)) & mask;
  while (slots_[slot].merge.rank != kNoRank && slots_[slot].pair != pair) slot = (slot + 1) & mask;
  return slot;
}

void MergeTable::grow(std::size_t slots) {
  std::vector<Slot> old(slots, Slot{0, {}});
  old.swap(slots_);
  for (const Slot& entry : old)
    if (entry.merge.rank != kNoRank) slots_[place(entry.pair)] = entry;
}

void MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  if (slots_for(used_ + 1) > slots_.size()) grow(slots_for(used_ + 1));
  Slot& slot = slots_[place(pair_key(left, right))];
  if (slot.merge.rank == kNoRank) ++used_;
  slot = {pair_key(left, right), merge};
}

MergeTable::Merge MergeTable::find(TokenId left, TokenId right) const {
  if (slots_.empty()) return {};
  const Slot& slot = slots_[place(pair_key(left, right))];
  return slot.merge;
}

namespace {

/// Merges a long piece: a linked list of symbols, and for each rank the positions where its pair
/// was seen. Ranks wait in a heap; the positions of one rank turn up almost in order, so taking the
/// leftmost costs next to nothing even in ten million equal letters.
class LongMerger {
 public:
  LongMerger(const MergeTable& merges, std::vector<TokenId>& ids) : merges_(&merges), ids_(&ids) {
    TERN_CHECK(ids.size() < kNone);
    const auto count = static_cast<std::uint32_t>(ids.size());
    links_.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i)
      links_.push_back({ids[i], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1});
    for (std::uint32_t i = 0; i < count; ++i) offer(i);
  }

  /// Leaves the merged ids in the vector that was given.
  void run() {
    while (!ranks_.empty()) {
      const std::uint32_t rank = ranks_.front();
      Bucket& bucket = buckets_[rank];
      while (!bucket.empty() && ranks_.front() == rank) merge(rank, bucket.take());
      if (!bucket.empty()) continue;  // a lower rank came up
      // The rank is at the front only if nothing lower arrived with the last merge.
      if (ranks_.front() != rank) continue;
      std::ranges::pop_heap(ranks_, std::greater());
      ranks_.pop_back();
      bucket.queued = false;
    }
    ids_->clear();
    for (std::uint32_t i = 0; i != kNone; i = links_[i].next) ids_->push_back(links_[i].id);
  }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Link {
    TokenId id;
    std::uint32_t previous, next;
  };
  struct Bucket {
    std::vector<std::uint32_t> ascending, heap;
    std::size_t taken = 0;
    bool queued = false;

    bool empty() const { return taken == ascending.size() && heap.empty(); }
    void put(std::uint32_t position) {
      if (taken == ascending.size()) {
        ascending.clear();
        taken = 0;
      }
      if (ascending.empty() || position >= ascending.back()) {
        ascending.push_back(position);
      } else {
        heap.push_back(position);
        std::ranges::push_heap(heap, std::greater());
      }
    }
    std::uint32_t take() {
      if (heap.empty() || (taken < ascending.size() && ascending[taken] <= heap.front()))
        return ascending[taken++];
      std::ranges::pop_heap(heap, std::greater());
      const std::uint32_t position = heap.back();
      heap.pop_back();
      return position;
    }
  };

  MergeTable::Merge pair_at(std::uint32_t position) const {
    const Link& link = links_[position];
    if (link.id == kNone || link.next == kNone) return {};
    return merges_->find(link.id, links_[link.next].id);
  }

  void offer(std::uint32_t position) {
    const std::uint32_t rank = pair_at(position).rank;
    if (rank == MergeTable::kNoRank) return;
    Bucket& bucket = buckets_[rank];
    bucket.put(position);
    if (bucket.queued) return;
    bucket.queued = true;
    ranks_.push_back(rank);
    std::ranges::push_heap(ranks_, std::greater());
  }

  void merge(std::uint32_t rank, std::uint32_t position) {
    const MergeTable::Merge found = pair_at(position);
    if (found.rank != rank) return;  // the pair is no longer there
    Link& left = links_[position];
    Link& right = links_[left.next];
    left.id = found.merged;
    left.next = right.next;
    right.id = kNone;
    if (left.next != kNone) links_[left.next].previous = position;
    if (left.previous != kNone) offer(left.previous);
    offer(position);
  }

  const MergeTable* merges_;
  std::vector<TokenId>* ids_;
  std::vector<Link> links_;
  std::unordered_map<std::uint32_t, Bucket> buckets_;
  std::vector<std::uint32_t> ranks_;  ///< heap: lowest first
};

}  // namespace

void BpeEncoder::initial_ids(std::string_view piece) {
  ids_.clear();
  bool after_unk = false;
  for (const char byte : piece) {
    const auto id = model_->byte_ids[static_cast<unsigned char>(byte)];
    if (id) {
      ids_.push_back(*id);
    } else if (model_->unk && !(model_->fuse_unk && after_unk)) {
      ids_.push_back(*model_->unk);
    }
    after_unk = !id;
  }
}

void BpeEncoder::merge_short() {
  const MergeTable& merges = model_->merges;
  symbols_.clear();
  for (const TokenId id : ids_) symbols_.push_back({id, MergeTable::kNoRank});
  const auto rate = [&](std::size_t i) {
    symbols_[i].rank = i + 1 < symbols_.size()
                           ? merges.find(symbols_[i].id, symbols_[i + 1].id).rank
                           : MergeTable::kNoRank;
  };
  for (std::size_t i = 0; i < symbols_.size(); ++i) rate(i);
  for (;;) {
    const auto best = std::ranges::min_element(symbols_, {}, &Symbol::rank);
    if (best == symbols_.end() || best->rank == MergeTable::kNoRank) break;
    const auto i = static_cast<std::size_t>(best - symbols_.begin());
    best->id = merges.find(best->id, symbols_[i + 1].id).merged;
    symbols_.erase(best + 1);
    rate(i);
    if (i > 0) rate(i - 1);
  }
  ids_.clear();
  for (const Symbol& symbol : symbols_) ids_.push_back(symbol.id);
}

void BpeEncoder::merge_long() {
  LongMerger(model_->merges, ids_).run();
}

void BpeEncoder::encode(std::string_view piece, std::vector<TokenId>& out) {
  if (model_->ignore_merges) {
    if (const auto whole = model_->tokens.find(piece)) {
      out.push_back(*whole);
      return;
    }
  }
  constexpr std::size_t kLongest = std::size_t{1} << 30;  // positions are 32 bits wide
  for (; !piece.empty(); piece.remove_prefix(std::min(kLongest, piece.size()))) {
    initial_ids(piece.substr(0, kLongest));
    if (ids_.size() <= kShortPiece)
      merge_short();
    else
      merge_long();
    out.insert(out.end(), ids_.begin(), ids_.end());
  }
}

std::optional<std::string> from_byte_spelling(std::string_view spelled) {
  // Printable Latin-1 stands for itself; the other bytes follow each other from U+0100 on.
  static const std::array<std::int16_t, 0x180> table = [] {
    std::array<std::int16_t, 0x180> bytes;
    bytes.fill(-1);
    std::size_t next = 0x100;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      bytes[printable ? byte : next++] = static_cast<std::int16_t>(byte);
    }
    return bytes;
  }();
  std::string out;
  out.reserve(spelled.size());
  while (!spelled.empty()) {
    const Utf8Step step = utf8_step(spelled);
    if (!step.valid || step.code >= table.size() || table[step.code] < 0) return std::nullopt;
    out.push_back(static_cast<char>(table[step.code]));
    spelled.remove_prefix(step.bytes);
  }
  return out;
}

}  // namespace tern::text
