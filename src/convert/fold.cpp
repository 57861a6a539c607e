#include "convert/fold.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <system_error>
#include <vector>

#include "base/check.h"
#include "convert/output_folder.h"
#include "formats/safetensors_writer.h"
#include "model/forward.h"
#include "tensor/half.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using formats::Checkpoint;

constexpr std::size_t kPiece = std::size_t{1} << 26;  // bytes that are written at once
constexpr std::uint64_t kMaxSideFile = 256u << 20;
constexpr std::string_view kSideFiles[] = {"tokenizer.json",          "tokenizer_config.json",
                                           "special_tokens_map.json", "generation_config.json",
                                           "chat_template.jinja",     "preprocessor_config.json"};

/// What a tensor becomes.
enum class Action : std::uint8_t { copy, key_outputs, value_outputs, value_inputs };

Action action_for(std::string_view name, const model::Fold& fold) {
  const bool keys = fold.keys != model::RotationKind::identity;
  const bool values = fold.values != model::RotationKind::identity;
  for (const std::string_view end : {".weight", ".bias"}) {
    if (!name.ends_with(end)) continue;
    const std::string_view stem = name.substr(0, name.size() - end.size());
    if (keys && (stem.ends_with(".mixer.q_proj") || stem.ends_with(".mixer.k_proj")))
      return Action::key_outputs;
    if (values && stem.ends_with(".mixer.v_proj")) return Action::value_outputs;
    if (values && stem.ends_with(".mixer.o_proj") && end == ".weight") return Action::value_inputs;
  }
  return Action::copy;
}

std::vector<float> to_floats(const Tensor& tensor) {
  std::vector<float> values(tensor.elements());
  const std::byte* in = tensor.data.data();
  if (tensor.type == DType::f32) {
    std::memcpy(values.data(), in, tensor.data.size());
    return values;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, in + i * sizeof bits, sizeof bits);
    values[i] = tensor.type == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
  }
  return values;
}

std::vector<std::byte> to_bytes(std::span<const float> values, DType type) {
  std::vector<std::byte> bytes(values.size() * (type == DType::f32 ? 4 : 2));
  if (type == DType::f32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits =
        type == DType::bf16 ? float_to_bf16(values[i]) : float_to_f16(values[i]);
    std::memcpy(bytes.data() + i * sizeof bits, &bits, sizeof bits);
  }
  return bytes;
}

class Folder {
 public:
  Folder(const Checkpoint& checkpoint, const FoldTask& task, const model::Config& config,
         OutputFolder& output)
      : checkpoint_(checkpoint),
        task_(task),
        keys_(
            quant::Rotation::make(task.fold.keys, config.attention.head_dim, model::kFoldSeeds[0])),
        values_(quant::Rotation::make(task.fold.values, config.attention.head_dim,
                                      model::kFoldSeeds[1])),
        output_(output) {}

  Result<FoldResult> run(const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                         const std::function<bool()>& stop) {
    const auto shards = cut();
    for (std::size_t i = 0; i < shards.size(); ++i)
      TERN_TRY_VOID(write_shard(shards[i], shard_name(i, shards.size()), progress, stop));
    if (shards.size() > 1) TERN_TRY_VOID(write_index(shards));
    TERN_TRY_VOID(write_config());
    TERN_TRY_VOID(copy_side_files());
    result_.files = shards.size();
    return result_;
  }

 private:
  using Shard = std::vector<const Tensor*>;

  std::vector<Shard> cut() const {
    std::vector<Shard> shards;
    std::uint64_t bytes = 0;
    for (const Tensor& tensor : checkpoint_.tensors().tensors()) {
      if (shards.empty() || bytes + tensor.data.size() > task_.shard_bytes) {
        if (shards.empty() || !shards.back().empty()) shards.emplace_back();
        bytes = 0;
      }
      shards.back().push_back(&tensor);
      bytes += tensor.data.size();
    }
    return shards;
  }

  static std::string shard_name(std::size_t index, std::size_t count) {
    if (count == 1) return "model.safetensors";
    const auto five = [](std::size_t n) {
      const std::string digits = std::to_string(n);
      return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
    };
    return "model-" + five(index + 1) + "-of-" + five(count) + ".safetensors";
  }

  Result<void> write_shard(const Shard& shard, const std::string& name,
                           const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                           const std::function<bool()>& stop) {
    std::vector<formats::TensorPlan> plan;
    for (const Tensor* tensor : shard) plan.push_back({tensor->name, tensor->type, tensor->shape});
    TERN_TRY(auto file, formats::SafetensorsWriter::create(output_.file(name), std::move(plan),
                                                           {{"format", "pt"}}));
    for (const Tensor* tensor : shard) {
      if (stop && stop()) return fail(ErrorCode::cancelled, "interrupted");
      TERN_TRY_VOID(write_tensor(*tensor, file));
      result_.bytes += tensor->data.size();
      if (progress) progress(result_.bytes, checkpoint_.tensor_bytes());
    }
    return file.commit();
  }

