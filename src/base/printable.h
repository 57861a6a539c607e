// Names from outside, made safe to print in an error message.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace tern {

/// `text` in double quotes: printable ASCII as it is, everything else as \xNN (a name from a file
/// must not reach a terminal's escape sequences), and at most `limit` characters of it.
std::string printable(std::string_view text, std::size_t limit = 96);

}  // namespace tern
