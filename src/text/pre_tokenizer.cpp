#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "text/tekken.h"

namespace tern::text {
namespace {

/// A stretch of text that matches, or that lies between matches. May be empty.
struct Stretch {
  std::string_view text;
  bool match;
};

std::vector<Stretch> find_stretches(const Pattern& pattern, std::string_view text, bool invert) {
  std::vector<Stretch> stretches;
  PatternSearch search(pattern, text);
  std::size_t end = 0;
  while (const auto match = search.next()) {
    if (match->begin > end) stretches.push_back({text.substr(end, match->begin - end), invert});
    stretches.push_back({text.substr(match->begin, match->end - match->begin), !invert});
    end = match->end;
  }
  if (end < text.size()) stretches.push_back({text.substr(end), invert});
  return stretches;
}

std::string_view joined(std::string_view first, std::string_view second) {
  return {first.data(), first.size() + second.size()};
}

/// Joins neighbours as the behavior asks. Source: huggingface/tokenizers, normalizer.rs, `split`.
std::vector<std::string_view> apply(SplitBehavior behavior, std::vector<Stretch> stretches) {
  std::vector<std::string_view> pieces;
  const bool backwards = behavior == SplitBehavior::merged_with_next;
  if (backwards) std::ranges::reverse(stretches);
  bool previous = false;
  for (const auto& [text, match] : stretches) {
    const bool joins = !pieces.empty() &&
                       ((behavior == SplitBehavior::contiguous && match == previous) ||
                        (behavior == SplitBehavior::merged_with_previous && match && !previous) ||
                        (backwards && match && !previous));
    previous = match;
    if (behavior == SplitBehavior::removed && match) continue;
    if (joins)
      pieces.back() = backwards ? joined(text, pieces.back()) : joined(pieces.back(), text);
    else
      pieces.push_back(text);
  }
  if (backwards) std::ranges::reverse(pieces);
  return pieces;
}

}  // namespace

Result<void> PreTokenizer::add_split(std::string_view expression, SplitBehavior behavior,
                                     bool invert, std::string_view where) {
  if (expression == kTekkenExpression && behavior == SplitBehavior::isolated) {
    stages_.push_back({.kind = Stage::Kind::tekken});  // every character is in some match
    return {};
  }
  TERN_TRY(auto pattern, Pattern::compile(expression, where));
  stages_.push_back({.pattern = {std::move(pattern)}, .behavior = behavior, .invert = invert});
  return {};
}

void PreTokenizer::add_prefix_space() {
  stages_.push_back({.kind = Stage::Kind::prefix_space});
}

void PreTokenizer::run(const Stage& stage, std::string_view piece, Pieces& out) {
  switch (stage.kind) {
    case Stage::Kind::prefix_space:
      if (!piece.starts_with(' ')) piece = out.made.emplace_back(" " + std::string(piece));
      out.pieces.push_back(piece);
      return;
    case Stage::Kind::tekken:
      while (!piece.empty()) {
        const std::size_t bytes = tekken_match(piece);
        out.pieces.push_back(piece.substr(0, bytes));
        piece.remove_prefix(bytes);
      }
      return;
    case Stage::Kind::pattern:
      for (const auto found :
           apply(stage.behavior, find_stretches(stage.pattern.front(), piece, stage.invert)))
        if (!found.empty()) out.pieces.push_back(found);
      return;
  }
}

void PreTokenizer::split(std::string_view text, Pieces& out) const {
  out.pieces.clear();
  out.made.clear();
  if (!text.empty()) out.pieces.push_back(text);
  for (const Stage& stage : stages_) {
    const std::vector<std::string_view> before = std::exchange(out.pieces, {});
    for (const std::string_view piece : before) run(stage, piece, out);
  }
}

}  // namespace tern::text
