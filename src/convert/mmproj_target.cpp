#include "convert/mmproj_target.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/json.h"
#include "base/printable.h"
#include "convert/gguf_file.h"
#include "convert/gguf_metadata.h"
#include "convert/mmproj_names.h"
#include "formats/gguf_writer.h"

namespace tern::convert {
namespace {

using formats::GgufKey;

constexpr std::uint32_t kMostlyF16 = 1;  // general.file_type
constexpr std::size_t kHeads = 16;       // of C-RADIO, a ViT-H; no configuration names it
constexpr float kVisionEps = 1e-6f, kSoundEps = 1e-5f;
constexpr std::string_view kConfig = "config.json", kPreprocessor = "preprocessor_config.json";

std::uint32_t u32(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}

std::optional<quant::Scheme> scheme_of(DType type) {
  if (type == DType::f32) return quant::Scheme::f32;
  if (type == DType::f16) return quant::Scheme::f16;
  if (type == DType::bf16) return quant::Scheme::bf16;
  return std::nullopt;
}

/// The type that llama.cpp's converter gives a tensor of `axes` axes in a file of F16.
DType type_of(const MmprojName& name, std::size_t axes) {
  const auto has = [&](std::string_view part) { return name.gguf.find(part) != name.gguf.npos; };
  const bool weight = name.gguf.ends_with(".weight");
  if (axes < 2 || !weight || has("position_embd")) return DType::f32;
  return name.encoder == Encoder::sound && (has("conv") || has("norm")) ? DType::f32 : DType::f16;
}

/// The rows of `tensor`, whose numbers have a scheme.
quant::Matrix matrix_of(const Tensor& tensor, quant::Scheme scheme) {
  const std::size_t cols = tensor.shape.back();
  return {.scheme = scheme,
          .rows = tensor.elements() / std::max<std::size_t>(1, cols),
          .cols = cols,
          .codes = tensor.data.data(),
          .code_stride = cols * block_layout(tensor.type).bytes};
}

/// A table of positions [from * from, width] at to * to places, by bilinear interpolation with the
/// corners in place, as llama.cpp's converter does it.
std::vector<float> resized(const quant::Matrix& table, std::size_t from, std::size_t to) {
  const std::size_t width = table.cols;
  std::vector<float> out(to * to * width);
  std::array<std::vector<float>, 4> corners;
  for (auto& corner : corners) corner.resize(width);
  const float scale = to > 1 ? static_cast<float>(from - 1) / static_cast<float>(to - 1) : 0.0f;
  for (std::size_t y = 0; y < to; ++y)
    for (std::size_t x = 0; x < to; ++x) {
      const float at_y = scale * static_cast<float>(y), at_x = scale * static_cast<float>(x);
      const auto y0 = std::min(static_cast<std::size_t>(at_y), from - 1);
      const auto x0 = std::min(static_cast<std::size_t>(at_x), from - 1);
      const std::size_t y1 = std::min(y0 + 1, from - 1), x1 = std::min(x0 + 1, from - 1);
      const float down = at_y - static_cast<float>(y0), right = at_x - static_cast<float>(x0);
      decode_row(table, y0 * from + x0, corners[0]);
      decode_row(table, y0 * from + x1, corners[1]);
      decode_row(table, y1 * from + x0, corners[2]);
      decode_row(table, y1 * from + x1, corners[3]);
      float* row = out.data() + (y * to + x) * width;
      for (std::size_t i = 0; i < width; ++i)
        row[i] = (1 - down) * ((1 - right) * corners[0][i] + right * corners[1][i]) +
                 down * ((1 - right) * corners[2][i] + right * corners[3][i]);
    }
  return out;
}

class MmprojPlanner {
 public:
  explicit MmprojPlanner(const Source& source)
      : source_(source), config_(source.checkpoint().config()) {}

