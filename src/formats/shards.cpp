#include "formats/shards.h"

#include <map>
#include <utility>

#include "base/json.h"
#include "base/printable.h"
#include "formats/safetensors.h"

namespace tern::formats {
namespace {

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

/// File names to the tensors that the index maps to them; views into the index.
using WeightMap = std::map<std::string_view, std::vector<std::string_view>>;

Result<WeightMap> parse_weight_map(const json::value& index, const std::string& place) {
  const json::value* entries =
      index.is_object() ? index.get_object().if_contains("weight_map") : nullptr;
  if (entries == nullptr || !entries->is_object() || entries->get_object().empty())
    return fail(ErrorCode::corrupt, "no object \"weight_map\" with entries", place);
  WeightMap shards;
  for (const auto& entry : entries->get_object()) {
    const auto tensor = view(entry.key());
    if (!entry.value().is_string())
      return fail(ErrorCode::corrupt,
                  "\"weight_map\": tensor " + printable(tensor) + " is mapped to no string", place);
    const auto shard = view(entry.value().get_string());
    if (!is_plain_name(shard))
      return fail(ErrorCode::corrupt,
                  "\"weight_map\": tensor " + printable(tensor) + " is mapped to " +
                      printable(shard) + ", which is no plain file name",
                  place, "shards lie in the folder of their index");
    shards[shard].push_back(tensor);
    if (shards.size() > kMaxFiles)
      return fail(ErrorCode::too_large,
                  "more than " + std::to_string(kMaxFiles) + " different shards", place);
  }
  return shards;
}

/// The bytes of all files, or one error that lists those that are not there.
Result<std::vector<Bytes>> open_all(Folder& folder, const std::vector<std::string>& files) {
  constexpr std::size_t kListed = 8;
  std::vector<Bytes> opened;
  std::string list;
  std::size_t missing = 0;
  for (const std::string& file : files) {
    TERN_TRY(const auto bytes, folder.open(file));
    opened.push_back(bytes.value_or(Bytes{}));
    if (bytes || ++missing > kListed) continue;
    list += (list.empty() ? "" : ", ") + printable(file);
  }
  if (missing == 0) return opened;
  if (missing > kListed) list += " and " + std::to_string(missing - kListed) + " more";
  return fail(ErrorCode::not_found,
              std::to_string(missing) + " of " + std::to_string(files.size()) +
                  " files of the model are missing: " + list,
              folder.place(""), "a download that did not finish, or files that were renamed");
}

Result<void> check_mapped(const TensorTable& tensors, const std::vector<std::string_view>& mapped,
                          std::string_view shard, const std::string& index_place) {
  for (const std::string_view tensor : mapped)
    if (tensors.find(tensor) == nullptr)
      return fail(ErrorCode::corrupt,
                  "tensor " + printable(tensor) + " is mapped to " + printable(shard) +
                      ", which does not hold it",
                  index_place, "shards and index of different versions of the model");
  return {};
}

/// The keys of a part say what its name says. @returns split.tensors.count
Result<std::uint64_t> check_part(const GgufMetadata& metadata, const PartName& name,
                                 const std::string& place) {
  const auto expect = [&](std::string_view key, std::uint64_t expected) -> Result<void> {
    const auto found = metadata.get_uint(key);
    if (found && *found == expected) return {};
    return fail(ErrorCode::corrupt,
                "the name says part " + std::to_string(name.part) + " of " +
                    std::to_string(name.count) +
                    (found ? ", key " + printable(key) + " is " + std::to_string(*found) +
                                 " instead of " + std::to_string(expected)
                           : ": " + found.error().what),
                place, "parts of different models, or files that were renamed");
  };
  TERN_TRY_VOID(expect("split.no", name.part - 1));
  TERN_TRY_VOID(expect("split.count", name.count));
  auto total = metadata.get_uint("split.tensors.count");
  if (!total) total.error().where = place;
  return total;
}

Result<ShardedTensors> open_single_gguf(Folder& folder, std::string_view name) {
  TERN_TRY(const auto files, open_all(folder, {std::string(name)}));
  TERN_TRY(Gguf gguf, read_gguf(files[0], folder.place(name)));
  const auto count = gguf.metadata.get_uint("split.count");
  if (count && *count > 1)
    return fail(ErrorCode::corrupt,
                "this is one of " + std::to_string(*count) +
                    " parts, but its name does not end in -00001-of-" +
                    std::string(*count < 10 ? "0000" : "000") + std::to_string(*count) + ".gguf",
                folder.place(name), "give the parts their names back, so that all can be found");
  return ShardedTensors{{std::string(name)}, std::move(gguf.metadata), std::move(gguf.tensors)};
}

std::string five_digits(std::uint32_t number) {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

std::optional<std::uint32_t> parse_five_digits(std::string_view text) {
  std::uint32_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return number;
}

}  // namespace

Result<ShardedTensors> open_shards(Folder& folder, std::string_view index,
                                   std::string_view index_name) {
  const std::string index_place = folder.place(index_name);
  TERN_TRY(const json::value parsed, parse_json(index, index_place, {.depth = 8}));
  TERN_TRY(const WeightMap shards, parse_weight_map(parsed, index_place));
  ShardedTensors result;
  for (const auto& [shard, mapped] : shards) result.files.emplace_back(shard);
  TERN_TRY(const auto opened, open_all(folder, result.files));
  for (std::size_t i = 0; i < opened.size(); ++i) {
    const std::string& shard = result.files[i];
    TERN_TRY(Safetensors read, read_safetensors(opened[i], folder.place(shard)));
    TERN_TRY_VOID(check_mapped(read.tensors, shards.at(shard), shard, index_place));
    TERN_TRY_VOID(result.tensors.merge(std::move(read.tensors), folder.place(shard)));
  }
  return result;
}

std::string PartName::of_part(std::uint32_t other) const {
  return stem + "-" + five_digits(other) + "-of-" + five_digits(count) + ".gguf";
}

std::optional<PartName> parse_part_name(std::string_view name) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";
  if (name.size() <= kPattern.size()) return std::nullopt;
  const auto tail = name.substr(name.size() - kPattern.size());
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf")
    return std::nullopt;
  const auto part = parse_five_digits(tail.substr(1, 5));
  const auto count = parse_five_digits(tail.substr(10, 5));
  if (!part || !count) return std::nullopt;
  return PartName{std::string(name.substr(0, name.size() - kPattern.size())), *part, *count};
}

Result<ShardedTensors> open_gguf(Folder& folder, std::string_view name) {
  const auto split = parse_part_name(name);
  if (!split || (split->part == 1 && split->count == 1)) return open_single_gguf(folder, name);
  if (split->part < 1 || split->part > split->count)
    return fail(
        ErrorCode::corrupt,
        "the name says part " + std::to_string(split->part) + " of " + std::to_string(split->count),
        folder.place(name), "parts are counted from 1");
  if (split->count > kMaxFiles)
    return fail(ErrorCode::too_large,
                "the name says " + std::to_string(split->count) + " parts, at most " +
                    std::to_string(kMaxFiles) + " are opened",
                folder.place(name));
  ShardedTensors result;
  for (std::uint32_t part = 1; part <= split->count; ++part)
    result.files.push_back(split->of_part(part));
  TERN_TRY(const auto opened, open_all(folder, result.files));
  std::optional<std::uint64_t> declared;
  for (std::uint32_t part = 1; part <= split->count; ++part) {
    const std::string place = folder.place(result.files[part - 1]);
    TERN_TRY(Gguf gguf, read_gguf(opened[part - 1], place));
    TERN_TRY(const auto total,
             check_part(gguf.metadata, PartName{split->stem, part, split->count}, place));
    if (declared && *declared != total)
      return fail(ErrorCode::corrupt,
                  "the first part declares " + std::to_string(*declared) +
                      " tensors in all, this one " + std::to_string(total),
                  place, "parts of different models");
    declared = total;
    if (part == 1) result.metadata = std::move(gguf.metadata);
    TERN_TRY_VOID(result.tensors.merge(std::move(gguf.tensors), place));
  }
  if (result.tensors.size() != declared)
    return fail(ErrorCode::corrupt,
                "the parts declare " + std::to_string(*declared) + " tensors in all, they hold " +
                    std::to_string(result.tensors.size()),
                folder.place(name), "parts of different models");
  return result;
}

}  // namespace tern::formats
