// Names of the encoders' tensors in an mmproj file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tern::convert {

enum class Encoder : std::uint8_t { vision, sound };

struct MmprojName {
  Encoder encoder = Encoder::vision;
  std::string gguf;                       ///< "v.blk.3.attn_qkv.weight"
  std::optional<std::size_t> block = {};  ///< 3
};

/// Of a tensor of Hugging Face's layout; none when an mmproj file has no place for it.
std::optional<MmprojName> mmproj_name(std::string_view hf);

/// Whether llama.cpp leaves the tensor out, too: counters, the normalization of pixels, and the
/// embedder of video frames, which its tools do not read.
bool has_no_place_in_mmproj(std::string_view hf);

/// Tensors that an encoder of `blocks` blocks has, with its projector.
std::size_t mmproj_tensors(Encoder encoder, std::size_t blocks);

}  // namespace tern::convert
