// Encoders of images and sound, between the layouts of Hugging Face and of mlx-vlm: the same
// numbers under other names, and convolutions with their channels last.
#pragma once
#include <optional>

#include "convert/plan.h"

namespace tern::convert {

enum class MediaLayout : std::uint8_t { hugging_face, mlx };

/// That of the media tensors of a file; without a projector of images, that of Hugging Face.
MediaLayout media_layout(const std::vector<const Tensor*>& media);

/// A media tensor of a file in one layout as the other has it; its numbers are copied. None for
/// what mlx-vlm leaves out: the mel bank, counters of batches, the normalization of pixels.
/// @source mlx-vlm, nemotron_h_nano_omni
std::optional<PlannedTensor> plan_media(const Tensor& tensor, MediaLayout from, MediaLayout to);

}  // namespace tern::convert