  Result<void> write_tensor(const Tensor& tensor, formats::SafetensorsWriter& file) {
    const Action action = action_for(tensor.name, task_.fold);
    if (action == Action::copy) {
      ++result_.copied;
      for (std::size_t at = 0; at < tensor.data.size(); at += kPiece)
        TERN_TRY_VOID(file.write(
            tensor.name, tensor.data.subspan(at, std::min(kPiece, tensor.data.size() - at))));
      return {};
    }
    ++result_.folded;
    std::vector<float> values = to_floats(tensor);
    const std::size_t cols = tensor.shape.size() > 1 ? tensor.shape.back() : 1;
    if (action == Action::value_inputs)
      model::rotate_inputs(values, values_);
    else
      model::rotate_outputs(values, cols, action == Action::key_outputs ? keys_ : values_);
    return file.write(tensor.name, to_bytes(values, tensor.type));
  }

  Result<void> write_index(const std::vector<Shard>& shards) const {
    json::object map;
    for (std::size_t i = 0; i < shards.size(); ++i)
      for (const Tensor* tensor : shards[i]) map[tensor->name] = shard_name(i, shards.size());
    return output_.write(
        "model.safetensors.index.json",
        json::serialize(json::object{{"metadata", {{"total_size", checkpoint_.tensor_bytes()}}},
                                     {"weight_map", std::move(map)}}) +
            "\n");
  }

  /// The text as it is, with one entry more at its beginning.
  Result<void> write_config() const {
    TERN_TRY(const auto text, checkpoint_.side_file("config.json"));
    const auto brace = text ? text->find('{') : std::string_view::npos;
    if (brace == std::string_view::npos)
      return fail(ErrorCode::not_found, "no config.json beside the weights",
                  checkpoint_.display_name());
    std::string changed(*text);
    changed.insert(brace + 1, "\n  \"tern_kv_rotation\": " + model::fold_text(task_.fold) + ",");
    return output_.write("config.json", changed);
  }

  Result<void> copy_side_files() const {
    if (!task_.folder) {
      for (const std::string_view name : kSideFiles) {
        TERN_TRY(const auto text, checkpoint_.side_file(name));
        if (text) TERN_TRY_VOID(output_.write(name, *text));
      }
      return {};
    }
    std::error_code error;
    for (fs::directory_iterator entries(*task_.folder, error), end; !error && entries != end;
         entries.increment(error)) {
      const fs::path& path = entries->path();
      const std::string name = path.filename().string(), kind = path.extension().string();
      const bool wanted = kind == ".json" || kind == ".jinja" || kind == ".txt" || kind == ".py" ||
                          kind == ".md" || kind == ".model";
      if (!wanted || name == "config.json" || name == "model.safetensors.index.json") continue;
      std::error_code ignored;
      if (!entries->is_regular_file(ignored)) continue;
      TERN_TRY(const auto text, read_text_file(path, kMaxSideFile));
      TERN_TRY_VOID(output_.write(name, text));
    }
    if (error)
      return fail(ErrorCode::io, "cannot list: " + error.message(), task_.folder->string());
    return {};
  }

  const Checkpoint& checkpoint_;
  const FoldTask& task_;
  quant::Rotation keys_, values_;
  OutputFolder& output_;
  FoldResult result_;
};

/// Everything that can be known before a byte is written.
Result<model::Config> check(const Checkpoint& checkpoint, const FoldTask& task) {
  if (checkpoint.container() != formats::Container::safetensors)
    return fail(ErrorCode::unsupported, "only safetensors models can be folded",
                checkpoint.display_name(), "fold the unquantized model, then quantize it");
  TERN_TRY(const model::Model model, model::Model::load(checkpoint));
  TERN_TRY(const model::Fold before,
           model::read_fold(checkpoint.config(), checkpoint.display_name() + "/config.json"));
  if (before != model::Fold{})
    return fail(ErrorCode::usage, "is folded already", checkpoint.display_name());
  std::size_t targets = 0;
  for (const Tensor& tensor : checkpoint.tensors().tensors()) {
    if (action_for(tensor.name, task.fold) == Action::copy) continue;
    ++targets;
    if (tensor.type == DType::f32 || tensor.type == DType::f16 || tensor.type == DType::bf16)
      continue;
    return fail(ErrorCode::unsupported,
                tensor.name + " is stored as " + std::string(name(tensor.type)) +
                    ", rotations fold into BF16, F16 and F32 only",
                checkpoint.display_name(), "fold the unquantized model, then quantize it");
  }
  if (targets == 0)
    return fail(ErrorCode::usage, "has nothing to fold: no attention, or no rotation",
                checkpoint.display_name());
  return model.config();
}

Result<void> check_room(const fs::path& destination, std::uint64_t needed) {
  std::error_code error;
  const fs::path parent = destination.has_parent_path() ? destination.parent_path() : fs::path(".");
  const auto space = fs::space(parent, error);
  if (error || space.available >= needed) return {};
  return fail(ErrorCode::io,
              std::to_string(needed) + " bytes are needed, " + std::to_string(space.available) +
                  " are free",
              destination.string(), "free some disk space and try again");
}

}  // namespace

Result<FoldResult> fold(const Checkpoint& checkpoint, const FoldTask& task,
                        const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                        const std::function<bool()>& stop) {
  TERN_TRY(const model::Config config, check(checkpoint, task));
  TERN_TRY_VOID(check_room(task.destination, checkpoint.tensor_bytes()));
  TERN_TRY(auto output, OutputFolder::create(task.destination));
  TERN_TRY(const auto result, Folder(checkpoint, task, config, output).run(progress, stop));
  TERN_TRY_VOID(output.commit());
  return result;
}

}  // namespace tern::convert
