// Unicode normalization form C.
#pragma once
#include <string>
#include <string_view>

namespace tern::text {

/// NFC of `text`; bytes that are not UTF-8 stay as they are, between what is.
/// @cost O(n log n): long runs of combining marks are sorted, not bubbled.
std::string to_nfc(std::string_view text);

}  // namespace tern::text
