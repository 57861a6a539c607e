#include "text/stop.h"

#include <cstdint>
#include <map>
#include <vector>

namespace tern::text {

/// The trie of all stop strings with a link from each node to its longest proper suffix in it.
struct StopMatcher::Automaton {
  struct Node {
    std::map<char, std::uint32_t> children;
    std::uint32_t suffix = 0;
    std::uint32_t depth = 0;
    std::optional<std::size_t> stop;  ///< the longest stop string that ends here
  };
  std::vector<Node> nodes = std::vector<Node>(1);
  std::vector<std::size_t> lengths;

  std::uint32_t next(std::uint32_t node, char byte) const {
    for (;; node = nodes[node].suffix) {
      const auto child = nodes[node].children.find(byte);
      if (child != nodes[node].children.end()) return child->second;
      if (node == 0) return 0;
    }
  }

  void add(std::string_view stop, std::size_t index) {
    std::uint32_t node = 0;
    for (const char byte : stop) {
      const auto [child, fresh] =
          nodes[node].children.try_emplace(byte, static_cast<std::uint32_t>(nodes.size()));
      const std::uint32_t depth = nodes[node].depth + 1;
      node = child->second;
      if (fresh) nodes.push_back({.children = {}, .depth = depth, .stop = {}});
    }
    if (!nodes[node].stop) nodes[node].stop = index;
    lengths.push_back(stop.size());
  }

  /// Breadth first, so that the suffix of a node is complete before the node.
  void link() {
    std::vector<std::uint32_t> queue{0};
    for (std::size_t i = 0; i < queue.size(); ++i) {
      const std::uint32_t parent = queue[i];
      for (const auto& [byte, child] : nodes[parent].children) {
        nodes[child].suffix = parent == 0 ? 0 : next(nodes[parent].suffix, byte);
        if (!nodes[child].stop) nodes[child].stop = nodes[nodes[child].suffix].stop;
        queue.push_back(child);
      }
    }
  }
};

Result<StopMatcher> StopMatcher::make(std::span<const std::string> stops) {
  StopMatcher matcher;
  if (stops.empty()) return matcher;
  if (stops.size() > kMaxStopStrings)
    return fail(ErrorCode::too_large, std::to_string(stops.size()) + " stop strings, at most " +
                                          std::to_string(kMaxStopStrings) + " are possible");
  auto automaton = std::make_shared<Automaton>();
  for (std::size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty())
      return fail(ErrorCode::usage, "stop string " + std::to_string(i) + " is empty");
    if (stops[i].size() > kMaxStopBytes)
      return fail(ErrorCode::too_large, "stop string " + std::to_string(i) + " has " +
                                            std::to_string(stops[i].size()) + " bytes, at most " +
                                            std::to_string(kMaxStopBytes));
    automaton->add(stops[i], i);
  }
  automaton->link();
  matcher.automaton_ = std::move(automaton);
  return matcher;
}

std::string StopMatcher::push(std::string_view piece) {
  if (matched_) return {};
  if (!automaton_) return std::string(piece);
  std::string shown;
  held_.append(piece);
  for (std::size_t i = held_.size() - piece.size(); i < held_.size(); ++i) {
    state_ = automaton_->next(state_, held_[i]);
    matched_ = automaton_->nodes[state_].stop;
    if (!matched_) continue;
    held_.resize(i + 1 - automaton_->lengths[*matched_]);
    shown.swap(held_);
    return shown;
  }
  const std::size_t free = held_.size() - automaton_->nodes[state_].depth;
  shown.assign(held_, 0, free);
  held_.erase(0, free);
  return shown;
}

std::string StopMatcher::finish() {
  std::string rest;
  rest.swap(held_);
  return rest;
}

}  // namespace tern::text