  Result<void> add_all() {
    TERN_TRY(image_, get_uint_or(config_, "force_image_size", 512, kConfig));
    TERN_TRY(patch_, get_uint_or(config_, "patch_size", 16, kConfig));
    if (patch_ == 0 || image_ < patch_ || image_ % patch_ != 0 || image_ / patch_ > kMostPatches)
      return fail(
          ErrorCode::mismatch,
          "force_image_size " + std::to_string(image_) + ", patch_size " + std::to_string(patch_),
          std::string(kConfig),
          "the first must be a multiple of the second, at most " + std::to_string(kMostPatches) +
              " times as large");
    for (const Tensor* tensor : source_.media()) {
      if (has_no_place_in_mmproj(tensor->name)) {
        left_out_.push_back(tensor->name);
        continue;
      }
      TERN_TRY_VOID(add(*tensor));
    }
    if (vision_.tensors == 0)
      return fail(ErrorCode::unsupported, "no encoder of images in the source",
                  source_.checkpoint().display_name(),
                  "an mmproj file is made from the folder of an Omni model in the layout of "
                  "Hugging Face; text models and GGUF files hold no encoders");
    TERN_TRY_VOID(check_complete(Encoder::vision, vision_));
    if (sound_.tensors > 0) TERN_TRY_VOID(check_complete(Encoder::sound, sound_));
    return {};
  }

  Result<Plan> finish(const Target& target) {
    Plan plan{.target = std::string(target.name)};
    TERN_TRY(auto metadata, general_keys(source_, "clip", "mmproj"));
    TERN_TRY_VOID(vision_keys(metadata));
    if (sound_.tensors > 0) TERN_TRY_VOID(sound_keys(metadata));
    TERN_TRY_VOID(add_gguf_file(plan, "mmproj-F16.gguf", std::move(tensors_), metadata));
    if (!left_out_.empty())
      plan.warnings.push_back("left out: " + std::to_string(left_out_.size()) +
                              " tensors that an mmproj file has no place for (the embedder of "
                              "video, the normalization of pixels, counters), the first " +
                              printable(left_out_.front()));
    if (sound_.tensors == 0)
      plan.warnings.push_back("the source has no encoder of sound: the file has images alone");
    return plan;
  }

 private:
  static constexpr std::uint64_t kMostPatches = 256;  // along a side
  static constexpr std::uint64_t kLargestNumber = 1 << 20;

  /// What is known of an encoder's sizes from its tensors.
  struct Sizes {
    std::size_t tensors = 0, blocks = 0;
    std::uint64_t width = 0, feed_forward = 0;
  };

  Result<void> add(const Tensor& tensor) {
    const auto name = mmproj_name(tensor.name);
    if (!name)
      return fail(
          ErrorCode::unsupported, "an mmproj file has no name for this tensor", tensor.name,
          "known are the encoders C-RADIO and Parakeet as Hugging Face has them; from an MLX "
          "folder, convert to bf16 first");
    const auto scheme = scheme_of(tensor.type);
    if (!scheme || tensor.shape.empty() || tensor.elements() == 0)
      return fail(ErrorCode::unsupported, "no floats: " + std::string(tern::name(tensor.type)),
                  tensor.name, "the encoders of the source must be bf16, f16 or f32");
    Sizes& sizes = name->encoder == Encoder::vision ? vision_ : sound_;
    ++sizes.tensors;
    if (name->block) sizes.blocks = std::max(sizes.blocks, *name->block + 1);
    if (name->gguf.ends_with("blk.0.ffn_up.weight") && tensor.shape.size() == 2) {
      sizes.feed_forward = tensor.shape[0];
      sizes.width = tensor.shape[1];
    }
    if (name->gguf == "v.position_embd.weight") return add_positions(tensor, *scheme);
    TERN_TRY(Shape shape, shape_of(tensor, name->gguf));
    const DType type = type_of(*name, tensor.shape.size());
    add_rows(tensor, *scheme, name->gguf, type, std::move(shape));
    return {};
  }

  void add_rows(const Tensor& tensor, quant::Scheme scheme, const std::string& name, DType type,
                Shape shape) {
    const RowFormatPtr format = plain_format(type);
    const quant::Matrix matrix = matrix_of(tensor, scheme);
    std::string how = format->takes(matrix)
                          ? format->label() + ", as it is"
                          : std::string(tern::name(tensor.type)) + " to " + format->label();
    tensors_.push_back({.outputs = {{name, type, std::move(shape)}},
                        .how = std::move(how),
                        .from = Coding{.matrices = {matrix}, .format = format}});
  }

