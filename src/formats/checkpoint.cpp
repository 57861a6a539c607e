#include "formats/checkpoint.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "base/printable.h"
#include "formats/safetensors.h"
#include "formats/shards.h"

namespace tern::formats {

struct Checkpoint::State {
  std::unique_ptr<Folder> folder;
  std::string display_name;
  Container container = Container::safetensors;
  TensorTable tensors;
  std::vector<File> files;
  std::uint64_t tensor_bytes = 0;
  json::object config;
  GgufMetadata metadata;
};

namespace {

using State = Checkpoint::State;

constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kConfig = "config.json";
constexpr std::size_t kMaxConfigBytes = 16u << 20;
constexpr std::size_t kMaxSideFileBytes = 256u << 20;

/// Takes over what a reader made and sums it up.
Result<void> adopt(State& state, Container container, ShardedTensors sharded) {
  state.container = container;
  state.tensors = std::move(sharded.tensors);
  state.metadata = std::move(sharded.metadata);
  for (std::string& name : sharded.files) {
    TERN_TRY(const auto bytes, state.folder->open(name));
    state.files.push_back({std::move(name), bytes ? bytes->size() : 0});
  }
  for (const Tensor& tensor : state.tensors.tensors()) state.tensor_bytes += tensor.data.size();
  return {};
}

Result<void> load_config(State& state, bool required) {
  const std::string place = state.folder->place(kConfig);
  TERN_TRY(const auto bytes, state.folder->open(kConfig));
  if (!bytes && !required) return {};
  if (!bytes)
    return fail(ErrorCode::not_found, "no config.json beside the weights", place,
                "copy it from where the model came from");
  TERN_TRY(json::value config,
           parse_json(as_text(*bytes), place, {.bytes = kMaxConfigBytes, .allow_infinity = true}));
  if (!config.is_object())
    return fail(ErrorCode::corrupt, "the configuration is no JSON object", place);
  state.config = std::move(config.get_object());
  return {};
}

Result<void> load_safetensors_file(State& state, std::string_view name, bool config_required) {
  TERN_TRY(const auto bytes, state.folder->open(name));
  if (!bytes) return fail(ErrorCode::not_found, "no such file", state.folder->place(name));
  TERN_TRY(Safetensors read, read_safetensors(*bytes, state.folder->place(name)));
  ShardedTensors one{{std::string(name)}, {}, std::move(read.tensors)};
  TERN_TRY_VOID(adopt(state, Container::safetensors, std::move(one)));
  return load_config(state, config_required);
}

Result<void> load_gguf(State& state, std::string_view name) {
  TERN_TRY(ShardedTensors read, open_gguf(*state.folder, name));
  return adopt(state, Container::gguf, std::move(read));
}

/// One name for each GGUF model of a folder: for a split one that of the first part that is there.
std::vector<std::string> gguf_models(const std::vector<std::string>& names) {
  std::vector<std::string> models;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!name.ends_with(".gguf") || name.starts_with("mmproj")) continue;
    const auto split = parse_part_name(name);
    if (seen.insert(split ? split->of_part(1) : name).second) models.push_back(name);
  }
  return models;
}

std::unexpected<Error> no_model(const State& state, const std::vector<std::string>& names) {
  std::string hint;
  for (const std::string& name : names) {
    if (name.ends_with(".safetensors"))
      hint = printable(name) + " is here, but no " + std::string(kIndex) +
             " that says what belongs to it; open one file by its path, or fetch the index";
    if (name.starts_with("mmproj") && name.ends_with(".gguf"))
      hint = printable(name) + " is only the encoder of images and sound; fetch the text model too";
  }
  return fail(ErrorCode::not_found,
              "no model in this folder: looked for " + std::string(kIndex) + ", " +
                  std::string(kSingle) + " and *.gguf",
              state.folder->place(""), std::move(hint));
}

