#include "convert/gguf_file.h"

#include <utility>

namespace tern::convert {

Result<void> add_gguf_file(Plan& plan, std::string name, std::vector<PlannedTensor> tensors,
                           const std::vector<formats::GgufKey>& metadata) {
  std::vector<formats::TensorPlan> outputs;
  for (const PlannedTensor& tensor : tensors)
    outputs.insert(outputs.end(), tensor.outputs.begin(), tensor.outputs.end());
  PlannedFile file{.name = std::move(name),
                   .head = {},
                   .alignment = formats::kGgufAlignment,
                   .tensors = std::move(tensors)};
  TERN_TRY(file.head, formats::gguf_head(metadata, outputs));
  plan.folder = false;
  plan.files.push_back(std::move(file));
  return {};
}

}  // namespace tern::convert
