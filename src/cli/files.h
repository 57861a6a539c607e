// Whole inputs: a file, or standard input under the name "-".
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace tern::cli {

inline constexpr std::size_t kMaxInput = std::size_t(1) << 30;

/// @error not_found, io, too_large (over kMaxInput); cancelled on Ctrl-C.
Result<std::string> read_input(const std::string& path);

/// Whether `path` may be written as a whole: it is absent or a regular file (renaming over a device
/// or a folder would replace it). @error usage
Result<void> check_output(const std::string& path);

/// Text for a model: bytes of another encoding would be read as nonsense. @error corrupt
Result<void> check_utf8(std::string_view text, const std::string& where);

/// How errors call that input.
std::string input_name(const std::string& path);

}  // namespace tern::cli
