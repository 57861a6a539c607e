#include "engine/kv_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include "base/suggest.h"
#include "hub/family.h"

namespace tern::engine {
namespace {

using state::KvScheme;

constexpr std::size_t kMostTokens = std::size_t{1} << 24;
constexpr std::size_t kAffineGroup = 64;

/// Names beside the canonical ones: of llama.cpp and its forks, MLX, vLLM and PyTorch.
constexpr std::pair<std::string_view, KvScheme> kAliases[] = {
    {"float32", KvScheme::f32},       {"fp32", KvScheme::f32},
    {"float16", KvScheme::f16},       {"fp16", KvScheme::f16},
    {"half", KvScheme::f16},          {"bfloat16", KvScheme::bf16},
    {"q8", KvScheme::q8_0},           {"q4", KvScheme::q4_0},
    {"tq2", KvScheme::turbo2},        {"tq2.5", KvScheme::turbo2_5},
    {"tq3", KvScheme::turbo3},        {"tq3.5", KvScheme::turbo3_5},
    {"tq4", KvScheme::turbo4},        {"turbo2.5", KvScheme::turbo2_5},
    {"turbo3.5", KvScheme::turbo3_5}, {"turbo2_0", KvScheme::turbo2},
    {"turbo3_0", KvScheme::turbo3},   {"turbo4_0", KvScheme::turbo4},
    {"tbq3", KvScheme::turbo3},       {"tbq4", KvScheme::turbo4},
    {"tbq3_0", KvScheme::turbo3},     {"tbq4_0", KvScheme::turbo4},
    {"turboquant", KvScheme::turbo4}, {"rq3", KvScheme::iso3},
    {"rq4", KvScheme::iso4},          {"iso3_0", KvScheme::iso3},
    {"iso4_0", KvScheme::iso4},       {"planar3_0", KvScheme::planar3},
    {"planar4_0", KvScheme::planar4}, {"rotorquant", KvScheme::iso4},
    {"mlx8", KvScheme::affine8},      {"mlx4", KvScheme::affine4},
};

/// vLLM's presets. Where it has FP8 keys or unrotated uniform values, the nearest type of ours.
constexpr std::pair<std::string_view, KvTypes> kPresets[] = {
    {"turboquant_k8v4", {KvScheme::q8_0, KvScheme::turbo4}},
    {"turboquant_4bit_nc", {KvScheme::turbo4, KvScheme::turbo4}},
    {"turboquant_k3v4_nc", {KvScheme::turbo3, KvScheme::turbo4}},
    {"turboquant_3bit_nc", {KvScheme::turbo3, KvScheme::turbo3}},
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string known_names() {
  return fmt::format("{}, keys and values apart as in turbo4:turbo3, or bits as in 3.5",
                     fmt::join(kv_names(), ", "));
}

std::unexpected<Error> unknown(std::string_view typed) {
  std::vector<std::string> names = kv_names();
  for (const auto& [alias, scheme] : kAliases) names.emplace_back(alias);
  for (const auto& [preset, types] : kPresets) names.emplace_back(preset);
  const auto near = nearest(lower(typed), names);
  return fail(ErrorCode::usage,
              fmt::format("\"{}\" is no cache type; there are {}", typed, known_names()), "kv",
              near ? "did you mean " + *near + "?" : "docs/kv-cache.md says what they are");
}

std::optional<KvScheme> scheme_of(std::string_view typed) {
  const std::string name = lower(typed);
  if (const auto scheme = quant::kv_scheme(name)) return scheme;
  const auto alias = std::ranges::find(kAliases, std::string_view(name),
                                       [](const auto& entry) { return entry.first; });
  return alias == std::end(kAliases) ? std::nullopt : std::optional(alias->second);
}

/// Tenths of a bit, or nothing: "4" is 40, "3.5" is 35.
std::optional<unsigned> tenths_of(std::string_view bits) {
  if (bits.empty() || bits[0] < '1' || bits[0] > '8') return std::nullopt;
  const unsigned whole = 10 * static_cast<unsigned>(bits[0] - '0');
  if (bits.size() == 1 || bits.substr(1) == ".0") return whole;
  return bits.substr(1) == ".5" ? std::optional(whole + 5) : std::nullopt;
}

std::optional<KvScheme> turbo_of(unsigned bits) {
  constexpr std::array kTypes = {KvScheme::turbo2, KvScheme::turbo3, KvScheme::turbo4};
  return bits >= 2 && bits <= 4 ? std::optional(kTypes[bits - 2]) : std::nullopt;
}

std::optional<KvScheme> iso_of(unsigned bits) {
  return bits == 3   ? std::optional(KvScheme::iso3)
         : bits == 4 ? std::optional(KvScheme::iso4)
                     : std::nullopt;
}

std::optional<KvScheme> affine_of(unsigned bits) {
  return bits == 4   ? std::optional(KvScheme::affine4)
         : bits == 8 ? std::optional(KvScheme::affine8)
                     : std::nullopt;
}

}  // namespace

std::vector<std::string> kv_names() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < quant::kKvSchemes; ++i)
    names.emplace_back(quant::name(static_cast<KvScheme>(i)));
  return names;
}

