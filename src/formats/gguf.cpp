#include "formats/gguf.h"

#include <bit>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/checked.h"
#include "base/printable.h"
#include "formats/byte_reader.h"
#include "formats/wrong_file.h"

namespace tern::formats {
namespace {

constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kMinAlignment = 8;
constexpr std::uint64_t kMaxAlignment = 65'536;
constexpr std::uint64_t kMaxKeyBytes = 65'535;
constexpr std::uint32_t kMaxDims = 4;
// The least that one entry of each kind takes: its empty name and fixed fields.
constexpr std::uint64_t kMinKeyBytes = 8 + 4 + 1;
constexpr std::uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;

enum class ValueType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};
constexpr std::uint64_t kValueBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

struct GgmlType {
  std::uint32_t id;
  std::string_view name;
  std::optional<DType> type;  // nothing: known by name only
};

constexpr GgmlType kGgmlTypes[] = {
    {0, "f32", DType::f32},
    {1, "f16", DType::f16},
    {2, "q4_0", DType::q4_0},
    {3, "q4_1", DType::q4_1},
    {6, "q5_0", DType::q5_0},
    {7, "q5_1", DType::q5_1},
    {8, "q8_0", DType::q8_0},
    {9, "q8_1", {}},
    {10, "q2_k", DType::q2_k},
    {11, "q3_k", DType::q3_k},
    {12, "q4_k", DType::q4_k},
    {13, "q5_k", DType::q5_k},
    {14, "q6_k", DType::q6_k},
    {15, "q8_k", {}},
    {16, "iq2_xxs", {}},
    {17, "iq2_xs", {}},
    {18, "iq3_xxs", {}},
    {19, "iq1_s", {}},
    {20, "iq4_nl", DType::iq4_nl},
    {21, "iq3_s", {}},
    {22, "iq2_s", {}},
    {23, "iq4_xs", DType::iq4_xs},
    {24, "i8", DType::i8},
    {25, "i16", DType::i16},
    {26, "i32", DType::i32},
    {27, "i64", DType::i64},
    {28, "f64", DType::f64},
    {29, "iq1_m", {}},
    {30, "bf16", DType::bf16},
    {34, "tq1_0", {}},
    {35, "tq2_0", {}},
    {39, "mxfp4", DType::mxfp4},
    {40, "nvfp4", {}},
    {41, "q1_0", {}},
};

/// What a stored scalar becomes in a GgufValue.
template <class Stored>
using Wide = std::conditional_t<
    std::is_same_v<Stored, bool> || std::is_same_v<Stored, std::string_view>, Stored,
    std::conditional_t<std::is_floating_point_v<Stored>, double,
                       std::conditional_t<std::is_signed_v<Stored>, std::int64_t, std::uint64_t>>>;

/// Calls `read` for the C++ type of a scalar or string type.
template <class Read>
Result<GgufValue> dispatch(ValueType type, Read read) {
  switch (type) {
    case ValueType::u8:
      return read.template operator()<std::uint8_t>();
    case ValueType::i8:
      return read.template operator()<std::int8_t>();
    case ValueType::u16:
      return read.template operator()<std::uint16_t>();
    case ValueType::i16:
      return read.template operator()<std::int16_t>();
    case ValueType::u32:
      return read.template operator()<std::uint32_t>();
    case ValueType::i32:
      return read.template operator()<std::int32_t>();
    case ValueType::f32:
      return read.template operator()<float>();
    case ValueType::boolean:
      return read.template operator()<bool>();
    case ValueType::string:
      return read.template operator()<std::string_view>();
    case ValueType::u64:
      return read.template operator()<std::uint64_t>();
    case ValueType::i64:
      return read.template operator()<std::int64_t>();
    case ValueType::f64:
      return read.template operator()<double>();
    case ValueType::array:
      break;
  }
  return fail(ErrorCode::internal, "an array where its element was expected");
}

/// The sections of one file, read in order.
class Parser {
 public:
  Parser(Bytes file, std::string_view name) : file_(file), name_(name), reader_(file, name) {}

  Result<Gguf> parse() {
    TERN_TRY_VOID(magic_and_version());
    TERN_TRY(const auto tensors, count("tensors", kMinTensorBytes, TensorTable::kMaxTensors));
    TERN_TRY(const auto keys, count("metadata keys", kMinKeyBytes, kMaxGgufKeys));
    Gguf gguf;
    for (std::uint64_t i = 0; i < keys; ++i) TERN_TRY_VOID(metadata_entry(gguf.metadata));
    TERN_TRY(const std::uint64_t alignment, alignment_of(gguf.metadata));
    std::vector<TensorClaim> claims;
    claims.reserve(tensors);
    for (std::uint64_t i = 0; i < tensors; ++i) {
      TERN_TRY(auto claim, tensor_entry());
      claims.push_back(std::move(claim));
    }
    TERN_TRY(const Bytes data, data_section(alignment, claims.empty()));
    const TableRules rules = {.alignment = alignment, .cover_data_exactly = true};
    TERN_TRY(gguf.tensors, TensorTable::prove(std::move(claims), data, rules, name_));
    return gguf;
  }

