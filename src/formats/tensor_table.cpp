#include "formats/tensor_table.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/printable.h"

namespace tern::formats {
namespace {

std::string range(std::uint64_t begin, std::uint64_t end) {
  return std::to_string(begin) + ".." + std::to_string(end);
}

std::unexpected<Error> corrupt(const TensorClaim& claim, std::string what, std::string_view file,
                               std::string hint = {}) {
  return fail(ErrorCode::corrupt, "tensor " + printable(claim.name) + ": " + std::move(what),
              std::string(file), std::move(hint));
}

/// Shape and type give exactly the claimed number of bytes.
Result<void> check_size(const TensorClaim& claim, std::string_view file) {
  const auto shape = to_string(claim.shape);
  const std::string type(name(claim.type));
  const std::uint64_t row = claim.shape.empty() ? 1 : claim.shape.back();
  const std::uint64_t block = block_layout(claim.type).elements;
  if (row % block != 0)
    return corrupt(claim,
                   "rows of " + std::to_string(row) + " elements are no whole number of " + type +
                       " blocks of " + std::to_string(block),
                   file);
  const auto bytes = checked_tensor_bytes(claim.type, claim.shape);
  if (!bytes) return corrupt(claim, "the size of " + type + " " + shape + " wraps 64 bits", file);
  if (claim.end < claim.begin)
    return corrupt(claim,
                   "ends at " + std::to_string(claim.end) + ", before it begins at " +
                       std::to_string(claim.begin),
                   file);
  if (*bytes != claim.end - claim.begin)
    return corrupt(claim,
                   type + " " + shape + " takes " + std::to_string(*bytes) +
                       " bytes, its offsets " + range(claim.begin, claim.end) + " hold " +
                       std::to_string(claim.end - claim.begin),
                   file);
  return {};
}

/// `previous` is the tensor before it in the data, or null.
Result<void> check_place(const TensorClaim& claim, const TensorClaim* previous, Bytes data,
                         const TableRules& rules, std::string_view file) {
  const auto place = "bytes " + range(claim.begin, claim.end);
  if (claim.end > data.size())
    return corrupt(claim, place + " run past the data section of " + std::to_string(data.size()),
                   file, "a download that did not finish, or a damaged file");
  if (claim.begin % rules.alignment != 0)
    return corrupt(claim,
                   "begins at " + std::to_string(claim.begin) + ", no multiple of " +
                       std::to_string(rules.alignment),
                   file);
  const std::uint64_t cursor = previous == nullptr ? 0 : previous->end;
  if (claim.begin < cursor)
    return corrupt(claim,
                   place + " overlap tensor " + printable(previous->name) + " at " +
                       range(previous->begin, previous->end),
                   file);
  if (rules.cover_data_exactly && claim.begin - cursor >= rules.alignment)
    return corrupt(claim,
                   "begins at " + std::to_string(claim.begin) + ", the data before it ends at " +
                       std::to_string(cursor),
                   file, "bytes that belong to no tensor");
  return {};
}

template <class Named>
std::vector<std::size_t> order_by_name(const std::vector<Named>& items) {
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return std::string_view(items[i].name); });
  return order;
}

}  // namespace

Result<TensorTable> TensorTable::prove(std::vector<TensorClaim> claims, Bytes data,
                                       const TableRules& rules, std::string_view file) {
  TERN_CHECK(rules.alignment > 0);
  if (claims.size() > kMaxTensors)
    return fail(ErrorCode::too_large,
                std::to_string(claims.size()) + " tensors, at most " + std::to_string(kMaxTensors) +
                    " are read",
                std::string(file));
  // By both ends: an empty tensor shares its offset with the one after it.
  std::ranges::sort(claims, {}, [](const TensorClaim& claim) {
    return std::tuple(claim.begin, claim.end, std::string_view(claim.name));
  });
  TensorTable table;
  table.tensors_.reserve(claims.size());
  const TensorClaim* previous = nullptr;
  for (const TensorClaim& claim : claims) {
    TERN_TRY_VOID(check_size(claim, file));
    TERN_TRY_VOID(check_place(claim, previous, data, rules, file));
    previous = &claim;
  }
  const std::uint64_t covered = claims.empty() ? 0 : claims.back().end;
  if (rules.cover_data_exactly && data.size() - covered >= rules.alignment)
    return fail(ErrorCode::corrupt,
                "the tensors end at byte " + std::to_string(covered) +
                    " of the data section, which has " + std::to_string(data.size()),
                std::string(file), "bytes that belong to no tensor");
  for (TensorClaim& claim : claims)
    table.tensors_.push_back({std::move(claim.name), claim.type, std::move(claim.shape),
                              data.subspan(claim.begin, claim.end - claim.begin)});
  table.by_name_ = order_by_name(table.tensors_);
  const auto same = std::ranges::adjacent_find(
      table.by_name_, {}, [&](std::size_t i) { return std::string_view(table.tensors_[i].name); });
  if (same != table.by_name_.end())
    return fail(ErrorCode::corrupt,
                "two tensors are named " + printable(table.tensors_[*same].name),
                std::string(file));
  return table;
}

Result<void> TensorTable::merge(TensorTable other, std::string_view file) {
  for (const Tensor& tensor : other.tensors_)
    if (find(tensor.name) != nullptr)
      return fail(ErrorCode::corrupt,
                  "tensor " + printable(tensor.name) + " is also in another file of this model",
                  std::string(file));
  const std::size_t before = tensors_.size();
  std::ranges::move(other.tensors_, std::back_inserter(tensors_));
  for (std::size_t& i : other.by_name_) i += before;
  std::vector<std::size_t> merged;
  merged.reserve(tensors_.size());
  const auto name_of = [&](std::size_t i) { return std::string_view(tensors_[i].name); };
  std::ranges::merge(by_name_, other.by_name_, std::back_inserter(merged), {}, name_of, name_of);
  by_name_ = std::move(merged);
  return {};
}

const Tensor* TensorTable::find(std::string_view name) const {
  const auto name_of = [&](std::size_t i) { return std::string_view(tensors_[i].name); };
  const auto found = std::ranges::lower_bound(by_name_, name, {}, name_of);
  if (found == by_name_.end() || name_of(*found) != name) return nullptr;
  return &tensors_[*found];
}

}  // namespace tern::formats