Result<KvTypes> parse_kv(std::string_view text) {
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    const auto keys = scheme_of(text.substr(0, colon)), values = scheme_of(text.substr(colon + 1));
    if (!keys) return unknown(text.substr(0, colon));
    if (!values) return unknown(text.substr(colon + 1));
    return KvTypes{*keys, *values};
  }
  if (const auto scheme = scheme_of(text)) return KvTypes{*scheme, *scheme};
  const std::string name = lower(text);
  for (const auto& [preset, types] : kPresets)
    if (name == preset) return types;
  if (tenths_of(text)) return parse_kv_bits(text, "turboquant");
  return unknown(text);
}

Result<KvTypes> parse_kv_bits(std::string_view bits, std::string_view scheme,
                              std::size_t group_size) {
  const auto tenths = tenths_of(bits);
  const bool fraction = tenths && *tenths % 10 != 0;
  std::string kind = lower(scheme);
  if (kind.empty()) kind = fraction ? "turboquant" : "uniform";
  const auto of = kind == "turboquant"   ? turbo_of
                  : kind == "rotorquant" ? iso_of
                  : kind == "uniform"    ? affine_of
                                         : nullptr;
  if (of == nullptr)
    return fail(ErrorCode::usage,
                fmt::format("\"{}\" is no quantization scheme; there are turboquant, rotorquant "
                            "and uniform",
                            scheme),
                "kv-quant-scheme");
  const auto keys = tenths ? of(*tenths / 10) : std::nullopt;
  const auto values = tenths ? of(*tenths / 10 + (fraction ? 1 : 0)) : std::nullopt;
  if (!keys || !values)
    return fail(ErrorCode::usage, fmt::format("no {} cache type has {} bits", kind, bits),
                "kv-bits",
                "turboquant has 2, 2.5, 3, 3.5 and 4; rotorquant 3, 3.5 and 4; uniform 4 and 8");
  if (kind == "uniform" && group_size != kAffineGroup)
    return fail(ErrorCode::usage,
                fmt::format("groups of {} values; the uniform cache types have {}", group_size,
                            kAffineGroup),
                "kv-group-size");
  return KvTypes{*keys, *values};
}

std::optional<KvTypes> kv_of_name(std::string_view model) {
  std::string name = lower(model);
  while (name.ends_with('/')) name.pop_back();
  name.resize(std::min(name.size(), name.find(':', name.rfind('/') + 1)));  // OWNER/NAME:Q4_K_M
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  const auto scheme = quant::kv_scheme(hub::cache_of(name));
  return scheme ? std::optional(KvTypes{*scheme, *scheme}) : std::nullopt;
}

Result<KvChoice> resolve_kv(const KvOptions& options, std::string_view model, KvTypes fallback) {
  const auto promised =
      options.keys.empty() && options.values.empty() ? kv_of_name(model) : std::nullopt;
  KvTypes types = promised.value_or(fallback);
  if (!options.keys.empty()) {
    TERN_TRY(types, parse_kv(options.keys));
  }
  if (!options.values.empty()) {
    TERN_TRY(const KvTypes values, parse_kv(options.values));
    types.values = values.values;
  }
  for (const std::size_t tokens : {options.sinks, options.recent, options.quantized_start})
    if (tokens > kMostTokens)
      return fail(
          ErrorCode::usage,
          fmt::format("a window of {} tokens, at most {} are possible", tokens, kMostTokens), "kv");
  KvChoice choice{.config = {types.keys, types.values}, .from_name = promised.has_value()};
  choice.config.sinks = options.sinks;
  choice.config.recent = options.recent;
  choice.config.quantized_start = options.quantized_start;
  choice.config.full_layers = options.full_layers;
  return choice;
}

std::string kv_label(const state::KvConfig& config) {
  const std::string keys(quant::name(config.keys));
  return config.keys == config.values ? keys : keys + ":" + std::string(quant::name(config.values));
}

}  // namespace tern::engine