 private:
  Result<void> magic_and_version() {
    auto magic = reader_.take(4, "the magic number");
    if (!magic || as_text(*magic) != "GGUF")
      return fail(ErrorCode::corrupt, "the file does not begin with \"GGUF\"",
                  std::string(name_) + ", byte 0", wrong_file_hint(file_));
    TERN_TRY(const auto version, reader_.read<std::uint32_t>("the version"));
    if (version == 2 || version == 3) return {};
    const std::uint32_t swapped = __builtin_bswap32(version);
    std::string hint = "versions 2 and 3 are read";
    if (version == 1) hint += "; get a newer conversion of the model";
    if (swapped >= 1 && swapped <= 3) hint = "this is a big-endian file: get the little-endian one";
    return fail(ErrorCode::unsupported, "GGUF version " + std::to_string(version),
                std::string(name_) + ", byte 4", std::move(hint));
  }

  /// A number of things of at least `least` bytes each: no more than the file could hold.
  Result<std::uint64_t> count(std::string_view things, std::uint64_t least, std::uint64_t limit) {
    TERN_TRY(const auto n, reader_.read<std::uint64_t>("the number of " + std::string(things)));
    if (n > reader_.remaining() / least)
      return reader_.corrupt(std::to_string(n) + " " + std::string(things) +
                                 " are declared, the remaining " +
                                 std::to_string(reader_.remaining()) + " bytes cannot hold them",
                             "a download that did not finish, or a damaged file");
    if (n > limit)
      return fail(ErrorCode::too_large,
                  std::to_string(n) + " " + std::string(things) + ", at most " +
                      std::to_string(limit) + " are read",
                  reader_.place());
    return n;
  }

  Result<void> metadata_entry(GgufMetadata& metadata) {
    const std::string place = reader_.place();
    TERN_TRY(const auto key, reader_.string("a metadata key"));
    if (key.size() > kMaxKeyBytes)
      return fail(ErrorCode::corrupt,
                  "a metadata key of " + std::to_string(key.size()) + " bytes, at most " +
                      std::to_string(kMaxKeyBytes) + " are allowed",
                  place);
    const std::uint64_t begin = reader_.offset();
    auto value = value_of();
    if (!value) {
      value.error().what = "key " + printable(key) + ": " + value.error().what;
      return std::unexpected(std::move(value).error());
    }
    const Bytes raw = file_.subspan(begin, reader_.offset() - begin);
    if (!metadata.add(key, *std::move(value), as_text(raw)))
      return fail(ErrorCode::corrupt, "duplicate key " + printable(key), place);
    return {};
  }

  Result<ValueType> value_type() {
    const std::string place = reader_.place();
    TERN_TRY(const auto id, reader_.read<std::uint32_t>("the value type"));
    if (id > static_cast<std::uint32_t>(ValueType::f64))
      return fail(ErrorCode::corrupt, "unknown value type " + std::to_string(id), place);
    return static_cast<ValueType>(id);
  }

  Result<GgufValue> value_of() {
    TERN_TRY(const ValueType type, value_type());
    if (type == ValueType::array) return array();
    return dispatch(type, [this]<class Stored>() -> Result<GgufValue> { return item<Stored>(); });
  }

  Result<GgufValue> array() {
    TERN_TRY(const ValueType type, value_type());
    if (type == ValueType::array)
      return fail(ErrorCode::unsupported, "an array of arrays", reader_.place());
    const std::uint64_t least = kValueBytes[static_cast<std::size_t>(type)];
    TERN_TRY(const auto n, count("array elements", least, kMaxGgufArrayElements));
    array_elements_ += n;
    if (array_elements_ > kMaxGgufArrayElements)
      return fail(ErrorCode::too_large,
                  "the arrays up to here have " + std::to_string(array_elements_) +
                      " elements, at most " + std::to_string(kMaxGgufArrayElements) + " are read",
                  reader_.place());
    return dispatch(type, [this, n]<class Stored>() -> Result<GgufValue> {
      std::vector<Wide<Stored>> values;
      values.reserve(n);
      for (std::uint64_t i = 0; i < n; ++i) {
        TERN_TRY(const auto value, item<Stored>());
        values.push_back(value);
      }
      return GgufArray(std::move(values));
    });
  }

