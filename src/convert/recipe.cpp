#include "convert/recipe.h"

#include <algorithm>

#include "base/printable.h"

namespace tern::convert {
namespace {

bool is_plain(quant::Scheme scheme) {
  return scheme == quant::Scheme::f32 || scheme == quant::Scheme::f16 ||
         scheme == quant::Scheme::bf16;
}

}  // namespace

std::string_view Overrides::find(std::initializer_list<std::string_view> names) {
  std::string_view word;
  for (std::size_t i = 0; i < list_.size(); ++i)
    if (std::ranges::any_of(names, [&](std::string_view n) { return list_[i].matches(n); })) {
      used_.insert(i);
      word = list_[i].format;
    }
  return word;
}

Result<void> Overrides::check() const {
  for (std::size_t i = 0; i < list_.size(); ++i)
    if (!used_.contains(i))
      return fail(ErrorCode::usage,
                  printable(list_[i].pattern) + " matches no matrix that could be quantized",
                  "--override", "tern convert --dry-run lists their names");
  return {};
}

std::string_view module_of(std::string_view name) {
  constexpr std::string_view kEnd = ".weight";
  return name.ends_with(kEnd) ? name.substr(0, name.size() - kEnd.size()) : name;
}

bool is_router(const SourceTensor& tensor) {
  return tensor.hf.ends_with(".mixer.gate.weight");
}

void warn_of_requantizing(const Source& source, Plan& plan) {
  std::uint64_t weights = 0;
  std::set<std::string> from;
  for (const PlannedFile& file : plan.files)
    for (const PlannedTensor& tensor : file.tensors) {
      const auto* coding = std::get_if<Coding>(&tensor.from);
      if (coding == nullptr || coding->lossless() || is_plain(coding->matrices.front().scheme))
        continue;
      weights += tensor.elements();
      from.insert(tensor.how.substr(0, tensor.how.find(" to ")));
    }
  if (weights == 0) return;
  std::string kinds;
  for (const std::string& kind : from) kinds += (kinds.empty() ? "" : "; ") + kind;
  plan.warnings.push_back("re-quantized: " + std::to_string(weights) + " weights of " +
                          source.checkpoint().display_name() + " are quantized already (" + kinds +
                          "), and lose once more; the BF16 model as the source loses less");
}

}  // namespace tern::convert
