#include "text/tokenizer_parts.h"

#include <algorithm>
#include <unordered_map>

#include "base/printable.h"
#include "text/normalizer.h"

namespace tern::text {
namespace {

using Data = Tokenizer::Data;

class Builder {
 public:
  Builder(TokenizerParts& parts, std::string_view where)
      : parts_(parts), where_(where), data_(std::make_shared<Data>()) {}

  Result<std::shared_ptr<const Data>> build() {
    TERN_TRY_VOID(check_sizes());
    TERN_TRY_VOID(name_ids());
    TERN_TRY_VOID(add_added());
    TERN_TRY_VOID(check_holes());
    add_vocabulary();
    TERN_TRY_VOID(add_merges());
    TERN_TRY_VOID(find_unk());
    data_->pre_tokenizer = std::move(parts_.pre_tokenizer);
    data_->nfc = parts_.nfc;
    data_->bpe.ignore_merges = parts_.ignore_merges;
    data_->bpe.fuse_unk = parts_.fuse_unk;
    return std::shared_ptr<const Data>(std::move(data_));
  }

 private:
  std::unexpected<Error> corrupt(std::string what, std::string hint = {}) const {
    return fail(ErrorCode::corrupt, "tokenizer: " + std::move(what), std::string(where_),
                std::move(hint));
  }

  Result<void> check_sizes() {
    std::uint64_t bytes = 0;
    std::uint64_t largest = 0;
    for (const auto& [spelled, id] : parts_.vocabulary) {
      if (id > kMaxTokenId)
        return corrupt("token " + printable(spelled) + " has id " + std::to_string(id) +
                       ", at most " + std::to_string(kMaxTokenId) + " is possible");
      bytes += spelled.size();
      largest = std::max(largest, id + 1);
    }
    for (const AddedToken& token : parts_.added) {
      bytes += token.content.size();
      largest = std::max<std::uint64_t>(largest, token.id + std::uint64_t{1});
    }
    // Every id has a token, so a larger one than there are tokens means a hole.
    if (largest > parts_.vocabulary.size() + parts_.added.size())
      return corrupt("the largest id is " + std::to_string(largest - 1) + ", but there are only " +
                     std::to_string(parts_.vocabulary.size()) + " tokens and " +
                     std::to_string(parts_.added.size()) + " added tokens");
    if (bytes > std::uint64_t{1} << 30)
      return fail(ErrorCode::too_large,
                  "tokenizer: tokens of " + std::to_string(bytes) + " bytes, at most 1 GiB is read",
                  std::string(where_));
    data_->texts.resize(largest);
    data_->pool.reserve(bytes);
    return {};
  }

  bool set_text(std::uint64_t id, std::string_view bytes, bool special) {
    Data::Text& text = data_->texts[id];
    if (text.present) return false;
    text = {static_cast<std::uint32_t>(data_->pool.size()),
            static_cast<std::uint32_t>(bytes.size()), true, special};
    data_->pool.append(bytes);
    return true;
  }

  /// Finds which ids added tokens take over from the vocabulary.
  Result<void> name_ids() {
    for (const AddedToken& token : parts_.added) added_.emplace(token.content, token.id);
    for (const auto& [spelled, id] : parts_.vocabulary) {
      const auto same = added_.find(spelled);
      if (same != added_.end() && same->second != id && !spelled_.contains(spelled))
        return corrupt("added token " + printable(spelled) + " has id " +
                       std::to_string(same->second) + ", the vocabulary gives it " +
                       std::to_string(id));
      if (same != added_.end()) spelled_.emplace(spelled, id);
    }
    return {};
  }

  Result<void> add_added() {
    for (AddedToken& token : parts_.added) {
      if (token.content.empty()) return corrupt("an added token without content");
      if (token.content.size() > kMaxAddedToken)
        return fail(ErrorCode::too_large,
                    "tokenizer: added token of " + std::to_string(token.content.size()) +
                        " bytes, at most " + std::to_string(kMaxAddedToken),
                    std::string(where_));
      const bool fresh = data_->added_ids.emplace(token.content, token.id).second;
      if (!set_text(token.id, token.content, token.special)) {
        if (!fresh && data_->added_ids.find(token.content)->second == token.id) continue;
        return corrupt("id " + std::to_string(token.id) + " belongs to two added tokens, one is " +
                       printable(token.content));
      }
      if (!fresh) continue;  // of two equal tokens the first id is found in text
      if (token.normalized && parts_.nfc) token.content = to_nfc(token.content);
      (token.normalized ? data_->normalized_added : data_->raw_added).add(token);
    }
    return {};
  }

