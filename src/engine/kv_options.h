// The names by which people ask for a cache type, in every spelling that they know.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <tern/tern.hpp>
#include <vector>

#include "base/error.h"
#include "state/kv_config.h"

namespace tern::engine {

struct KvTypes {
  state::KvScheme keys = state::KvScheme::f16;
  state::KvScheme values = state::KvScheme::f16;

  bool operator==(const KvTypes&) const = default;
};

/// The canonical names, in the order of KvScheme.
std::vector<std::string> kv_names();

/// "turbo4", or "turbo4:turbo3" for keys and values apart; a number of bits ("4", "3.5", which is
/// keys of 3 bits and values of 4); a preset of vLLM ("turboquant_k3v4_nc"). In any case of
/// letters.
/// @error usage  an unknown name: lists the known ones, with the nearest as a hint
Result<KvTypes> parse_kv(std::string_view text);

/// What mlx-vlm and mlx-lm call --kv-bits, --kv-quant-scheme and --kv-group-size.
/// @param bits    "4"; "3.5" gives keys 3 and values 4 bits
/// @param scheme  "turboquant", "rotorquant", "uniform" (MLX's affine format), or "": turboquant
/// for
///                a fraction, else uniform
/// @error usage  bits, a scheme or a group size that there is none of
Result<KvTypes> parse_kv_bits(std::string_view bits, std::string_view scheme,
                              std::size_t group_size = 64);

/// What a model's name promises, as the table of hub/family.h has it: turbo4 for one that ends in
/// -TQ-KV, iso4 for -RQ-KV, else nothing.
/// @param model  a path or a name; a trailing slash, ".gguf" and a quantization after a colon do
/// not
///               count
std::optional<KvTypes> kv_of_name(std::string_view model);

struct KvChoice {
  state::KvConfig config;
  bool from_name = false;  ///< the types are those that the model's name promises
};

/// @param fallback  types when neither the options nor the name say any
/// @error usage  an unknown name, or a window beyond 2^24 tokens
Result<KvChoice> resolve_kv(const KvOptions& options, std::string_view model,
                            KvTypes fallback = {});

/// "turbo4", or "turbo4:turbo3".
std::string kv_label(const state::KvConfig& config);

}  // namespace tern::engine
