// The names of the family, as data: what each repository holds, and what its suffix promises.
//
// A name is OWNER/FAMILY-LABEL-WEIGHTS[-SUFFIX]. The label (TurboQuant, RotorQuant) says which
// cache the publisher had in mind; the weights of both labels are the same plain formats. A
// repository with a suffix (-TQ-KV, -RQ-KV) holds a model card only: it stands for the weights of
// its parent, run with the cache that the suffix names.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tern::hub {

inline constexpr std::string_view kOwner = "majentik";
inline constexpr std::string_view kFamily = "Nemotron-3-Nano-Omni-30B-A3B-Reasoning";

/// What a label's cache suffix is, and the cache type that it turns on.
struct CacheLabel {
  std::string_view label;   ///< "TurboQuant"
  std::string_view suffix;  ///< "-TQ-KV"
  std::string_view cache;   ///< "turbo4": a name of docs/kv-cache.md
};
inline constexpr CacheLabel kCacheLabels[] = {
    {"TurboQuant", "-TQ-KV", "turbo4"},
    {"RotorQuant", "-RQ-KV", "iso4"},
};

/// The formats in which each label publishes weights.
inline constexpr std::string_view kWeightFormats[] = {
    "MLX-2bit",    "MLX-3bit",       "MLX-4bit",    "MLX-5bit",    "MLX-6bit",
    "MLX-8bit",    "MLX-MXFP4",      "GGUF-Q2_K",   "GGUF-Q3_K_M", "GGUF-IQ4_XS",
    "GGUF-Q4_K_M", "GGUF-MXFP4_MOE", "GGUF-Q5_K_M", "GGUF-Q8_0",
};

enum class Holds : std::uint8_t {
  weights,   ///< a model
  card,      ///< a model card that sends to the weights of the parent, run with a cache type
  cache,     ///< a model card about a cache type, for any weights
  encoders,  ///< the encoders of images and sound, without the text model
};

struct Variant {
  std::string name;  ///< without owner and family: "TurboQuant-MLX-4bit-TQ-KV"
  Holds holds;
  std::string parent;       ///< name of the variant that holds the weights; "" for the last two
  std::string_view format;  ///< "MLX-4bit"; "" for the last two
  std::string_view cache;   ///< cache type that the name promises; "" for none
  /// Whether the publisher lists it: the MXFP4 weights of MLX exist under RotorQuant alone.
  bool published = true;

  std::string repository() const;  ///< "majentik/Nemotron-...-TurboQuant-MLX-4bit-TQ-KV"
  bool gguf() const { return format.starts_with("GGUF-"); }
};

/// Every name of the family, in the order of the tables above: 56 that run (2 labels, 14 formats,
/// with and without suffix), the two caches, the encoders. 57 of these 59 are published: one model
/// card and its 56 siblings.
std::span<const Variant> family();

/// The cache type that the end of a name promises: "turbo4" after "-TQ-KV", "iso4" after "-RQ-KV",
/// in any case of letters; "" for every other name.
std::string_view cache_of(std::string_view name);

/// `name` without that suffix.
std::string_view without_suffix(std::string_view name);

/// What somebody typed, when it is the name of a model and not a path.
struct ModelName {
  std::string repository;    ///< as typed, or as the family spells it: "majentik/...-TQ-KV"
  std::string weights;       ///< repository that holds its weights: "majentik/..."
  std::string quantization;  ///< which GGUF of a repository: "Q4_K_M"; "" when nothing says so
  bool quantization_typed = false;  ///< it stood after a colon
  std::string_view cache = {};      ///< as cache_of
};

/// Understands
///   majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit-TQ-KV   and every sibling,
///   the same without owner, or without owner and family (TurboQuant-MLX-4bit-TQ-KV),
///   any other OWNER/NAME of a hub, and OWNER/NAME:Q4_K_M for one GGUF of several.
/// Names of the family may be typed in any case of letters.
/// @return nothing for a text that can only be a path
/// @error usage  a name of the family that does not exist (with the nearest one as a hint), or one
///               that holds no text model: the message says what it is for
Result<std::optional<ModelName>> parse_model_name(std::string_view typed);

/// Whether `text` is OWNER/NAME as the hub allows it: two parts of letters, digits, '-', '_' and
/// '.', not beginning or ending with '-' or '.', without "--" or "..", at most 96 characters.
bool is_repository(std::string_view text);

}  // namespace tern::hub
