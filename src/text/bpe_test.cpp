#include "text/bpe.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <ctime>

namespace tern::text {
namespace {

/// A model over the letters a to d with the given merges, in order of rank.
BpeModel model_of(const std::vector<std::pair<std::string, std::string>>& merges) {
  BpeModel model;
  TokenId next = 0;
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    model.tokens.insert(std::string(1, letter), next);
    model.byte_ids[static_cast<unsigned char>(letter)] = next++;
  }
  std::uint32_t rank = 0;
  for (const auto& [left, right] : merges) {
    if (model.tokens.insert(left + right, next)) ++next;
    model.merges.insert(*model.tokens.find(left), *model.tokens.find(right),
                        {rank++, *model.tokens.find(left + right)});
  }
  return model;
}

/// The definition: the pair of lowest rank, the leftmost of equals, again and again.
std::vector<TokenId> by_definition(const BpeModel& model, std::string_view text) {
  std::vector<TokenId> ids;
  for (const char letter : text) ids.push_back(*model.byte_ids[static_cast<unsigned char>(letter)]);
  for (;;) {
    std::size_t best = ids.size();
    MergeTable::Merge lowest;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto merge = model.merges.find(ids[i], ids[i + 1]);
      if (merge.rank < lowest.rank) {
        lowest = merge;
        best = i;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = lowest.merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::vector<TokenId> encoded(const BpeModel& model, std::string_view text) {
  std::vector<TokenId> ids;
  BpeEncoder(model).encode(text, ids);
  return ids;
}

TEST(Bpe, MergesTheLowestRankFirstAndTheLeftmostOfEquals) {
  const BpeModel model = model_of({{"a", "a"}, {"a", "b"}, {"aa", "a"}});
  EXPECT_EQ(encoded(model, "aab"), (std::vector<TokenId>{4, 1}));
  EXPECT_EQ(encoded(model, "aaab"), (std::vector<TokenId>{4, 5}));
}

TEST(Bpe, AWholeTokenNeedsNoMergesWhenTheyAreIgnored) {
  BpeModel model = model_of({});
  model.tokens.insert("abc", 77);
  EXPECT_EQ(encoded(model, "abc").size(), 3u);
  model.ignore_merges = true;
  EXPECT_EQ(encoded(model, "abc"), (std::vector<TokenId>{77}));
}

RC_GTEST_PROP(Bpe, ShortAndLongPiecesAgreeWithTheDefinition, ()) {
  const auto letter = rc::gen::element('a', 'b', 'c', 'd');
  std::vector<std::string> known = {"a", "b", "c", "d"};
  std::vector<std::pair<std::string, std::string>> merges;
  const auto picks = *rc::gen::container<std::vector<std::pair<unsigned, unsigned>>>(
      30, rc::gen::arbitrary<std::pair<unsigned, unsigned>>());
  for (const auto& [left, right] : picks) {
    merges.emplace_back(known[left % known.size()], known[right % known.size()]);
    known.push_back(merges.back().first + merges.back().second);
  }
  std::ranges::reverse(merges);  // merges that need later ones come up out of order
  BpeModel model = model_of({});
  TokenId next = 4;
  for (const auto& token : known)
    if (model.tokens.insert(token, next)) ++next;
  std::uint32_t rank = 0;
  for (const auto& [left, right] : merges)
    model.merges.insert(*model.tokens.find(left), *model.tokens.find(right),
                        {rank++, *model.tokens.find(left + right)});
  for (const std::size_t size : {10u, 40u, 60u, 200u}) {
    const auto text = *rc::gen::container<std::string>(size, letter);
    RC_ASSERT(encoded(model, text) == by_definition(model, text));
  }
}

TEST(Bpe, OnePieceOfMillionsOfBytesTakesNearlyLinearTime) {
  const BpeModel model = model_of({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}, {"aa", "a"}});
  const auto seconds = [&](std::size_t size) {
    double best = 1e9;
    for (int run = 0; run < 5; ++run) {
      const auto start = std::clock();
      EXPECT_EQ(encoded(model, std::string(size, 'a')).size(), size / 8);
      best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return best;
  };
  const double small = seconds(std::size_t{1} << 17);
  const double large = seconds(std::size_t{1} << 20);
  EXPECT_LT(std::log2(large / small) / 3, 1.5) << small << " s, " << large << " s";
}

TEST(ByteSpelling, CoversEveryByteOnceAndRefusesOtherCharacters) {
  EXPECT_EQ(from_byte_spelling("A\xC4\xA0\xC4\x8A\xC3\xBF"), "A \n\xFF");
  EXPECT_EQ(from_byte_spelling(" "), std::nullopt);
  EXPECT_EQ(from_byte_spelling("\xE6\xBC\xA2"), std::nullopt);
  EXPECT_EQ(from_byte_spelling("\xFF"), std::nullopt);
}

}  // namespace
}  // namespace tern::text
