#include "base/json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/printable.h"

namespace tern {
namespace {

/// Builds a value from parser events, as Boost's own handler does, but notices repeated keys,
/// which Boost silently resolves to the last one.
class Handler {
 public:
  static constexpr std::size_t max_object_size = std::size_t(1) << 24;
  static constexpr std::size_t max_array_size = std::size_t(1) << 26;
  static constexpr std::size_t max_key_size = std::size_t(1) << 20;
  static constexpr std::size_t max_string_size = std::size_t(1) << 28;

  explicit Handler(const JsonLimits& limits)
      : reject_duplicates_(limits.reject_duplicate_keys), values_left_(limits.values) {
    stack_.reset();
  }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) {
    if (reject_duplicates_) objects_.push_back(keys_.size());
    return true;
  }
  bool on_object_end(std::size_t n, json::error_code& ec) {
    if (reject_duplicates_ && !check_keys(ec)) return false;
    if (!count(ec)) return false;
    stack_.push_object(n);
    return true;
  }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(std::size_t n, json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_array(n);
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
    if (reject_duplicates_) text_.append(part.data(), part.size());
    stack_.push_chars(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t length, json::error_code&) {
    if (reject_duplicates_) {
      text_.append(part.data(), part.size());
      keys_.push_back({text_.size() - length, length});
    }
    stack_.push_key(part);
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, json::error_code&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_string(json::string_view part, std::size_t, json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_string(part);
    return true;
  }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(std::int64_t i, json::string_view, json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_int64(i);
    return true;
  }
  bool on_uint64(std::uint64_t u, json::string_view, json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_uint64(u);
    return true;
  }
  bool on_double(double d, json::string_view, json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_double(d);
    return true;
  }
  bool on_bool(bool b, json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_bool(b);
    return true;
  }
  bool on_null(json::error_code& ec) {
    if (!count(ec)) return false;
    stack_.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

  json::value release() { return stack_.release(); }

  std::optional<std::string> duplicate;  ///< the repeated key, if that was the failure
  bool too_many = false;                 ///< there were more values than allowed

 private:
  bool count(json::error_code& ec) {
    if (values_left_-- > 0) return true;
    too_many = true;
    ec = json::error::array_too_large;
    return false;
  }

  /// Compares the keys of the object that ends, by sorting: no choice of keys makes this slow, as
  /// colliding ones would make a hash table. Then forgets them.
  bool check_keys(json::error_code& ec) {
    const std::span<Key> keys = std::span(keys_).subspan(objects_.back());
    const auto view = [this](const Key& key) {
      return std::string_view(text_).substr(key.offset, key.length);
    };
    const std::size_t begin = keys.empty() ? text_.size() : keys.front().offset;
    std::ranges::sort(keys, {}, view);
    const auto twice = std::ranges::adjacent_find(keys, {}, view);
    if (twice != keys.end()) {
      duplicate = view(*twice);
      ec = json::error::extra_data;
      return false;
    }
    text_.resize(begin);
    keys_.resize(objects_.back());
    objects_.pop_back();
    return true;
  }

  struct Key {
    std::size_t offset, length;  // in text_
  };

  json::value_stack stack_;
  bool reject_duplicates_;
  std::size_t values_left_;
  std::string text_;                  // keys of all objects that are open
  std::vector<Key> keys_;             // the same, one by one
  std::vector<std::size_t> objects_;  // where the keys of each begin in keys_
};

std::string place(std::string_view where, std::string_view text, std::size_t offset) {
  const auto head = text.substr(0, std::min(offset, text.size()));
  const auto line = 1 + std::ranges::count(head, '\n');
  const auto column = head.size() - (head.rfind('\n') + 1) + 1;  // npos + 1 == 0
  return std::string(where) + ":" + std::to_string(line) + ":" + std::to_string(column);
}

std::unexpected<Error> wrong_type(std::string_view key, std::string_view expected,
                                  const json::value& found, std::string_view where) {
  auto text = json::serialize(found);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return fail(ErrorCode::corrupt,
              "\"" + std::string(key) + "\": expected " + std::string(expected) + ", found " + text,
              std::string(where));
}

std::unexpected<Error> missing(std::string_view key, std::string_view where) {
  return fail(ErrorCode::not_found, "no key \"" + std::string(key) + "\"", std::string(where));
}

bool present(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && !value->is_null();
}

/// `text` with every Infinity outside of strings replaced by a number of the same length, so that
/// places in errors stay right.
std::string spell_infinity(std::string_view text) {
  constexpr std::string_view word = "Infinity", number = "1.0e+300";
  static_assert(word.size() == number.size());
  std::string out(text);
  bool in_string = false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '"') in_string = !in_string;
    if (in_string && out[i] == '\\') ++i;
    if (!in_string && out[i] == 'I' && text.substr(i).starts_with(word))
      out.replace(i, word.size(), number);
  }
  return out;
}

}  // namespace

Result<json::value> parse_json(std::string_view text, std::string_view where,
                               const JsonLimits& limits) {
  if (text.size() > limits.bytes)
    return fail(ErrorCode::too_large,
                "JSON of " + std::to_string(text.size()) + " bytes, at most " +
                    std::to_string(limits.bytes) + " are read",
                std::string(where));
  if (limits.allow_infinity && text.find("Infinity") != std::string_view::npos) {
    JsonLimits strict = limits;
    strict.allow_infinity = false;
    return parse_json(spell_infinity(text), where, strict);
  }
  json::parse_options options;
  options.max_depth = limits.depth;
  json::basic_parser<Handler> parser(options, limits);
  json::error_code ec;
  const std::size_t consumed = parser.write_some(false, text.data(), text.size(), ec);
  if (ec) {
    const Handler& handler = parser.handler();
    const bool large = ec == json::error::too_deep || handler.too_many;
    std::string what = "JSON: " + ec.message();
    if (handler.too_many) what = "JSON: more than " + std::to_string(limits.values) + " values";
    if (handler.duplicate) what = "JSON: duplicate key " + printable(*handler.duplicate);
    return fail(large ? ErrorCode::too_large : ErrorCode::corrupt, std::move(what),
                place(where, text, consumed),
                consumed + 1 >= text.size() ? "the text ends early" : "");
  }
  if (consumed != text.size() &&
      text.find_first_not_of(" \t\r\n", consumed) != std::string_view::npos)
    return fail(ErrorCode::corrupt, "JSON: text after the value", place(where, text, consumed));
  return parser.handler().release();
}

Result<std::uint64_t> get_uint(const json::object& object, std::string_view key,
                               std::string_view where) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return missing(key, where);
  if (value->is_uint64()) return value->get_uint64();
  if (value->is_int64() && value->get_int64() >= 0)
    return static_cast<std::uint64_t>(value->get_int64());
  return wrong_type(key, "a non-negative integer", *value, where);
}

