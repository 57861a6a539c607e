#include "formats/safetensors_writer.h"

#include <bit>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/json.h"
#include "base/printable.h"
#include "formats/safetensors.h"

namespace tern::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are written as they lie in memory");

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::uint64_t kMaxHeader = 100'000'000;  // as in the reference implementation
constexpr std::size_t kAlignment = 8;

/// Its entry in the header, after `begin` bytes of data; moves `begin` to its end.
Result<json::object> entry(const TensorPlan& tensor, std::uint64_t& begin) {
  const auto type = safetensors_type(tensor.type);
  if (!type)
    return fail(ErrorCode::unsupported, "safetensors has no type " +
                                            std::string(name(tensor.type)) + " for tensor " +
                                            printable(tensor.name));
  const auto bytes = checked_tensor_bytes(tensor.type, tensor.shape);
  const auto end = bytes ? checked_add(begin, *bytes) : std::nullopt;
  if (!end)
    return fail(ErrorCode::too_large, "tensor " + printable(tensor.name) + " of shape " +
                                          to_string(tensor.shape) + " does not fit a file");
  json::object object{{"dtype", *type},
                      {"shape", json::array(tensor.shape.begin(), tensor.shape.end())},
                      {"data_offsets", {begin, *end}}};
  begin = *end;
  return object;
}

Result<void> check_names(const std::vector<TensorPlan>& plan) {
  std::set<std::string_view> names = {kMetadata};
  for (const TensorPlan& tensor : plan)
    if (!names.insert(tensor.name).second)
      return fail(ErrorCode::usage, tensor.name == kMetadata
                                        ? "a tensor cannot be called \"__metadata__\""
                                        : "two tensors are called " + printable(tensor.name));
  return {};
}

std::string_view length_bytes(const std::uint64_t& length) {
  return {static_cast<const char*>(static_cast<const void*>(&length)), sizeof length};
}

}  // namespace

Result<std::string> safetensors_head(const std::vector<TensorPlan>& tensors,
                                     const std::map<std::string, std::string>& metadata,
                                     const std::string& where) {
  const auto refuse = [&](Error error) {
    error.where = where;
    return std::unexpected(std::move(error));
  };
  if (tensors.size() > TensorTable::kMaxTensors)
    return fail(ErrorCode::too_large,
                std::to_string(tensors.size()) + " tensors, at most " +
                    std::to_string(TensorTable::kMaxTensors) + " fit a file",
                where);
  if (auto checked = check_names(tensors); !checked) return refuse(std::move(checked).error());
  json::object header;
  if (!metadata.empty()) {
    json::object& object = header[kMetadata].emplace_object();
    for (const auto& [key, value] : metadata) object[key] = value;
  }
  std::uint64_t data = 0;
  for (const TensorPlan& tensor : tensors) {
    auto object = entry(tensor, data);
    if (!object) return refuse(std::move(object).error());
    header[tensor.name] = *std::move(object);
  }
  std::string text = json::serialize(header);
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  if (text.size() > kMaxHeader)
    return fail(ErrorCode::too_large,
                "a header of " + std::to_string(text.size()) + " bytes, at most " +
                    std::to_string(kMaxHeader) + " are read",
                where);
  const std::uint64_t length = text.size();
  return std::string(length_bytes(length)) + text;
}

Result<SafetensorsWriter> SafetensorsWriter::create(
    std::filesystem::path path, std::vector<TensorPlan> plan,
    const std::map<std::string, std::string>& metadata) {
  TERN_TRY(const std::string head, safetensors_head(plan, metadata, path.string()));
  std::vector<Part> parts;
  std::uint64_t data = 0;
  for (TensorPlan& tensor : plan) {
    const auto bytes = checked_tensor_bytes(tensor.type, tensor.shape);
    TERN_CHECK(bytes.has_value());  // safetensors_head has seen it
    data += *bytes;
    parts.push_back({std::move(tensor.name), *bytes});
  }
  TERN_TRY(auto file, AtomicFile::create(std::move(path)));
  TERN_TRY_VOID(file.write(head));
  return SafetensorsWriter(std::move(file), std::move(parts), head.size() + data);
}

SafetensorsWriter::SafetensorsWriter(AtomicFile file, std::vector<Part> parts, std::uint64_t bytes)
    : file_(std::move(file)), parts_(std::move(parts)), bytes_(bytes) {
  skip_complete();
}

void SafetensorsWriter::skip_complete() {
  while (next_ < parts_.size() && parts_[next_].missing == 0) ++next_;
}

Result<void> SafetensorsWriter::write(std::string_view tensor, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  TERN_CHECK(next_ < parts_.size() && parts_[next_].name == tensor &&
             bytes.size() <= parts_[next_].missing);
  TERN_TRY_VOID(file_.write(bytes));
  parts_[next_].missing -= bytes.size();
  skip_complete();
  return {};
}

Result<void> SafetensorsWriter::commit() {
  TERN_CHECK(next_ == parts_.size());
  return file_.commit();
}

}  // namespace tern::formats
