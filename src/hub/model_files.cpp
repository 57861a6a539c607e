#include "hub/model_files.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "base/json.h"
#include "base/printable.h"
#include "formats/folder.h"
#include "formats/shards.h"

namespace tern::hub {
namespace {

using formats::parse_part_name;

constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kPreferred = "Q4_K_M";
constexpr std::size_t kMaxPath = 1024, kMaxIndexBytes = 64u << 20;
constexpr std::size_t kListed = 12;  // names in a message

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view file_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

template <class Names>
std::string listed(const Names& names) {
  std::string text;
  std::size_t count = 0;
  for (const std::string& name : names) {
    if (count == kListed) return text + ", ...";
    text += (count++ == 0 ? "" : ", ") + printable(name);
  }
  return text;
}

/// Configuration, tokenizer and template: small texts beside the weights.
bool is_side_file(std::string_view path) {
  return path.find('/') == std::string_view::npos &&
         (path.ends_with(".json") || path.ends_with(".jinja"));
}

Result<std::set<std::string>> shards_of(const std::string& index) {
  TERN_TRY(const auto value, parse_json(index, kIndex, {.bytes = kMaxIndexBytes}));
  const auto* object = value.if_object();
  const auto* map = object ? object->if_contains("weight_map") : nullptr;
  if (map == nullptr || !map->is_object())
    return fail(ErrorCode::corrupt, "no object \"weight_map\"", std::string(kIndex));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->get_object()) {
    if (!shard.is_string() || !formats::is_plain_name(shard.get_string()))
      return fail(ErrorCode::corrupt, "\"weight_map\" names something that is no file",
                  std::string(kIndex));
    shards.emplace(shard.get_string());
  }
  return shards;
}

Result<ModelFiles> safetensors_files(std::span<const std::string> paths,
                                     const ReadIndex& read_index) {
  std::set<std::string> weights = {std::string(kSingle)};
  if (std::ranges::find(paths, kIndex) != paths.end()) {
    TERN_TRY(const std::string index, read_index());
    TERN_TRY(weights, shards_of(index));
  }
  std::set<std::string> missing;
  for (const std::string& file : weights)
    if (std::ranges::find(paths, file) == paths.end()) missing.insert(file);
  if (std::ranges::find(paths, "config.json") == paths.end()) missing.insert("config.json");
  if (!missing.empty())
    return fail(ErrorCode::not_found, "files of the model are missing: " + listed(missing));
  std::set<std::string> files = std::move(weights);
  for (const std::string& path : paths)
    if (is_side_file(path)) files.insert(path);
  return ModelFiles{{files.begin(), files.end()}, ""};
}

/// The GGUF models of a repository, each with its parts; the first part is the key.
using GgufModels = std::map<std::string, std::vector<std::string>>;

Result<GgufModels> gguf_models(std::span<const std::string> paths) {
  GgufModels models;
  for (const std::string& path : paths) {
    const auto name = file_name(path);
    if (!name.ends_with(".gguf") || lower(name).starts_with("mmproj")) continue;
    const auto part = parse_part_name(name);
    const std::string folder = path.substr(0, path.size() - name.size());
    models[part ? folder + part->of_part(1) : path].push_back(path);
  }
  return models;
}

Result<ModelFiles> all_parts(const std::string& first, const std::vector<std::string>& there) {
  const auto part = parse_part_name(file_name(first));
  if (!part) return ModelFiles{{first}, first};
  if (part->count > formats::kMaxFiles)
    return fail(ErrorCode::too_large, "a model of " + std::to_string(part->count) + " parts, " +
                                          std::to_string(formats::kMaxFiles) + " are the most");
  const std::string folder = first.substr(0, first.rfind('/') + 1);
  ModelFiles model{{}, first};
  std::vector<std::string> missing;
  for (std::uint32_t i = 1; i <= part->count; ++i) {
    model.files.push_back(folder + part->of_part(i));
    if (std::ranges::find(there, model.files.back()) == there.end())
      missing.push_back(model.files.back());
  }
  if (!missing.empty())
    return fail(ErrorCode::not_found, "parts of the model are missing: " + listed(missing));
  return model;
}

/// Whether a file is of that quantization: its name has the word, between punctuation.
bool is_quantization(std::string_view path, std::string_view quantization) {
  const std::string text = lower(path), word = lower(quantization);
  const auto letter = [&](std::size_t at) {
    return at < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_');
  };
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    if ((at == 0 || !letter(at - 1)) && !letter(at + word.size())) return true;
  return false;
}

Result<ModelFiles> gguf_files(const GgufModels& models, const ModelName& name) {
  std::vector<std::string> wanted, all;
  const std::string_view quantization =
      name.quantization.empty() ? kPreferred : std::string_view(name.quantization);
  for (const auto& [first, parts] : models) {
    all.push_back(first);
    if (is_quantization(first, quantization)) wanted.push_back(first);
  }
  // A repository of one file need not say in its name what the repository's name says.
  if (wanted.empty() && all.size() == 1 && !name.quantization_typed) wanted = all;
  if (wanted.size() == 1) return all_parts(wanted[0], models.at(wanted[0]));
  if (wanted.empty() && name.quantization_typed)
    return fail(ErrorCode::usage, "no GGUF model of type " + printable(name.quantization) +
                                      "; there are " + listed(all));
  return fail(ErrorCode::usage, "several GGUF models: " + listed(wanted.empty() ? all : wanted), "",
              "say which one: " + name.weights + ":Q8_0");
}

std::unexpected<Error> no_model(std::span<const std::string> paths) {
  std::string hint;
  for (const std::string& path : paths) {
    if (path.ends_with(".bin") || path.ends_with(".pth"))
      hint = "it has PyTorch weights, which are programs as much as data; look for safetensors";
    if (lower(file_name(path)).starts_with("mmproj"))
      hint = "it holds the encoders of images and sound; name a repository of the text model";
  }
  if (hint.empty())
    hint = "it may be a model card only: then the weights are in the repository that it names";
  return fail(ErrorCode::not_found,
              "no model among its " + std::to_string(paths.size()) +
                  " files: looked for model*.safetensors and *.gguf",
              "", std::move(hint));
}

}  // namespace

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath) return false;
  for (;;) {
    const auto slash = path.find('/');
    if (!formats::is_plain_name(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<ModelFiles> choose_files(std::span<const std::string> paths, const ModelName& name,
                                const ReadIndex& read_index) {
  const auto has = [&](std::string_view file) {
    return std::ranges::find(paths, file) != paths.end();
  };
  TERN_TRY(const auto models, gguf_models(paths));
  const bool safetensors = has(kIndex) || has(kSingle);
  if (safetensors && (models.empty() || !name.quantization_typed)) {
    if (name.quantization_typed)
      return fail(ErrorCode::usage, "no GGUF model of type " + printable(name.quantization) +
                                        "; the repository has safetensors");
    return safetensors_files(paths, read_index);
  }
  return models.empty() ? no_model(paths) : gguf_files(models, name);
}

}  // namespace tern::hub