  /// One scalar or string as it is stored.
  template <class Stored>
  Result<Wide<Stored>> item() {
    if constexpr (std::is_same_v<Stored, std::string_view>) {
      return reader_.string("a string");
    } else if constexpr (std::is_same_v<Stored, bool>) {
      TERN_TRY(const auto value, reader_.read<std::uint8_t>("a bool"));
      if (value > 1)
        return reader_.corrupt("a bool is " + std::to_string(value) + ", neither 0 nor 1");
      return value == 1;
    } else {
      TERN_TRY(const auto value, reader_.read<Stored>("a number"));
      return Wide<Stored>{value};
    }
  }

  Result<std::uint64_t> alignment_of(const GgufMetadata& metadata) const {
    constexpr std::string_view kKey = "general.alignment";
    if (metadata.find(kKey) == nullptr) return kDefaultAlignment;
    auto alignment = metadata.get_uint(kKey);
    if (!alignment) {
      alignment.error().where = std::string(name_);
      return alignment;
    }
    if (!std::has_single_bit(*alignment) || *alignment < kMinAlignment ||
        *alignment > kMaxAlignment)
      return fail(ErrorCode::corrupt,
                  "key " + printable(kKey) + " is " + std::to_string(*alignment) +
                      ", no power of two from " + std::to_string(kMinAlignment) + " to " +
                      std::to_string(kMaxAlignment),
                  std::string(name_));
    return alignment;
  }

  Result<TensorClaim> tensor_entry() {
    const std::string place = reader_.place();
    TERN_TRY(const auto tensor, reader_.string("a tensor name"));
    auto claim = tensor_fields(tensor);
    if (!claim) {
      claim.error().what = "tensor " + printable(tensor) + ": " + claim.error().what;
      if (claim.error().where.empty()) claim.error().where = place;
    }
    return claim;
  }

  /// What follows the name; an error without a place is given that of the entry.
  Result<TensorClaim> tensor_fields(std::string_view tensor) {
    TERN_TRY(const auto dims, reader_.read<std::uint32_t>("the number of axes"));
    if (dims < 1 || dims > kMaxDims)
      return fail(ErrorCode::corrupt, std::to_string(dims) + " axes, expected 1 to 4");
    Shape shape(dims);
    for (std::uint32_t axis = 0; axis < dims; ++axis) {
      TERN_TRY(shape[dims - 1 - axis], reader_.read<std::uint64_t>("an extent"));  // fastest first
    }
    for (const std::uint64_t extent : shape)
      if (extent == 0)
        return fail(ErrorCode::corrupt, "an extent of " + to_string(shape) + " is 0");
    TERN_TRY(const auto id, reader_.read<std::uint32_t>("the tensor type"));
    TERN_TRY(const DType type, tensor_type(id));
    TERN_TRY(const auto offset, reader_.read<std::uint64_t>("the offset"));
    // A size that cannot be computed counts as none here; the table refuses it with its reason.
    const auto end = checked_add(offset, checked_tensor_bytes(type, shape).value_or(0));
    if (!end)
      return fail(ErrorCode::corrupt, "offset " + std::to_string(offset) + " and size of " +
                                          to_string(shape) + " wrap 64 bits");
    return TensorClaim{std::string(tensor), type, std::move(shape), offset, *end};
  }

  static Result<DType> tensor_type(std::uint32_t id) {
    std::string known = "type " + std::to_string(id);
    for (const GgmlType& candidate : kGgmlTypes) {
      if (candidate.id != id) continue;
      if (candidate.type) return *candidate.type;
      known += " (" + std::string(candidate.name) + ")";
    }
    return fail(ErrorCode::unsupported, known + " is not supported");
  }

  /// What follows the header and its padding. A file without tensors may end unpadded.
  Result<Bytes> data_section(std::uint64_t alignment, bool empty) const {
    const auto begin = checked_align(reader_.offset(), alignment);
    if (begin && *begin <= file_.size()) return file_.subspan(*begin);
    if (empty) return Bytes{};
    return reader_.corrupt("the file ends before its tensor data",
                           "a download that did not finish, or a damaged file");
  }

  Bytes file_;
  std::string_view name_;
  ByteReader reader_;
  std::uint64_t array_elements_ = 0;
};

}  // namespace

std::optional<std::uint32_t> ggml_type(DType type) {
  for (const GgmlType& candidate : kGgmlTypes)
    if (candidate.type == type) return candidate.id;
  return std::nullopt;
}

Result<Gguf> read_gguf(Bytes file, std::string_view name) {
  return Parser(file, name).parse();
}

}  // namespace tern::formats
