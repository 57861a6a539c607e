// The files of the embedded model.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>

namespace tern::demo {

struct EmbeddedFile {
  std::string_view name;
  std::span<const std::byte> bytes;  ///< aligned to 64
};

/// A complete model directory: config.json, tokenizer.json, model.safetensors and the rest.
std::span<const EmbeddedFile> embedded_model();

}  // namespace tern::demo
