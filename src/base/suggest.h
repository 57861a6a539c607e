// "Did you mean ...?"
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tern {

/// Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The name that was probably meant; nothing when none is near.
std::optional<std::string> nearest(std::string_view typed, std::span<const std::string> names);

}  // namespace tern
