#include "formats/safetensors.h"

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/printable.h"
#include "formats/byte_reader.h"
#include "formats/wrong_file.h"

namespace tern::formats {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // as in the reference implementation
constexpr std::size_t kMaxRank = 8;                // this family needs 4
constexpr std::uint64_t kDataOffset = 8;           // the length field; the header follows it

constexpr std::pair<std::string_view, DType> kTypes[] = {
    {"F64", DType::f64},         {"F32", DType::f32},         {"F16", DType::f16},
    {"BF16", DType::bf16},       {"I64", DType::i64},         {"I32", DType::i32},
    {"I16", DType::i16},         {"I8", DType::i8},           {"U64", DType::u64},
    {"U32", DType::u32},         {"U16", DType::u16},         {"U8", DType::u8},
    {"BOOL", DType::boolean},    {"F8_E4M3", DType::f8_e4m3}, {"F8_E5M2", DType::f8_e5m2},
    {"F8_E8M0", DType::f8_e8m0},
};

std::optional<DType> type_from_name(std::string_view spelled) {
  for (const auto& [known, type] : kTypes)
    if (known == spelled) return type;
  return std::nullopt;
}

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

/// One entry of the header: `"name": {"dtype": ..., "shape": [...], "data_offsets": [b, e]}`.
class Entry {
 public:
  Entry(std::string_view name, std::string_view file) : name_(name), file_(file) {}

  Result<TensorClaim> parse(const json::value& value) const {
    if (!value.is_object()) return corrupt("its entry is no object");
    const json::object& fields = value.get_object();
    for (const auto& field : fields) {
      const auto key = view(field.key());
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        return corrupt("unknown field " + printable(key));
    }
    TERN_TRY(const DType type, parse_type(fields));
    TERN_TRY(Shape shape, numbers(fields, "shape"));
    if (shape.size() > kMaxRank)
      return fail(ErrorCode::unsupported,
                  "tensor " + printable(name_) + ": " + std::to_string(shape.size()) +
                      " axes, at most " + std::to_string(kMaxRank) + " are supported",
                  std::string(file_));
    TERN_TRY(const auto offsets, numbers(fields, "data_offsets"));
    if (offsets.size() != 2)
      return corrupt("\"data_offsets\" has " + std::to_string(offsets.size()) +
                     " numbers, not begin and end");
    return TensorClaim{std::string(name_), type, std::move(shape), offsets[0], offsets[1]};
  }

 private:
  Result<DType> parse_type(const json::object& fields) const {
    const json::value* value = fields.if_contains("dtype");
    if (value == nullptr) return corrupt("no field \"dtype\"");
    if (!value->is_string()) return corrupt("\"dtype\" is no string");
    const auto spelled = view(value->get_string());
    if (const auto type = type_from_name(spelled)) return *type;
    return fail(ErrorCode::unsupported,
                "tensor " + printable(name_) + ": unknown dtype " + printable(spelled),
                std::string(file_));
  }

  Result<std::vector<std::uint64_t>> numbers(const json::object& fields,
                                             std::string_view key) const {
    const json::value* value = fields.if_contains(key);
    if (value == nullptr) return corrupt("no field " + printable(key));
    if (!value->is_array()) return corrupt(printable(key) + " is no array");
    std::vector<std::uint64_t> numbers;
    numbers.reserve(value->get_array().size());
    for (const json::value& element : value->get_array()) {
      if (element.is_uint64()) {
        numbers.push_back(element.get_uint64());
      } else if (element.is_int64() && element.get_int64() >= 0) {
        numbers.push_back(static_cast<std::uint64_t>(element.get_int64()));
      } else {
        return corrupt(printable(key) + " holds " + printable(json::serialize(element)) +
                       ", expected an integer from 0 to 2^64-1");
      }
    }
    return numbers;
  }

  std::unexpected<Error> corrupt(std::string what) const {
    return fail(ErrorCode::corrupt, "tensor " + printable(name_) + ": " + std::move(what),
                std::string(file_));
  }

  std::string_view name_;
  std::string_view file_;
};

Result<void> read_metadata(const json::value& value, std::string_view file,
                           std::map<std::string, std::string>& metadata) {
  if (!value.is_object())
    return fail(ErrorCode::corrupt, "\"__metadata__\" is no object", std::string(file));
  for (const auto& item : value.get_object()) {
    if (!item.value().is_string())
      return fail(ErrorCode::corrupt,
                  "\"__metadata__\": the value of " + printable(view(item.key())) + " is no string",
                  std::string(file));
    metadata.emplace(view(item.key()), view(item.value().get_string()));
  }
  return {};
}

/// Cuts the header out of the file. @returns its JSON text
Result<std::string_view> header_text(Bytes file, std::string_view name) {
  ByteReader reader(file, name);
  const auto with_hint = [&](Error error) {
    if (auto hint = wrong_file_hint(file); !hint.empty()) error.hint = std::move(hint);
    return std::unexpected(std::move(error));
  };
  auto length = reader.read<std::uint64_t>("the length of the header");
  if (!length) return with_hint(std::move(length).error());
  if (*length > kMaxHeader)
    return with_hint({ErrorCode::too_large,
                      "the header is declared to have " + std::to_string(*length) +
                          " bytes, at most " + std::to_string(kMaxHeader) + " are read",
                      std::string(name) + ", byte 0", "this is not a safetensors file"});
  auto header = reader.take(*length, "the header");
  if (!header) return with_hint(std::move(header).error());
  const std::string_view text = as_text(*header);
  if (!text.starts_with('{'))
    return with_hint({ErrorCode::corrupt, "the header does not begin with '{'",
                      std::string(name) + ", byte 8", "this is not a safetensors file"});
  return text;
}

}  // namespace

std::optional<std::string_view> safetensors_type(DType type) {
  for (const auto& [spelled, known] : kTypes)
    if (known == type) return spelled;
  return std::nullopt;
}

Result<Safetensors> read_safetensors(Bytes file, std::string_view name) {
  TERN_TRY(const std::string_view text, header_text(file, name));
  // An entry has five values and one for each axis.
  const JsonLimits limits = {
      .depth = 4, .bytes = kMaxHeader, .values = TensorTable::kMaxTensors * 16};
  TERN_TRY(const json::value header, parse_json(text, std::string(name) + ", header", limits));
  Safetensors result;
  std::vector<TensorClaim> claims;
  claims.reserve(header.get_object().size());
  for (const auto& item : header.get_object()) {
    const auto key = view(item.key());
    if (key == "__metadata__") {
      TERN_TRY_VOID(read_metadata(item.value(), name, result.metadata));
    } else {
      TERN_TRY(auto claim, Entry(key, name).parse(item.value()));
      claims.push_back(std::move(claim));
    }
  }
  const Bytes data = file.subspan(kDataOffset + text.size());
  TERN_TRY(result.tensors,
           TensorTable::prove(std::move(claims), data, {.cover_data_exactly = true}, name));
  return result;
}

}  // namespace tern::formats