  /// Patches as a convolution, convolutions over time without their axis of length 1, biases of
  /// those over time and frequency with the axes that ggml adds them along.
  Result<Shape> shape_of(const Tensor& tensor, std::string_view name) const {
    const Shape& shape = tensor.shape;
    const auto has = [&](std::string_view part) { return name.find(part) != name.npos; };
    if (name == "v.patch_embd.weight") {
      if (shape.size() != 2 || shape[1] != 3 * patch_ * patch_)
        return wrong_shape(tensor, "3 * patch_size^2 columns");
      return Shape{shape[0], 3, patch_, patch_};
    }
    if (name == "a.mel_filters" && shape.size() == 3) return Shape{shape[0] * shape[1], shape[2]};
    if (has(".conv_pw") && shape.size() == 3) {
      if (shape[2] != 1) return wrong_shape(tensor, "a last axis of length 1");
      return Shape{shape[0], shape[1]};
    }
    if (has(".conv_dw") && shape.size() == 3) {
      if (shape[1] != 1) return wrong_shape(tensor, "a middle axis of length 1");
      return Shape{shape[0], shape[2]};
    }
    if (has("a.conv1d.") && name.ends_with(".bias") && shape.size() == 1)
      return Shape{1, shape[0], 1, 1};
    if (shape.size() > 4) return wrong_shape(tensor, "at most four axes");
    return shape;
  }

  static std::unexpected<Error> wrong_shape(const Tensor& tensor, const std::string& wanted) {
    return fail(ErrorCode::mismatch, "is " + to_string(tensor.shape) + ", expected " + wanted,
                tensor.name, "the layout is not that of Hugging Face");
  }

  /// The table for images of force_image_size, the only one that llama.cpp has.
  Result<void> add_positions(const Tensor& tensor, quant::Scheme scheme) {
    const Shape& shape = tensor.shape;
    const std::uint64_t places = shape.size() < 2 ? 0 : shape[shape.size() - 2];
    const auto from = static_cast<std::uint64_t>(std::llround(std::sqrt(places)));
    if (places == 0 || from * from != places || tensor.elements() != places * shape.back())
      return wrong_shape(tensor, "[1, side * side, width]");
    const std::uint64_t to = image_ / patch_;
    const Shape out = {to * to, shape.back()};
    if (from == to) {
      add_rows(tensor, scheme, "v.position_embd.weight", DType::f32, out);
      return {};
    }
    tensors_.push_back(plan_values(
        resized(matrix_of(tensor, scheme), from, to), DType::f32, "v.position_embd.weight", out,
        std::to_string(from) + "x" + std::to_string(from) + " to " + std::to_string(to) + "x" +
            std::to_string(to) + " places, bilinear, f32"));
    return {};
  }

  Result<void> check_complete(Encoder encoder, const Sizes& sizes) const {
    const std::string what = encoder == Encoder::vision ? "images" : "sound";
    const std::size_t wanted = mmproj_tensors(encoder, sizes.blocks);
    if (sizes.tensors != wanted || sizes.width == 0)
      return fail(ErrorCode::mismatch,
                  "the encoder of " + what + " has " + std::to_string(sizes.tensors) +
                      " tensors in " + std::to_string(sizes.blocks) + " blocks, expected " +
                      std::to_string(wanted),
                  source_.checkpoint().display_name(), "files of the source may be missing");
    return {};
  }

  Result<void> vision_keys(std::vector<GgufKey>& keys) const {
    const std::string v = "clip.vision.";
    if (vision_.width % kHeads != 0)
      return fail(ErrorCode::unsupported,
                  "the encoder of images is " + std::to_string(vision_.width) +
                      " wide, no multiple of its " + std::to_string(kHeads) + " heads",
                  source_.checkpoint().display_name());
    TERN_TRY(const double ratio, get_number_or(config_, "downsample_ratio", 0.5, kConfig));
    if (!(ratio >= 1.0 / kMostPatches && ratio <= 1))
      return fail(ErrorCode::mismatch, "downsample_ratio " + std::to_string(ratio),
                  std::string(kConfig), "expected 1/256 to 1");
    TERN_TRY(auto mean, pixel_values("mean"));
    TERN_TRY(auto deviation, pixel_values("std"));
    keys.push_back({"general.file_type", kMostlyF16});
    keys.push_back({"clip.has_vision_encoder", true});
    keys.push_back({sound_.tensors > 0 ? v + "projector_type" : "clip.projector_type",
                    std::string("nemotron_v2_vl")});
    keys.push_back({v + "projection_dim", u32(source_.config().hidden_size)});
    keys.push_back({v + "image_size", u32(image_)});
    keys.push_back({v + "patch_size", u32(patch_)});
    keys.push_back({v + "embedding_length", u32(vision_.width)});
    keys.push_back({v + "feed_forward_length", u32(vision_.feed_forward)});
    keys.push_back({v + "block_count", u32(vision_.blocks)});
    keys.push_back({v + "attention.head_count", u32(kHeads)});
    keys.push_back({v + "attention.layer_norm_epsilon", kVisionEps});
    keys.push_back({v + "image_mean", std::move(mean)});
    keys.push_back({v + "image_std", std::move(deviation)});
    keys.push_back({v + "projector.scale_factor", u32(static_cast<std::uint64_t>(1 / ratio))});
    keys.push_back({"clip.use_gelu", true});
    return {};
  }

