#include <utility>

#include "base/printable.h"
#include "formats/gguf.h"

namespace tern::formats {
namespace {

constexpr std::string_view kWhere = "GGUF metadata";

std::string_view kind(const GgufValue& value) {
  constexpr std::string_view kScalars[] = {"an unsigned integer", "an integer", "a float", "a bool",
                                           "a string"};
  constexpr std::string_view kArrays[] = {"an array of unsigned integers", "an array of integers",
                                          "an array of floats", "an array of bools",
                                          "an array of strings"};
  if (const auto* array = std::get_if<GgufArray>(&value)) return kArrays[array->index()];
  return kScalars[value.index()];
}

std::unexpected<Error> wrong_type(std::string_view key, std::string_view expected,
                                  std::string_view found) {
  return fail(ErrorCode::corrupt,
              "key " + printable(key) + ": expected " + std::string(expected) + ", found " +
                  std::string(found),
              std::string(kWhere));
}

Result<const GgufValue*> need(const GgufMetadata& metadata, std::string_view key) {
  if (const GgufValue* value = metadata.find(key)) return value;
  return fail(ErrorCode::not_found, "no key " + printable(key), std::string(kWhere));
}

template <class T>
Result<T> get(const GgufMetadata& metadata, std::string_view key, std::string_view expected) {
  TERN_TRY(const GgufValue* const value, need(metadata, key));
  if (const T* scalar = std::get_if<T>(value)) return *scalar;
  return wrong_type(key, expected, kind(*value));
}

Result<std::uint64_t> to_unsigned(std::string_view key, std::int64_t number) {
  if (number >= 0) return static_cast<std::uint64_t>(number);
  return wrong_type(key, "a non-negative integer", std::to_string(number));
}

}  // namespace

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &entries_[found->second].value;
}

Result<std::uint64_t> GgufMetadata::get_uint(std::string_view key) const {
  TERN_TRY(const GgufValue* const value, need(*this, key));
  if (const auto* number = std::get_if<std::uint64_t>(value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(value)) return to_unsigned(key, *number);
  return wrong_type(key, "a non-negative integer", kind(*value));
}

Result<double> GgufMetadata::get_number(std::string_view key) const {
  TERN_TRY(const GgufValue* const value, need(*this, key));
  if (const auto* number = std::get_if<double>(value)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<std::int64_t>(value)) return static_cast<double>(*number);
  return wrong_type(key, "a number", kind(*value));
}

Result<bool> GgufMetadata::get_bool(std::string_view key) const {
  return get<bool>(*this, key, "a bool");
}

Result<std::string_view> GgufMetadata::get_string(std::string_view key) const {
  return get<std::string_view>(*this, key, "a string");
}

Result<std::vector<std::uint64_t>> GgufMetadata::get_uints(std::string_view key) const {
  TERN_TRY(const GgufValue* const value, need(*this, key));
  const auto* array = std::get_if<GgufArray>(value);
  if (array == nullptr) {
    TERN_TRY(const std::uint64_t number, get_uint(key));
    return std::vector{number};
  }
  if (const auto* numbers = std::get_if<std::vector<std::uint64_t>>(array)) return *numbers;
  const auto* integers = std::get_if<std::vector<std::int64_t>>(array);
  if (integers == nullptr) return wrong_type(key, "an array of integers", kind(*value));
  std::vector<std::uint64_t> numbers;
  numbers.reserve(integers->size());
  for (const std::int64_t integer : *integers) {
    TERN_TRY(const std::uint64_t number, to_unsigned(key, integer));
    numbers.push_back(number);
  }
  return numbers;
}

Result<std::span<const std::string_view>> GgufMetadata::get_strings(std::string_view key) const {
  TERN_TRY(const GgufValue* const value, need(*this, key));
  if (const auto* array = std::get_if<GgufArray>(value))
    if (const auto* strings = std::get_if<std::vector<std::string_view>>(array))
      return std::span<const std::string_view>(*strings);
  return wrong_type(key, "an array of strings", kind(*value));
}

Result<void> GgufMetadata::add(std::string_view key, GgufValue value, std::string_view raw) {
  if (!index_.emplace(key, entries_.size()).second)
    return fail(ErrorCode::corrupt, "duplicate key " + printable(key), std::string(kWhere));
  entries_.push_back({key, std::move(value), raw});
  return {};
}

}  // namespace tern::formats
