#include "cli/token_ids.h"

#include <fmt/format.h>

#include "base/json.h"

namespace tern::cli {

Result<std::vector<std::uint32_t>> parse_token_ids(std::string_view json, std::string_view where,
                                                   std::uint64_t vocabulary) {
  JsonLimits limits;
  limits.depth = 4;
  TERN_TRY(const auto value, parse_json(json, where, limits));
  if (!value.is_array())
    return fail(ErrorCode::corrupt, "expected a JSON array of token ids", std::string(where),
                "for example [1, 2, 3]");
  std::vector<std::uint32_t> ids;
  ids.reserve(value.get_array().size());
  for (const auto& item : value.get_array()) {
    const auto place = fmt::format("{}#/{}", where, ids.size());
    auto shown = json::serialize(item);
    if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
    const bool whole = item.is_int64() || item.is_uint64();
    if (!whole) return fail(ErrorCode::corrupt, "expected a whole number, found " + shown, place);
    if (item.is_int64() && item.get_int64() < 0)
      return fail(ErrorCode::mismatch, shown + " is negative; token ids start at 0", place);
    const std::uint64_t id =
        item.is_uint64() ? item.get_uint64() : static_cast<std::uint64_t>(item.get_int64());
    if (id >= vocabulary)
      return fail(ErrorCode::mismatch,
                  fmt::format("token id {} is outside the vocabulary of {}", id, vocabulary), place,
                  "the ids were made with another tokenizer");
    ids.push_back(static_cast<std::uint32_t>(id));
  }
  return ids;
}

std::string to_json(const std::vector<std::uint32_t>& ids) {
  return fmt::format("[{}]", fmt::join(ids, ", "));
}

}  // namespace tern::cli
