#include "formats/gguf_writer.h"

#include <bit>
#include <cstring>
#include <set>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/printable.h"
#include "formats/gguf.h"

namespace tern::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are written as they lie in memory");

constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kArrayType = 9;
constexpr std::size_t kMaxAxes = 4;

template <class T>
constexpr std::uint32_t type_number() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return 0;
  if constexpr (std::is_same_v<T, std::int8_t>) return 1;
  if constexpr (std::is_same_v<T, std::uint16_t>) return 2;
  if constexpr (std::is_same_v<T, std::int16_t>) return 3;
  if constexpr (std::is_same_v<T, std::uint32_t>) return 4;
  if constexpr (std::is_same_v<T, std::int32_t>) return 5;
  if constexpr (std::is_same_v<T, float>) return 6;
  if constexpr (std::is_same_v<T, bool>) return 7;
  if constexpr (std::is_same_v<T, std::string>) return 8;
  if constexpr (std::is_same_v<T, std::uint64_t>) return 10;
  if constexpr (std::is_same_v<T, std::int64_t>) return 11;
  if constexpr (std::is_same_v<T, double>) return 12;
}

/// Fields of the head, one after the other.
class Head {
 public:
  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      put(std::uint64_t{value.size()});
      text_ += value;
    } else {
      static_assert(std::is_arithmetic_v<T>);
      char bytes[sizeof value];
      std::memcpy(bytes, &value, sizeof value);
      text_.append(bytes, sizeof value);
    }
  }
  template <class T>
  void field(const T& value) {
    put(type_number<T>());
    put(value);
  }
  template <class T>
  void field(const std::vector<T>& values) {
    put(kArrayType);
    put(type_number<T>());
    put(std::uint64_t{values.size()});
    for (const T& value : values) put(value);
  }
  void field(const GgufRaw& raw) { text_ += raw.bytes; }

  void raw(std::string_view bytes) { text_ += bytes; }
  std::string padded() && {
    text_.append((kGgufAlignment - text_.size() % kGgufAlignment) % kGgufAlignment, '\0');
    return std::move(text_);
  }

 private:
  std::string text_;
};

std::uint64_t padding_after(std::uint64_t bytes) {
  return (kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment;
}

std::uint64_t array_elements(const GgufField& field) {
  return std::visit(
      []<class T>(const T& value) -> std::uint64_t {
        if constexpr (requires { typename T::value_type; } && !std::is_same_v<T, std::string>)
          return value.size();
        return 0;
      },
      field);
}

Result<void> check_keys(const std::vector<GgufKey>& metadata) {
  std::set<std::string_view> names;
  std::uint64_t elements = 0;
  for (const GgufKey& entry : metadata) {
    if (entry.key == "general.alignment")
      return fail(ErrorCode::usage, "\"general.alignment\" is not the caller's to choose");
    if (!names.insert(entry.key).second)
      return fail(ErrorCode::usage, "two metadata keys are called " + printable(entry.key));
    elements += array_elements(entry.value);
  }
  if (metadata.size() > kMaxGgufKeys || elements > kMaxGgufArrayElements)
    return fail(ErrorCode::too_large, std::to_string(metadata.size()) + " metadata keys with " +
                                          std::to_string(elements) +
                                          " elements of arrays, at most " +
                                          std::to_string(kMaxGgufKeys) + " and " +
                                          std::to_string(kMaxGgufArrayElements) + " are read");
  return {};
}

/// Name, axes, type and offset of a tensor; moves `offset` to the next one.
Result<void> put_tensor(const TensorPlan& tensor, std::uint64_t& offset, Head& head) {
  const auto refuse = [&](ErrorCode code, const std::string& why) {
    return fail(code, "tensor " + printable(tensor.name) + " of shape " + to_string(tensor.shape) +
                          " " + why);
  };
  const auto type = ggml_type(tensor.type);
  if (!type)
    return refuse(ErrorCode::unsupported,
                  "is " + std::string(name(tensor.type)) + ", a type that GGUF does not have");
  if (tensor.shape.empty() || tensor.shape.size() > kMaxAxes)
    return refuse(ErrorCode::unsupported, "has not 1 to 4 axes");
  const auto bytes = checked_tensor_bytes(tensor.type, tensor.shape);
  const auto end = bytes ? checked_add(offset, *bytes) : std::nullopt;
  const auto next = end ? checked_add(*end, padding_after(*end)) : std::nullopt;
  if (!next)
    return refuse(ErrorCode::too_large, "is no whole number of blocks of " +
                                            std::string(name(tensor.type)) +
                                            ", or does not fit a file");
  if (*bytes == 0) return refuse(ErrorCode::usage, "is empty");
  head.put(tensor.name);
  head.put(static_cast<std::uint32_t>(tensor.shape.size()));
  for (std::size_t axis = tensor.shape.size(); axis > 0; --axis) head.put(tensor.shape[axis - 1]);
  head.put(*type);
  head.put(offset);
  offset = *next;
  return {};
}

}  // namespace

