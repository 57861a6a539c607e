// Stop strings over text that comes in pieces.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace tern::text {

inline constexpr std::size_t kMaxStopStrings = 64;
inline constexpr std::size_t kMaxStopBytes = 1024;  ///< of one stop string

/// Finds the stop string that is completed first, whatever the pieces; of several that are
/// completed by the same character, the longest. (Aho and Corasick 1975.)
class StopMatcher {
 public:
  /// Stops at nothing.
  StopMatcher() = default;
  /// @error usage  an empty stop string. @error too_large  too many of them, or one too long.
  static Result<StopMatcher> make(std::span<const std::string> stops);

  /// Takes the next piece (whole characters) and returns the text that can be shown: everything
  /// except what might still become a stop string, and nothing from the stop string on.
  /// @cost O(piece), amortized
  std::string push(std::string_view piece);

  /// The end: what was still held back, unless a stop string was found.
  std::string finish();

  /// Index of the stop string that was found.
  std::optional<std::size_t> matched() const { return matched_; }

 private:
  struct Automaton;
  std::shared_ptr<const Automaton> automaton_;
  std::uint32_t state_ = 0;
  std::string held_;  ///< as long as the state is deep
  std::optional<std::size_t> matched_;
};

}  // namespace tern::text
