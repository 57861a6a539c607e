#include "convert/fold.h"

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "convert/config_text.h"
#include "convert/gguf_file.h"
#include "convert/gguf_format.h"
#include "convert/mlx_format.h"
#include "convert/recipe.h"
#include "convert/row_coder.h"
#include "convert/shards.h"
#include "convert/side_files.h"
#include "quant/turbo_weights.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using model::RotationKind;
using quant::Scheme;

constexpr std::uint64_t kMaxSideFile = 256u << 20;

/// What a tensor becomes.
enum class Action : std::uint8_t { copy, key_outputs, value_outputs, value_inputs };

Action action_for(std::string_view name, const model::Fold& fold) {
  const bool keys = fold.keys != RotationKind::identity;
  const bool values = fold.values != RotationKind::identity;
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

bool is_plain(Scheme scheme) {
  return scheme == Scheme::f32 || scheme == Scheme::f16 || scheme == Scheme::bf16;
}

std::vector<float> floats_of(const SourceTensor& tensor) {
  if (!tensor.is_matrix()) return tensor.values();
  const quant::Matrix& matrix = tensor.matrices.front();
  std::vector<float> values(matrix.rows * matrix.cols);
  for (std::size_t row = 0; row < matrix.rows; ++row)
    decode_row(matrix, row, std::span(values).subspan(row * matrix.cols, matrix.cols));
  return values;
}

quant::Matrix matrix_over(const std::vector<float>& values, const quant::Matrix& like) {
  return {.scheme = Scheme::f32,
          .rows = like.rows,
          .cols = like.cols,
          .codes = std::as_bytes(std::span(values)).data(),
          .code_stride = like.cols * sizeof(float)};
}

/// The format of TurboQuant rows: config.json has the seed of their signs.
Result<RowFormatPtr> own_turbo_format(const quant::Matrix& matrix,
                                      const formats::Checkpoint& checkpoint) {
  for (const std::string_view key : {"quantization", "quantization_config"})
    if (const json::value* map = checkpoint.config().if_contains(key);
        map != nullptr && map->is_object())
      if (const auto seed = get_uint(map->get_object(), "rotation_seed", key);
          seed && quant::rht64_signs(*seed) == matrix.signs)
        return turbo_format(matrix.bits, *seed);
  return fail(ErrorCode::unsupported, "quantization of config.json names no rotation_seed",
              checkpoint.display_name(), "--projections bf16 needs none");
}

/// The format that a matrix is stored in.
Result<RowFormatPtr> own_format(const SourceTensor& tensor, const formats::Checkpoint& checkpoint) {
  const quant::Matrix& matrix = tensor.matrices.front();
  switch (matrix.scheme) {
    case Scheme::mlx_affine:
    case Scheme::mlx_mxfp4:
    case Scheme::mlx_mxfp8:
    case Scheme::mlx_nvfp4:
      return mlx_format({matrix.scheme, matrix.bits, matrix.group}, quant::Encoder::searched);
    case Scheme::turboquant:
      return own_turbo_format(matrix, checkpoint);
    default:
      return gguf_format(tensor.stored->type, quant::GgufFit::searched);
  }
}

std::vector<const SourceTensor*> targets_of(const Source& source, const model::Fold& fold) {
  std::vector<const SourceTensor*> targets;
  for (const SourceTensor& tensor : source.tensors())
    if (action_for(tensor.hf, fold) != Action::copy) targets.push_back(&tensor);
  return targets;
}

class Folder {
 public:
  Folder(const Source& source, const FoldOptions& options, ThreadPool& pool)
      : source_(source),
        checkpoint_(source.checkpoint()),
        options_(options),
        keys_(rotation(options.fold.keys, 0)),
        values_(rotation(options.fold.values, 1)),
        coder_(pool) {}

  Result<FoldPlan> run(const std::vector<const SourceTensor*>& targets) {
    for (const SourceTensor* tensor : targets) {
      if (options_.progress && !options_.progress(result_.folded, targets.size()))
        return fail(ErrorCode::cancelled, "interrupted");
      TERN_TRY_VOID(fold(*tensor));
      ++result_.folded;
    }
    result_.plan.target = source_.is_gguf() ? "a folded GGUF model" : "a folded model";
    auto tensors = all_tensors();
    if (source_.is_gguf())
      TERN_TRY_VOID(write_gguf(std::move(tensors)));
    else
      TERN_TRY_VOID(write_folder(std::move(tensors)));
    warn();
    if (coder_.square() > 0) result_.error = coder_.error() / coder_.square();
    return std::move(result_);
  }

 private:
  quant::Rotation rotation(RotationKind kind, std::size_t of) const {
    return quant::Rotation::make(kind, source_.config().attention.head_dim, model::kFoldSeeds[of]);
  }

  Result<void> fold(const SourceTensor& tensor) {
    std::vector<float> values = floats_of(tensor);
    const Action action = action_for(tensor.hf, options_.fold);
    if (action == Action::value_inputs)
      model::rotate_inputs(values, values_);
    else
      model::rotate_outputs(values, tensor.is_matrix() ? tensor.shape.back() : 1,
                            action == Action::key_outputs ? keys_ : values_);
    if (tensor.is_matrix()) return code(tensor, values);
    const Tensor& stored = *tensor.stored;
    made_.emplace(stored.name,
                  plan_values(values, stored.type, stored.name, stored.shape, "rotated"));
    return {};
  }

  Result<RowFormatPtr> format_for(const SourceTensor& tensor) {
    const Scheme scheme = tensor.matrices.front().scheme;
    if (is_plain(scheme)) return plain_format(tensor.stored->type);
    quantized_.insert(tensor.type_name());
    ++quantized_count_;
    if (options_.bf16) return plain_format(DType::bf16);
    return own_format(tensor, checkpoint_);
  }

  Result<void> code(const SourceTensor& tensor, const std::vector<float>& values) {
    TERN_TRY(const RowFormatPtr format, format_for(tensor));
    const std::string& name = tensor.stored->name;
    const Coding coding{.matrices = {matrix_over(values, tensor.matrices.front())},
                        .format = format};
    const auto planes = format->planes(coding.cols());
    std::vector<std::string> bytes(planes.size());
    TERN_TRY_VOID(coder_.run(
        coding, name,
        [&](std::size_t plane, Bytes part) -> Result<void> {
          bytes[plane].append(static_cast<const char*>(static_cast<const void*>(part.data())),
                              part.size());
          return {};
        },
        [](std::uint64_t) { return true; }));
    const std::string module(module_of(name));
    for (const std::string_view suffix : {".scales", ".biases"})
      replaced_.insert(module + std::string(suffix));
    for (std::size_t p = 0; p < planes.size(); ++p) {
      const std::string full = module + std::string(planes[p].suffix);
      made_.emplace(
          full,
          PlannedTensor{.outputs = {{full, planes[p].type, {coding.rows(), planes[p].extent}}},
                        .how = "rotated, " + format->label(),
                        .from = std::move(bytes[p])});
    }
    return {};
  }

  /// In the order of the file.
  std::vector<PlannedTensor> all_tensors() {
    std::vector<PlannedTensor> tensors;
    for (const Tensor& tensor : checkpoint_.tensors().tensors()) {
      if (const auto made = made_.find(tensor.name); made != made_.end()) {
        tensors.push_back(std::move(made->second));
      } else if (!replaced_.contains(tensor.name)) {
        tensors.push_back(plan_copy(tensor, tensor.name));
        ++result_.copied;
      }
    }
    return tensors;
  }

  Result<void> write_gguf(std::vector<PlannedTensor> tensors) {
    std::vector<formats::GgufKey> metadata;
    for (const auto& entry : checkpoint_.metadata().entries())
      if (entry.key != "general.alignment" && !entry.key.starts_with("split."))
        metadata.push_back({std::string(entry.key), formats::GgufRaw{entry.raw}});
    metadata.push_back({std::string(model::kFoldKey), model::fold_text(options_.fold)});
    return add_gguf_file(result_.plan, "model.gguf", std::move(tensors), metadata);
  }

  Result<void> write_folder(std::vector<PlannedTensor> tensors) {
    const bool mlx = std::ranges::any_of(source_.tensors(), [](const SourceTensor& tensor) {
      return tensor.is_matrix() && quant::name(tensor.matrices.front().scheme).starts_with("mlx ");
    });
    TERN_TRY_VOID(add_shards(result_.plan, std::move(tensors), options_.shard_bytes,
                             {{"format", mlx ? "mlx" : "pt"}}));
    TERN_TRY_VOID(add_config());
    if (options_.folder) return add_files_of(*options_.folder);
    TERN_TRY(auto files, side_files(source_));
    for (SmallFile& file : files) result_.plan.small_files.push_back(std::move(file));
    return {};
  }

  /// The text as it is, with one entry more at its beginning; modules that are plain now are named.
  Result<void> add_config() {
    std::string text;
    if (quantized_count_ > 0 && options_.bf16) {
      TERN_TRY(text, config_text(source_, plain_modules()));
    } else {
      TERN_TRY(const auto own, checkpoint_.side_file("config.json"));
      text = own.value_or("");
    }
    const std::size_t brace = text.find('{');
    if (brace == text.npos)
      return fail(ErrorCode::not_found, "no config.json beside the weights",
                  checkpoint_.display_name());
    text.insert(brace + 1, "\n  \"tern_kv_rotation\": " + model::fold_text(options_.fold) + ",");
    result_.plan.small_files.push_back({"config.json", std::move(text)});
    return {};
  }

  /// Readers of MLX folders take `false` for a module that is not quantized.
  ConfigChanges plain_modules() const {
    const json::object& config = checkpoint_.config();
    ConfigChanges changes{.repeated = config.contains("quantization_config")};
    for (const std::string_view key : {"quantization_config", "quantization"})
      if (const json::value* map = config.if_contains(key); map != nullptr && map->is_object())
        changes.quantization = map->get_object();
    for (const SourceTensor* tensor : targets_of(source_, options_.fold))
      if (tensor->is_matrix()) changes.quantization[module_of(tensor->stored->name)] = false;
    return changes;
  }

  Result<void> add_files_of(const fs::path& folder) {
    std::error_code error;
    for (fs::directory_iterator entries(folder, error), end; !error && entries != end;
         entries.increment(error)) {
      const fs::path& path = entries->path();
      const std::string name = path.filename().string(), kind = path.extension().string();
      const bool wanted = kind == ".json" || kind == ".jinja" || kind == ".txt" || kind == ".py" ||
                          kind == ".md" || kind == ".model";
      if (!wanted || name == "config.json" || name == "model.safetensors.index.json") continue;
      std::error_code ignored;
      if (!entries->is_regular_file(ignored)) continue;
      TERN_TRY(auto text, read_text_file(path, kMaxSideFile));
      result_.plan.small_files.push_back({name, std::move(text)});
    }
    if (error) return fail(ErrorCode::io, "cannot list: " + error.message(), folder.string());
    return {};
  }

  void warn() {
    if (quantized_count_ == 0 || options_.bf16) return;
    std::string kinds;
    for (const std::string& kind : quantized_) kinds += (kinds.empty() ? "" : "; ") + kind;
    const bool imatrix = std::ranges::any_of(
        checkpoint_.metadata().entries(),
        [](const auto& entry) { return entry.key.starts_with("quantize.imatrix."); });
    result_.plan.warnings.push_back(
        "re-quantized: " + std::to_string(quantized_count_) + " projections are quantized (" +
        kinds + "), and lose once more" +
        (imatrix ? ", without the importance matrix that the file was made with" : "") +
        "; --projections bf16 adds no such loss, nor does --fold while loading, and folding the "
        "BF16 model before it is quantized loses least");
  }

  const Source& source_;
  const formats::Checkpoint& checkpoint_;
  const FoldOptions& options_;
  quant::Rotation keys_, values_;
  RowCoder coder_;
  FoldPlan result_;
  std::map<std::string, PlannedTensor> made_;  ///< by the name in the file
  std::set<std::string> replaced_;             ///< names of the source that go unless made
  std::set<std::string> quantized_;            ///< types of projections
  std::size_t quantized_count_ = 0;
};

}  // namespace

Result<FoldPlan> plan_fold(const Source& source, const FoldOptions& options, ThreadPool& pool) {
  TERN_TRY(const model::Fold before, model::read_fold(source.checkpoint()));
  if (before != model::Fold{})
    return fail(ErrorCode::usage, "is folded already", source.checkpoint().display_name());
  const auto targets = targets_of(source, options.fold);
  if (targets.empty())
    return fail(ErrorCode::usage, "has nothing to fold: no attention, or no rotation",
                source.checkpoint().display_name());
  TERN_TRY_VOID(model::check_heads(options.fold, source.config().attention.head_dim));
  return Folder(source, options, pool).run(targets);
}

}  // namespace tern::convert
