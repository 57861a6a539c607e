#include "hub/family.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>

#include "base/printable.h"
#include "base/suggest.h"

namespace tern::hub {
namespace {

constexpr std::string_view kEncoders = "mmproj-F16";
constexpr std::size_t kMaxRepository = 96;  // of the hub

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool same(std::string_view a, std::string_view b) {
  return lower(a) == lower(b);
}

std::vector<Variant> make_family() {
  std::vector<Variant> all;
  for (const CacheLabel& label : kCacheLabels)
    for (const std::string_view format : kWeightFormats) {
      const std::string name = std::string(label.label) + "-" + std::string(format);
      const bool published = format != "MLX-MXFP4" || label.label == "RotorQuant";
      all.push_back({name, Holds::weights, name, format, "", published});
      all.push_back(
          {name + std::string(label.suffix), Holds::card, name, format, label.cache, published});
    }
  for (const CacheLabel& label : kCacheLabels)
    all.push_back({std::string(label.label), Holds::cache, "", "", label.cache, true});
  all.push_back({std::string(kEncoders), Holds::encoders, "", "", "", true});
  return all;
}

const Variant* find(std::string_view name) {
  const auto all = family();
  const auto found =
      std::ranges::find_if(all, [&](const Variant& v) { return same(v.name, name); });
  return found == all.end() ? nullptr : &*found;
}

/// What is left of a name after the family's; nothing when it does not begin with it.
std::optional<std::string_view> after_family(std::string_view name) {
  if (name.size() <= kFamily.size() || !same(name.substr(0, kFamily.size()), kFamily) ||
      name[kFamily.size()] != '-')
    return std::nullopt;
  return name.substr(kFamily.size() + 1);
}

std::unexpected<Error> holds_no_model(const Variant& variant) {
  if (variant.holds == Holds::encoders)
    return fail(ErrorCode::usage,
                variant.name + " holds the encoders of images and sound, no text model",
                variant.repository(), "name one of the models that \"tern variants\" lists");
  return fail(ErrorCode::usage,
              variant.name + " names a way to store the attention cache, and has no weights",
              variant.repository(),
              "with any model: --kv " + std::string(variant.cache) + "; or the model " +
                  variant.name + "-MLX-4bit" + (variant.cache == "turbo4" ? "-TQ-KV" : "-RQ-KV"));
}

std::unexpected<Error> no_such_variant(std::string_view name) {
  std::vector<std::string> known;
  for (const Variant& variant : family())
    if (!variant.parent.empty()) known.push_back(lower(variant.name));
  const auto near = nearest(lower(name), known);
  const Variant* meant = near ? find(*near) : nullptr;
  return fail(ErrorCode::usage, "the family has no variant " + printable(name), "",
              meant ? "did you mean " + meant->name + "?" : "\"tern variants\" lists them");
}

Result<std::optional<ModelName>> member(std::string_view name) {
  const Variant* variant = find(name);
  // A cache of the other label fits just as well.
  const Variant* parent = variant ? variant : find(without_suffix(name));
  if (parent == nullptr) return no_such_variant(name);
  if (parent->parent.empty()) return holds_no_model(*parent);
  const std::string suffix(name.substr(without_suffix(name).size()));
  const std::string weights = find(parent->parent)->repository();
  return ModelName{variant ? variant->repository() : weights + suffix, weights,
                   parent->gguf() ? std::string(parent->format.substr(5)) : "", false,
                   cache_of(name)};
}

/// A name without owner is one of the family, or none at all.
bool looks_like_member(std::string_view name) {
  const std::string start = lower(name);
  return std::ranges::any_of(kCacheLabels,
                             [&](const CacheLabel& label) {
                               const std::string known = lower(label.label);
                               return start == known || start.starts_with(known + "-");
                             }) ||
         start == lower(kEncoders);
}

bool is_file_name(std::string_view name) {
  const std::string text = lower(name);
  return text.ends_with(".gguf") || text.ends_with(".safetensors") || text.ends_with(".json");
}

}  // namespace

std::string Variant::repository() const {
  return std::string(kOwner) + "/" + std::string(kFamily) + "-" + name;
}

std::span<const Variant> family() {
  static const std::vector<Variant> all = make_family();
  return all;
}

std::string_view cache_of(std::string_view name) {
  for (const CacheLabel& label : kCacheLabels)
    if (lower(name).ends_with(lower(label.suffix))) return label.cache;
  return "";
}

std::string_view without_suffix(std::string_view name) {
  for (const CacheLabel& label : kCacheLabels)
    if (lower(name).ends_with(lower(label.suffix)))
      return name.substr(0, name.size() - label.suffix.size());
  return name;
}

bool is_repository(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || text.size() > kMaxRepository) return false;
  const auto part = [](std::string_view name) {
    const auto edge = [](char c) { return c == '-' || c == '.'; };
    return !name.empty() && !edge(name.front()) && !edge(name.back()) &&
           name.find("--") == std::string_view::npos && name.find("..") == std::string_view::npos &&
           std::ranges::all_of(name, [](char c) {
             return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
           });
  };
  return part(text.substr(0, slash)) && part(text.substr(slash + 1));
}

Result<std::optional<ModelName>> parse_model_name(std::string_view typed) {
  std::string_view name = typed, quantization;
  if (const auto colon = name.rfind(':'); colon != std::string_view::npos) {
    quantization = name.substr(colon + 1);
    name = name.substr(0, colon);
    if (quantization.empty() || quantization.size() > 64) return std::nullopt;
  }
  const auto slash = name.find('/');
  const std::string_view owner = slash == std::string_view::npos ? "" : name.substr(0, slash);
  const std::string_view model = slash == std::string_view::npos ? name : name.substr(slash + 1);
  std::optional<ModelName> found;
  if (const auto rest = after_family(model); rest && (owner.empty() || same(owner, kOwner))) {
    if (!owner.empty() && !is_repository(name)) return std::nullopt;
    TERN_TRY(found, member(*rest));
  } else if (owner.empty()) {
    if (!looks_like_member(name)) return std::nullopt;
    TERN_TRY(found, member(name));
  } else {
    if (!is_repository(name) || is_file_name(name)) return std::nullopt;
    found = {std::string(name), std::string(without_suffix(name)), "", false, cache_of(name)};
    if (!is_repository(found->weights)) return std::nullopt;
  }
  if (!quantization.empty()) {
    found->quantization = quantization;
    found->quantization_typed = true;
  }
  return found;
}

}  // namespace tern::hub