  /// norm_mean or norm_std, of preprocessor_config.json or config.json: llama.cpp's converter knows
  /// neither name and takes those of ImageNet, which are not the model's.
  Result<std::vector<float>> pixel_values(const std::string& which) const {
    TERN_TRY(const auto text, source_.checkpoint().side_file(kPreprocessor));
    json::value other;
    if (text) {
      TERN_TRY(other, parse_json(*text, kPreprocessor));
    }
    for (const json::object* object : {std::as_const(other).if_object(), &config_})
      for (const std::string& key : {"image_" + which, "norm_" + which}) {
        const json::value* found = object == nullptr ? nullptr : object->if_contains(key);
        const json::array* list = found == nullptr ? nullptr : found->if_array();
        if (list == nullptr || list->size() != 3) continue;
        std::vector<float> values;
        for (const json::value& value : *list)
          if (value.is_number()) values.push_back(value.to_number<float>());
        if (values.size() == 3) return values;
      }
    return fail(ErrorCode::mismatch, "no norm_" + which + " of three numbers",
                std::string(kConfig) + " and " + std::string(kPreprocessor),
                "pixels cannot be normalized without it");
  }

  Result<void> sound_keys(std::vector<GgufKey>& keys) const {
    const json::value* value = config_.if_contains("sound_config");
    const json::object* config = value == nullptr ? nullptr : value->if_object();
    if (config == nullptr)
      return fail(ErrorCode::mismatch, "no sound_config for the encoder of sound",
                  std::string(kConfig));
    const std::string a = "clip.audio.";
    keys.push_back({"clip.has_audio_encoder", true});
    keys.push_back({a + "projector_type", std::string("parakeet")});
    keys.push_back({a + "projection_dim", u32(source_.config().hidden_size)});
    keys.push_back({a + "embedding_length", u32(sound_.width)});
    keys.push_back({a + "feed_forward_length", u32(sound_.feed_forward)});
    keys.push_back({a + "block_count", u32(sound_.blocks)});
    keys.push_back({a + "attention.layer_norm_epsilon", kSoundEps});
    for (const auto& [key, name] : {std::pair("num_attention_heads", "attention.head_count"),
                                    std::pair("num_mel_bins", "num_mel_bins"),
                                    std::pair("subsampling_factor", "subsampling_factor"),
                                    std::pair("conv_kernel_size", "conv_kernel_size")}) {
      TERN_TRY(const std::uint64_t number, get_uint(*config, key, kConfig));
      if (number > kLargestNumber)
        return fail(ErrorCode::too_large,
                    std::string(key) + " is " + std::to_string(number) + ", at most " +
                        std::to_string(kLargestNumber),
                    std::string(kConfig) + ": sound_config");
      keys.push_back({a + name, u32(number)});
    }
    return {};
  }

  const Source& source_;
  const json::object& config_;
  std::uint64_t image_ = 0, patch_ = 0;
  Sizes vision_, sound_;
  std::vector<PlannedTensor> tensors_;
  std::vector<std::string> left_out_;
};

Result<void> check_options(const Target& target, const PlanOptions& options) {
  if (options.group_size || options.head_bits || options.rotation_seed != 0 ||
      !options.overrides.empty() || options.importance != nullptr || options.reference ||
      options.text_only)
    return fail(ErrorCode::usage,
                std::string(target.name) +
                    " takes no --group-size, --head-bits, --seed, --override, --imatrix, "
                    "--reference or --text-only",
                std::string(target.name), "the encoders keep their numbers, in F16");
  return {};
}

}  // namespace

Result<Plan> plan_mmproj(const Source& source, const Target& target, const PlanOptions& options) {
  TERN_TRY_VOID(check_options(target, options));
  MmprojPlanner planner(source);
  TERN_TRY_VOID(planner.add_all());
  return planner.finish(target);
}

}  // namespace tern::convert
