// JSON from outside, with limits; values are Boost.JSON's.
#pragma once
#include <boost/json.hpp>
#include <string_view>

#include "base/error.h"

namespace tern {

namespace json = boost::json;

struct JsonLimits {
  std::size_t depth = 64;             ///< nesting of arrays and objects
  std::size_t bytes = 128u << 20;     ///< length of the text
  std::size_t values = 1u << 23;      ///< numbers, strings, arrays...: each takes 24 bytes or more
  bool reject_duplicate_keys = true;  ///< false: the last one wins, as in Python
  bool allow_infinity = false;        ///< the word Infinity, as Python writes it, reads as 1e300
};

/// Parses one JSON value that fills `text` (white space around it is fine).
///
/// `where` names the text in errors (a path). Objects keep the order of their keys.
/// @error corrupt    syntax error or duplicate key, with line and column (for a key those of the
/// end
///                   of its object); text that is not UTF-8.
/// @error too_large  over a limit.
Result<json::value> parse_json(std::string_view text, std::string_view where,
                               const JsonLimits& limits = {});

/// Typed access with an error that names the key: `get_uint(config, "hidden_size", where)`.
/// @error not_found  no such key. @error corrupt  a value of another type or out of range.
Result<std::uint64_t> get_uint(const json::object& object, std::string_view key,
                               std::string_view where);
Result<double> get_number(const json::object& object, std::string_view key, std::string_view where);
Result<std::string_view> get_string(const json::object& object, std::string_view key,
                                    std::string_view where);
Result<bool> get_bool(const json::object& object, std::string_view key, std::string_view where);

/// The same with a default for a key that is absent or null; a wrong type is still an error.
Result<std::uint64_t> get_uint_or(const json::object& object, std::string_view key,
                                  std::uint64_t fallback, std::string_view where);
Result<double> get_number_or(const json::object& object, std::string_view key, double fallback,
                             std::string_view where);
Result<bool> get_bool_or(const json::object& object, std::string_view key, bool fallback,
                         std::string_view where);

}  // namespace tern
