// The encoders of images and sound in a GGUF file of their own, as llama.cpp's multimodal tools
// read it beside any text model: "mmproj".
#pragma once
#include "convert/target.h"

namespace tern::convert {

/// One file of architecture "clip": matrices in F16; norms, biases, convolutions of sound, the
/// tables of positions, classes and mel in F32.
/// @error unsupported  a source without an encoder of images, or one whose tensors are not those of
///                     C-RADIO and Parakeet in the layout of Hugging Face
/// @error mismatch     an encoder that is not complete, or a shape that config.json contradicts
/// @error usage        options of the other targets
/// @source llama.cpp, the converter's NemotronNanoV2VLModel
Result<Plan> plan_mmproj(const Source& source, const Target& target, const PlanOptions& options);

}  // namespace tern::convert
