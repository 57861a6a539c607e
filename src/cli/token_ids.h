// Token ids as a JSON array.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tern::cli {

/// @param vocabulary  ids must be below it
/// @error corrupt   not a JSON array of whole numbers; `where` is a JSON pointer to the offender.
/// @error mismatch  an id outside the vocabulary.
Result<std::vector<std::uint32_t>> parse_token_ids(std::string_view json, std::string_view where,
                                                   std::uint64_t vocabulary = std::uint64_t{1}
                                                                              << 32);

/// "[1, 2, 3]"
std::string to_json(const std::vector<std::uint32_t>& ids);

}  // namespace tern::cli
