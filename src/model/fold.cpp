#include "model/fold.h"

#include <new>
#include <string>
#include <vector>

#include "base/check.h"
#include "quant/matrix.h"

namespace tern::model {
namespace {

constexpr std::uint64_t kVersion = 1;

Buffer<float> to_floats(const quant::Matrix& matrix) {
  Buffer<float> values(matrix.rows * matrix.cols);
  quant::DecodeRow* const decode = quant::row_decoder(matrix, active_isa());
  for (std::size_t row = 0; row < matrix.rows; ++row)
    decode(matrix, row, values.span().subspan(row * matrix.cols, matrix.cols));
  return values;
}

/// `linear` with a rotated copy of its matrix, which `owned` holds.
template <class Rotate>
void replace(Linear& linear, std::vector<Buffer<float>>& owned, const Rotate& rotate) {
  quant::Matrix& matrix = linear.matrix.weight;
  Buffer<float> values = to_floats(matrix);
  rotate(values.span(), matrix.cols);
  matrix.scheme = quant::Scheme::f32;
  matrix.codes = static_cast<const std::byte*>(static_cast<const void*>(values.data()));
  matrix.code_stride = matrix.cols * sizeof(float);
  owned.push_back(std::move(values));
}

Result<RotationKind> read_kind(const json::object& object, std::string_view key,
                               std::string_view where) {
  TERN_TRY(const std::string_view text, get_string(object, key, where));
  if (const auto kind = quant::rotation_kind(text)) return *kind;
  return fail(ErrorCode::unsupported, "unknown rotation \"" + std::string(text) + "\"",
              std::string(where));
}

}  // namespace

Result<Fold> read_fold(const json::object& config, std::string_view where) {
  const json::value* value = config.if_contains("tern_kv_rotation");
  if (value == nullptr || value->is_null()) return Fold{};
  const std::string place = std::string(where) + ", tern_kv_rotation";
  if (!value->is_object()) return fail(ErrorCode::corrupt, "expected a JSON object", place);
  const json::object& object = value->get_object();
  TERN_TRY(const std::uint64_t version, get_uint(object, "version", place));
  const json::value* seeds = object.if_contains("seeds");
  if (version != kVersion || seeds == nullptr ||
      *seeds != json::value{kFoldSeeds[0], kFoldSeeds[1]})
    return fail(ErrorCode::unsupported,
                "version " + std::to_string(version) + " with seeds " +
                    (seeds == nullptr ? "missing" : json::serialize(*seeds)) +
                    ", known is version 1 with seeds [1,2]",
                place, "folded by another version of the program");
  Fold fold;
  TERN_TRY(fold.keys, read_kind(object, "keys", place));
  TERN_TRY(fold.values, read_kind(object, "values", place));
  return fold;
}

Result<Fold> read_fold(const formats::Checkpoint& checkpoint) {
  if (checkpoint.container() != formats::Container::gguf)
    return read_fold(checkpoint.config(), checkpoint.display_name() + "/config.json");
  if (checkpoint.metadata().find(kFoldKey) == nullptr) return Fold{};
  TERN_TRY(const auto text, checkpoint.metadata().get_string(kFoldKey));
  TERN_TRY(auto value, parse_json(text, kFoldKey));
  return read_fold(json::object{{"tern_kv_rotation", std::move(value)}}, checkpoint.display_name());
}

Result<void> check_heads(const Fold& fold, std::size_t head_dim) {
  for (const RotationKind kind : {fold.keys, fold.values}) {
    const std::size_t unit = kind == RotationKind::planar ? 2 : kind == RotationKind::iso ? 4 : 1;
    if (head_dim == 0 || head_dim % unit != 0)
      return fail(ErrorCode::usage,
                  std::string(quant::name(kind)) + " rotations need heads of a multiple of " +
                      std::to_string(unit) + " numbers, the model's have " +
                      std::to_string(head_dim),
                  "fold");
  }
  return {};
}

std::string fold_text(const Fold& fold) {
  return json::serialize(json::object{{"version", kVersion},
                                      {"keys", quant::name(fold.keys)},
                                      {"values", quant::name(fold.values)},
                                      {"seeds", {kFoldSeeds[0], kFoldSeeds[1]}}});
}

void rotate_outputs(std::span<float> w, std::size_t cols, const quant::Rotation& rotation) {
  const std::size_t dim = rotation.dim();
  TERN_CHECK(w.size() % (dim * cols) == 0);
  std::vector<float> column(dim);
  for (std::size_t head = 0; head < w.size(); head += dim * cols) {
    for (std::size_t c = 0; c < cols; ++c) {
      for (std::size_t i = 0; i < dim; ++i) column[i] = w[head + i * cols + c];
      rotation.forward(column);
      for (std::size_t i = 0; i < dim; ++i) w[head + i * cols + c] = column[i];
    }
  }
}

void rotate_inputs(std::span<float> w, const quant::Rotation& rotation) {
  const std::size_t dim = rotation.dim();
  TERN_CHECK(w.size() % dim == 0);
  for (std::size_t at = 0; at < w.size(); at += dim) rotation.forward(w.subspan(at, dim));
}

Result<void> fold(Weights& weights, const Config& config, const Fold& fold) try {
  TERN_TRY_VOID(check_heads(fold, config.attention.head_dim));
  const auto keys = quant::Rotation::make(fold.keys, config.attention.head_dim, kFoldSeeds[0]);
  const auto values = quant::Rotation::make(fold.values, config.attention.head_dim, kFoldSeeds[1]);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const auto* w = std::get_if<AttentionWeights>(&weights.layers[i].mixer);
    if (w == nullptr) continue;
    for (const Linear* linear : {&w->q_proj, &w->k_proj, &w->v_proj, &w->o_proj})
      if (linear->matrix.weight.rotated())
        return fail(ErrorCode::unsupported,
                    "attention of layer " + std::to_string(i) + " is stored as " +
                        std::string(quant::name(linear->matrix.weight.scheme)) +
                        ", whose inputs have a rotation of their own",
                    "fold", "fold the unquantized model, then quantize it");
  }
  const auto outputs = [&weights](Linear& linear, const quant::Rotation& rotation) {
    replace(linear, weights.folded,
            [&](std::span<float> w, std::size_t cols) { rotate_outputs(w, cols, rotation); });
    if (linear.bias.size() > 0) rotate_outputs(linear.bias.span(), 1, rotation);
  };
  for (LayerWeights& layer : weights.layers) {
    auto* w = std::get_if<AttentionWeights>(&layer.mixer);
    if (w == nullptr) continue;
    if (fold.keys != RotationKind::identity) {
      outputs(w->q_proj, keys);
      outputs(w->k_proj, keys);
    }
    if (fold.values != RotationKind::identity) {
      outputs(w->v_proj, values);
      replace(w->o_proj, weights.folded,
              [&](std::span<float> matrix, std::size_t) { rotate_inputs(matrix, values); });
    }
  }
  return {};
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "no memory for the rotated projections", "fold");
}

}  // namespace tern::model
