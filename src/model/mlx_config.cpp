#include "model/mlx_config.h"

#include <limits>

#include "base/printable.h"
#include "quant/turbo_weights.h"

namespace tern::model {
namespace {

constexpr std::string_view kTower = "language_model.";

const json::object* find_object(const json::object& in, std::string_view key) {
  const json::value* value = in.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

struct Mode {
  std::string_view name;
  quant::MlxFormat format;  ///< with the mode's default bits and group
};
constexpr Mode kModes[] = {{"affine", {quant::Scheme::mlx_affine, 4, 64}},
                           {"mxfp4", {quant::Scheme::mlx_mxfp4, 4, 32}},
                           {"mxfp8", {quant::Scheme::mlx_mxfp8, 8, 32}},
                           {"nvfp4", {quant::Scheme::mlx_nvfp4, 4, 16}},
                           {"turboquant", {quant::Scheme::turboquant, 4, 64}}};

/// The signs that "rotation" and "rotation_seed" name. Others use the word turboquant for layouts
/// of their own, which have other rotations or none.
Result<const float*> rotation_signs(const json::object& object, const std::string& where) {
  TERN_TRY(const auto rotation, get_string(object, "rotation", where));
  if (rotation != "rht64")
    return fail(ErrorCode::unsupported, "unknown rotation " + printable(rotation), where,
                "known: rht64; other programs write other formats under the name turboquant");
  TERN_TRY(const auto version, get_uint(object, "version", where));
  if (version != 1)
    return fail(ErrorCode::unsupported,
                "version " + std::to_string(version) + " of turboquant, this program reads 1",
                where, "written by a newer program");
  TERN_TRY(const auto seed, get_uint(object, "rotation_seed", where));
  return quant::rht64_signs(seed);
}

/// @param top  the map itself, for what a module does not repeat
Result<quant::MlxFormat> read(const json::object& object, const json::object& top,
                              std::string_view fallback_mode, const std::string& where) {
  std::string_view mode = fallback_mode;
  if (const json::value* value = object.if_contains("mode");
      value != nullptr && !value->is_null()) {
    TERN_TRY(mode, get_string(object, "mode", where));
  }
  for (const Mode& known : kModes) {
    if (known.name != mode) continue;
    TERN_TRY(const auto bits, get_uint_or(object, "bits", known.format.bits, where));
    TERN_TRY(const auto group, get_uint_or(object, "group_size", known.format.group, where));
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
    if (bits > kMost || group > kMost)
      return fail(ErrorCode::too_large, "bits or group_size beyond 32 bits", where);
    quant::MlxFormat format{known.format.scheme, static_cast<std::uint32_t>(bits),
                            static_cast<std::uint32_t>(group)};
    if (format.scheme == quant::Scheme::turboquant) {
      TERN_TRY(format.signs, rotation_signs(object.contains("rotation") ? object : top, where));
    }
    return format;
  }
  return fail(ErrorCode::unsupported, "unknown quantization mode " + printable(mode), where,
              "known: affine, mxfp4, mxfp8, nvfp4, turboquant");
}

}  // namespace

MlxConfig::MlxConfig(const json::object& config) {
  map_ = find_object(config, "quantization");
  if (map_ == nullptr) map_ = find_object(config, "quantization_config");
  for (const std::string_view nested : {"llm_config", "text_config"})
    if (const json::object* text = find_object(config, nested); map_ == nullptr && text != nullptr)
      map_ = find_object(*text, "quantization");
}

Result<quant::MlxFormat> MlxConfig::format(std::string_view path) const {
  if (map_ == nullptr) return kModes[0].format;
  const json::object* module = find_object(*map_, path);
  if (module == nullptr && path.starts_with(kTower))
    module = find_object(*map_, path.substr(kTower.size()));
  if (module == nullptr) module = find_object(*map_, std::string(kTower) + std::string(path));
  if (module != nullptr)
    return read(*module, *map_, "affine", "config.json: quantization." + std::string(path));
  return read(*map_, *map_, "affine", "config.json: quantization");
}

}  // namespace tern::model
