// What the variants of the family need: bytes of weights, and memory at a context length.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "model/forward.h"

namespace tern::engine {

/// Text configuration of NVIDIA-Nemotron-3-Nano-Omni-30B-A3B-Reasoning: 52 layers, 31.58 B
/// parameters.
const model::Config& family_config();

/// Bytes of the text model's tensors in a format of hub/family.h ("MLX-4bit", "GGUF-Q4_K_M"),
/// headers and metadata not counted.
///
/// MLX: every matrix in groups of 64 with two 16-bit numbers each (MXFP4: 32 with one byte);
/// routers, convolutions and norms in 16 bits; A_log and the routers' correction in 32. GGUF: the
/// types that llama.cpp chooses without importance matrix, where rows that 256 does not divide take
/// a larger type than the name says; everything that is no matrix, and the routers, in 32 bits.
/// @error usage  no such format
Result<std::uint64_t> variant_bytes(std::string_view format);

/// Memory that a conversation of `context` tokens takes.
/// @param cache  a cache type by name; "" for f16
/// @error usage  no such format or cache type
Result<model::MemoryNeeds> variant_memory(std::string_view format, std::string_view cache,
                                          std::size_t context);

/// Bytes of memory that this machine has.
std::uint64_t physical_memory();

}  // namespace tern::engine