Result<double> get_number(const json::object& object, std::string_view key,
                          std::string_view where) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return missing(key, where);
  if (value->is_double()) return value->get_double();
  if (value->is_int64()) return static_cast<double>(value->get_int64());
  if (value->is_uint64()) return static_cast<double>(value->get_uint64());
  return wrong_type(key, "a number", *value, where);
}

Result<std::string_view> get_string(const json::object& object, std::string_view key,
                                    std::string_view where) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return missing(key, where);
  if (value->is_string())
    return std::string_view(value->get_string().data(), value->get_string().size());
  return wrong_type(key, "a string", *value, where);
}

Result<bool> get_bool(const json::object& object, std::string_view key, std::string_view where) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return missing(key, where);
  if (value->is_bool()) return value->get_bool();
  return wrong_type(key, "true or false", *value, where);
}

Result<std::uint64_t> get_uint_or(const json::object& object, std::string_view key,
                                  std::uint64_t fallback, std::string_view where) {
  if (!present(object, key)) return fallback;
  return get_uint(object, key, where);
}

Result<double> get_number_or(const json::object& object, std::string_view key, double fallback,
                             std::string_view where) {
  if (!present(object, key)) return fallback;
  return get_number(object, key, where);
}

Result<bool> get_bool_or(const json::object& object, std::string_view key, bool fallback,
                         std::string_view where) {
  if (!present(object, key)) return fallback;
  return get_bool(object, key, where);
}

}  // namespace tern