Result<std::string> gguf_head(const std::vector<GgufKey>& metadata,
                              const std::vector<TensorPlan>& tensors) {
  TERN_TRY_VOID(check_keys(metadata));
  if (tensors.size() > TensorTable::kMaxTensors)
    return fail(ErrorCode::too_large, std::to_string(tensors.size()) + " tensors, at most " +
                                          std::to_string(TensorTable::kMaxTensors) + " fit a file");
  Head head;
  head.raw("GGUF");
  head.put(kVersion);
  head.put(std::uint64_t{tensors.size()});
  head.put(std::uint64_t{metadata.size()});
  for (const GgufKey& entry : metadata) {
    head.put(entry.key);
    std::visit([&](const auto& value) { head.field(value); }, entry.value);
  }
  std::set<std::string_view> names;
  std::uint64_t offset = 0;
  for (const TensorPlan& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      return fail(ErrorCode::usage, "two tensors are called " + printable(tensor.name));
    TERN_TRY_VOID(put_tensor(tensor, offset, head));
  }
  return std::move(head).padded();
}

Result<GgufWriter> GgufWriter::create(std::filesystem::path path,
                                      const std::vector<GgufKey>& metadata,
                                      std::vector<TensorPlan> plan) {
  auto head = gguf_head(metadata, plan);
  if (!head) {
    head.error().where = path.string();
    return std::unexpected(std::move(head).error());
  }
  std::uint64_t bytes = head->size();
  std::vector<Part> parts;
  for (TensorPlan& tensor : plan) {
    const std::uint64_t size = *checked_tensor_bytes(tensor.type, tensor.shape);
    parts.push_back({std::move(tensor.name), size, padding_after(size)});
    bytes += size + padding_after(size);
  }
  TERN_TRY(auto file, AtomicFile::create(std::move(path)));
  TERN_TRY_VOID(file.write(*head));
  return GgufWriter(std::move(file), std::move(parts), bytes);
}

GgufWriter::GgufWriter(AtomicFile file, std::vector<Part> parts, std::uint64_t bytes)
    : file_(std::move(file)), parts_(std::move(parts)), bytes_(bytes) {}

Result<void> GgufWriter::write(std::string_view tensor, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  TERN_CHECK(next_ < parts_.size() && parts_[next_].name == tensor &&
             bytes.size() <= parts_[next_].missing);
  TERN_TRY_VOID(file_.write(bytes));
  Part& part = parts_[next_];
  part.missing -= bytes.size();
  if (part.missing != 0) return {};
  ++next_;
  return file_.write(std::string(part.padding, '\0'));
}

Result<void> GgufWriter::commit() {
  TERN_CHECK(next_ == parts_.size());
  return file_.commit();
}

}  // namespace tern::formats