Result<void> load_folder(State& state) {
  TERN_TRY(const auto index, state.folder->open(kIndex));
  if (index) {
    TERN_TRY(ShardedTensors read, open_shards(*state.folder, as_text(*index), kIndex));
    TERN_TRY_VOID(adopt(state, Container::safetensors, std::move(read)));
    return load_config(state, true);
  }
  TERN_TRY(const auto single, state.folder->open(kSingle));
  if (single) return load_safetensors_file(state, kSingle, true);
  TERN_TRY(const auto names, state.folder->names());
  const auto models = gguf_models(names);
  if (models.empty()) return no_model(state, names);
  if (models.size() == 1) return load_gguf(state, models[0]);
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(models.size(), 8); ++i)
    list += (i == 0 ? "" : ", ") + printable(models[i]);
  return fail(ErrorCode::usage,
              "this folder holds " + std::to_string(models.size()) + " GGUF models: " + list,
              state.folder->place(""), "give the path of one of them");
}

Result<void> load_file(State& state, const std::string& name) {
  if (name.ends_with(".gguf")) return load_gguf(state, name);
  if (name.ends_with(".safetensors")) return load_safetensors_file(state, name, false);
  TERN_TRY(const auto bytes, state.folder->open(name));
  if (bytes && as_text(*bytes).starts_with("GGUF")) return load_gguf(state, name);
  if (bytes && bytes->size() > 8 && as_text(*bytes)[8] == '{')
    return load_safetensors_file(state, name, false);
  return fail(ErrorCode::unsupported, "neither a GGUF nor a safetensors file",
              state.folder->place(name));
}

}  // namespace

std::string_view name(Container container) {
  return container == Container::gguf ? "gguf" : "safetensors";
}

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path, std::string display_name) {
  std::error_code ec;
  const auto status = std::filesystem::status(path, ec);
  if (status.type() == std::filesystem::file_type::not_found)
    return fail(ErrorCode::not_found, "no such file or folder", path.string());
  if (ec) return fail(ErrorCode::io, "cannot open: " + ec.message(), path.string());
  auto state = std::make_unique<State>();
  state->display_name = display_name.empty() ? path.string() : std::move(display_name);
  if (std::filesystem::is_directory(status)) {
    state->folder = disk_folder(path);
    TERN_TRY_VOID(load_folder(*state));
  } else {
    state->folder = disk_folder(path.parent_path());
    TERN_TRY_VOID(load_file(*state, path.filename().string()));
  }
  return Checkpoint(std::move(state));
}

Result<Checkpoint> Checkpoint::from_memory(std::string display_name,
                                           std::vector<MemoryFile> files) {
  auto state = std::make_unique<State>();
  state->folder = memory_folder(display_name, files);
  state->display_name = std::move(display_name);
  TERN_TRY_VOID(load_folder(*state));
  return Checkpoint(std::move(state));
}

Container Checkpoint::container() const {
  return state_->container;
}

const std::string& Checkpoint::display_name() const {
  return state_->display_name;
}

const TensorTable& Checkpoint::tensors() const {
  return state_->tensors;
}

std::uint64_t Checkpoint::tensor_bytes() const {
  return state_->tensor_bytes;
}

const std::vector<Checkpoint::File>& Checkpoint::files() const {
  return state_->files;
}

std::uint64_t Checkpoint::resident_bytes() const {
  std::uint64_t resident = 0;
  for (const File& file : state_->files) resident += state_->folder->resident_bytes(file.name);
  return resident;
}

const json::object& Checkpoint::config() const {
  return state_->config;
}

const GgufMetadata& Checkpoint::metadata() const {
  return state_->metadata;
}

Result<std::optional<std::string_view>> Checkpoint::side_file(std::string_view file) const {
  if (!is_plain_name(file))
    return fail(ErrorCode::usage, printable(file) + " is no plain file name");
  if (state_->container == Container::gguf) return std::nullopt;
  TERN_TRY(const auto bytes, state_->folder->open(file));
  if (!bytes) return std::nullopt;
  if (bytes->size() > kMaxSideFileBytes)
    return fail(ErrorCode::too_large,
                "file of " + std::to_string(bytes->size()) + " bytes, at most " +
                    std::to_string(kMaxSideFileBytes) + " are read",
                state_->folder->place(file));
  return as_text(*bytes);
}

Checkpoint::Checkpoint(std::unique_ptr<State> state) : state_(std::move(state)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

}  // namespace tern::formats
