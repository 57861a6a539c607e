#include "convert/shards.h"

#include <utility>

#include "base/json.h"

namespace tern::convert {
namespace {

std::string five_digits(std::size_t n) {
  const std::string digits = std::to_string(n);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return "model.safetensors";
  return "model-" + five_digits(index + 1) + "-of-" + five_digits(count) + ".safetensors";
}

SmallFile index_of(const Plan& plan) {
  json::object map;
  for (const PlannedFile& file : plan.files)
    for (const PlannedTensor& tensor : file.tensors)
      for (const auto& output : tensor.outputs) map[output.name] = file.name;
  const json::object index = {{"metadata", {{"total_size", plan.tensor_bytes()}}},
                              {"weight_map", std::move(map)}};
  return {"model.safetensors.index.json", json::serialize(index) + "\n"};
}

}  // namespace

Result<void> add_shards(Plan& plan, std::vector<PlannedTensor> tensors, std::uint64_t shard_bytes,
                        const std::map<std::string, std::string>& metadata) {
  std::uint64_t bytes = 0;
  for (PlannedTensor& tensor : tensors) {
    const std::uint64_t size = tensor.bytes();
    const bool full =
        !plan.files.empty() && !plan.files.back().tensors.empty() && bytes + size > shard_bytes;
    if (plan.files.empty() || full) {
      plan.files.emplace_back();
      bytes = 0;
    }
    bytes += size;
    plan.files.back().tensors.push_back(std::move(tensor));
  }
  for (std::size_t i = 0; i < plan.files.size(); ++i) {
    PlannedFile& file = plan.files[i];
    file.name = shard_name(i, plan.files.size());
    std::vector<formats::TensorPlan> outputs;
    for (const PlannedTensor& tensor : file.tensors)
      outputs.insert(outputs.end(), tensor.outputs.begin(), tensor.outputs.end());
    TERN_TRY(file.head, formats::safetensors_head(outputs, metadata, file.name));
  }
  if (plan.files.size() > 1) plan.small_files.push_back(index_of(plan));
  return {};
}

}  // namespace tern::convert