  Result<void> check_holes() {
    std::vector<bool> seen(data_->texts.size());
    for (const auto& [spelled, id] : parts_.vocabulary) {
      if (seen[id])
        return corrupt("id " + std::to_string(id) + " belongs to two tokens, one is " +
                       printable(spelled));
      seen[id] = true;
      const auto taken = data_->texts[id];
      if (taken.present && data_->pool.compare(taken.offset, taken.bytes, spelled) != 0)
        return corrupt("id " + std::to_string(id) + " is token " + printable(spelled) +
                       " and an added token with another text");
    }
    for (std::size_t id = 0; id < seen.size(); ++id)
      if (!seen[id] && !data_->texts[id].present)
        return corrupt("id " + std::to_string(id) + " has no token", "ids must not leave holes");
    return {};
  }

  /// Added tokens stay out of the tables that ordinary text is looked up in, so that text cannot
  /// become one by chance; `all_` has them, because merges may name them.
  void add_vocabulary() {
    BpeModel& bpe = data_->bpe;
    bpe.tokens.reserve(parts_.vocabulary.size(), data_->pool.capacity());
    for (const auto& [spelled, id64] : parts_.vocabulary) {
      const auto id = static_cast<TokenId>(id64);
      const auto bytes = from_byte_spelling(spelled);
      const bool added = data_->texts[id].present;
      if (!added) set_text(id, bytes ? std::string_view(*bytes) : spelled, false);
      if (added || !bytes) {
        others_.emplace(spelled, id);
        continue;
      }
      if (bpe.tokens.insert(*bytes, id) && bytes->size() == 1)
        bpe.byte_ids[static_cast<unsigned char>(bytes->front())] = id;
    }
  }

  std::optional<TokenId> find(std::string_view spelled) const {
    if (const auto bytes = from_byte_spelling(spelled))
      if (const auto id = data_->bpe.tokens.find(*bytes)) return id;
    const auto other = others_.find(spelled);
    if (other != others_.end()) return other->second;
    return std::nullopt;
  }

  Result<void> add_merges() {
    data_->bpe.merges.reserve(parts_.merges.size());
    std::string both;
    for (std::size_t rank = 0; rank < parts_.merges.size(); ++rank) {
      const auto& [left, right] = parts_.merges[rank];
      both.assign(left).append(right);
      const auto left_id = find(left);
      const auto right_id = find(right);
      const auto merged_id = find(both);
      if (!left_id || !right_id || !merged_id)
        return corrupt("merge " + std::to_string(rank) + " (" + printable(left) + " " +
                       printable(right) + ") names " +
                       printable(!left_id    ? left
                                 : !right_id ? right
                                             : std::string_view(both)) +
                       ", which is no token");
      // No merge makes a control token of ordinary text.
      if (data_->texts[*merged_id].special) continue;
      data_->bpe.merges.insert(*left_id, *right_id, {static_cast<std::uint32_t>(rank), *merged_id});
    }
    return {};
  }

  Result<void> find_unk() {
    if (!parts_.unk_token) return {};
    data_->bpe.unk = find(*parts_.unk_token);
    if (const auto added = added_.find(*parts_.unk_token); added != added_.end())
      data_->bpe.unk = added->second;
    if (!data_->bpe.unk)
      return corrupt("unk_token " + printable(*parts_.unk_token) + " is no token");
    return {};
  }

  TokenizerParts& parts_;
  std::string_view where_;
  std::shared_ptr<Data> data_;
  std::unordered_map<std::string_view, TokenId> added_;          ///< by content
  std::unordered_map<std::string_view, std::uint64_t> spelled_;  ///< added ones in the vocabulary
  std::unordered_map<std::string_view, TokenId> others_;         ///< not reached from text
};

}  // namespace

Result<std::shared_ptr<const Data>> Tokenizer::Data::build(TokenizerParts parts,
                                                           std::string_view where) {
  return Builder(parts, where).build();
}

}  // namespace tern::text
