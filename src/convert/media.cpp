#include "convert/media.h"

#include <algorithm>
#include <cstring>

namespace tern::convert {
namespace {

constexpr std::string_view kProjector = "mlp1.", kMlxProjector = "mlp1.layers.";
constexpr std::string_view kLeftOut[] = {".feature_extractor.", ".num_batches_tracked",
                                         ".input_conditioner.", ".summary_idxs"};

bool is_left_out(std::string_view name) {
  return std::ranges::any_of(kLeftOut,
                             [&](std::string_view part) { return name.find(part) != name.npos; });
}

std::string name_in(std::string_view name, MediaLayout layout) {
  std::string_view rest = name;
  if (rest.starts_with(kMlxProjector))
    rest.remove_prefix(kMlxProjector.size());
  else if (rest.starts_with(kProjector))
    rest.remove_prefix(kProjector.size());
  else
    return std::string(name);
  return std::string(layout == MediaLayout::mlx ? kMlxProjector : kProjector) + std::string(rest);
}

/// Weights [outputs, inputs, width] or [outputs, inputs, height, width], or channels last.
bool is_convolution(const Tensor& tensor) {
  return tensor.name.starts_with("sound_encoder.") && tensor.name.ends_with(".weight") &&
         (tensor.shape.size() == 3 || tensor.shape.size() == 4) && !is_block_type(tensor.type);
}

/// [outputs, a, b] as [outputs, b, a].
std::string transposed(const Tensor& tensor, std::uint64_t a, std::uint64_t b) {
  const std::size_t size = block_layout(tensor.type).bytes, outputs = tensor.shape.front();
  std::string out(tensor.data.size(), '\0');
  const std::byte* from = tensor.data.data();
  for (std::size_t o = 0; o < outputs; ++o)
    for (std::size_t i = 0; i < a; ++i)
      for (std::size_t k = 0; k < b; ++k, from += size)
        std::memcpy(out.data() + ((o * b + k) * a + i) * size, from, size);
  return out;
}

/// The convolution with its axis of inputs moved to where `to` has it.
PlannedTensor plan_convolution(const Tensor& tensor, std::string name, MediaLayout to) {
  Shape shape = tensor.shape;
  std::uint64_t places = 1, inputs;
  if (to == MediaLayout::mlx) {
    inputs = shape[1];
    std::rotate(shape.begin() + 1, shape.begin() + 2, shape.end());
  } else {
    inputs = shape.back();
    std::rotate(shape.begin() + 1, shape.end() - 1, shape.end());
  }
  for (const auto extent : shape) places *= extent;
  places /= std::max<std::uint64_t>(1, shape.front() * inputs);
  PlannedTensor planned = plan_copy(tensor, std::move(name));
  planned.outputs.front().shape = shape;
  if (inputs != 1 && places != 1)
    planned.from = to == MediaLayout::mlx ? transposed(tensor, inputs, places)
                                          : transposed(tensor, places, inputs);
  return planned;
}

}  // namespace

MediaLayout media_layout(const std::vector<const Tensor*>& media) {
  const bool mlx = std::ranges::any_of(
      media, [](const Tensor* tensor) { return tensor->name.starts_with(kMlxProjector); });
  return mlx ? MediaLayout::mlx : MediaLayout::hugging_face;
}

std::optional<PlannedTensor> plan_media(const Tensor& tensor, MediaLayout from, MediaLayout to) {
  if (to == MediaLayout::mlx && is_left_out(tensor.name)) return std::nullopt;
  if (from == to) return plan_copy(tensor, tensor.name);
  std::string name = name_in(tensor.name, to);
  return is_convolution(tensor) ? plan_convolution(tensor, std::move(name), to)
                                : plan_copy(tensor, std::move(name));
}

}  // namespace tern::convert
