#include "convert/mmproj_names.h"

#include <algorithm>
#include <charconv>
#include <span>

namespace tern::convert {
namespace {

struct Rename {
  std::string_view hf, gguf;
  bool has_bias = false;  ///< else ".weight" alone
};

/// Names without a suffix are those of single parameters.
constexpr Rename kVision[] = {
    {"vision_model.radio_model.model.patch_generator.embedder.weight", "v.patch_embd.weight"},
    {"vision_model.radio_model.model.patch_generator.pos_embed", "v.position_embd.weight"},
    {"vision_model.radio_model.model.patch_generator.cls_token.token", "v.class_embd"},
    {"mlp1.0.weight", "mm.model.mlp.0.weight"},
    {"mlp1.1.weight", "mm.model.mlp.1.weight"},
    {"mlp1.3.weight", "mm.model.mlp.3.weight"},
};
constexpr Rename kVisionBlock[] = {
    {"norm1", "ln1", true},          {"norm2", "ln2", true},      {"attn.qkv", "attn_qkv", true},
    {"attn.proj", "attn_out", true}, {"mlp.fc1", "ffn_up", true}, {"mlp.fc2", "ffn_down", true},
};
constexpr Rename kSound[] = {
    {"sound_encoder.encoder.feature_extractor.featurizer.fb", "a.mel_filters"},
    {"sound_encoder.encoder.feature_extractor.featurizer.window", "a.window"},
    {"sound_encoder.encoder.subsampling.layers.0.weight", "a.conv1d.0.weight"},
    {"sound_encoder.encoder.subsampling.layers.0.bias", "a.conv1d.0.bias"},
    {"sound_encoder.encoder.subsampling.layers.2.weight", "a.conv1d.2.weight"},
    {"sound_encoder.encoder.subsampling.layers.2.bias", "a.conv1d.2.bias"},
    {"sound_encoder.encoder.subsampling.layers.3.weight", "a.conv1d.3.weight"},
    {"sound_encoder.encoder.subsampling.layers.3.bias", "a.conv1d.3.bias"},
    {"sound_encoder.encoder.subsampling.layers.5.weight", "a.conv1d.5.weight"},
    {"sound_encoder.encoder.subsampling.layers.5.bias", "a.conv1d.5.bias"},
    {"sound_encoder.encoder.subsampling.layers.6.weight", "a.conv1d.6.weight"},
    {"sound_encoder.encoder.subsampling.layers.6.bias", "a.conv1d.6.bias"},
    {"sound_encoder.encoder.subsampling.linear.weight", "a.pre_encode.out.weight"},
    {"sound_encoder.encoder.subsampling.linear.bias", "a.pre_encode.out.bias"},
    {"sound_projection.norm.weight", "mm.a.norm_pre.weight"},
    {"sound_projection.linear1.weight", "mm.a.mlp.1.weight"},
    {"sound_projection.linear2.weight", "mm.a.mlp.2.weight"},
};
constexpr Rename kSoundBlock[] = {
    {"norm_feed_forward1", "ffn_norm", true},
    {"feed_forward1.linear1", "ffn_up"},
    {"feed_forward1.linear2", "ffn_down"},
    {"norm_self_att", "ln1", true},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_out"},
    {"self_attn.relative_k_proj", "linear_pos"},
    {"norm_conv", "norm_conv", true},
    {"conv.pointwise_conv1", "conv_pw1"},
    {"conv.depthwise_conv", "conv_dw"},
    {"conv.norm", "conv_norm", true},
    {"conv.pointwise_conv2", "conv_pw2"},
    {"norm_feed_forward2", "ffn_norm_1", true},
    {"feed_forward2.linear1", "ffn_up_1"},
    {"feed_forward2.linear2", "ffn_down_1"},
    {"norm_out", "ln2", true},
};
/// Parameters of a block that are no weight or bias of a layer.
constexpr Rename kSoundBlockParameters[] = {
    {"self_attn.bias_u", "pos_bias_u"},
    {"self_attn.bias_v", "pos_bias_v"},
    {"conv.norm.running_mean", "conv_norm_mean"},
    {"conv.norm.running_var", "conv_norm_var"},
};
constexpr std::string_view kLeftOut[] = {".num_batches_tracked", ".input_conditioner.",
                                         ".summary_idxs", ".video_embedder."};

const Rename* find(std::span<const Rename> names, std::string_view hf) {
  const auto found = std::ranges::find(names, hf, &Rename::hf);
  return found == names.end() ? nullptr : &*found;
}

struct BlockName {
  std::size_t block = 0;
  std::string_view rest;
};

/// "3" and "attn.qkv.weight" of "<prefix>3.attn.qkv.weight".
std::optional<BlockName> split_block(std::string_view hf, std::string_view prefix) {
  if (!hf.starts_with(prefix)) return std::nullopt;
  hf.remove_prefix(prefix.size());
  BlockName out;
  const auto [end, error] = std::from_chars(hf.data(), hf.data() + hf.size(), out.block);
  const auto digits = static_cast<std::size_t>(end - hf.data());
  const bool padded = digits > 1 && hf.front() == '0';
  if (error != std::errc{} || padded || !hf.substr(digits).starts_with('.')) return std::nullopt;
  out.rest = hf.substr(digits + 1);
  return out;
}

/// "attn_qkv.bias" of "attn.qkv.bias".
std::optional<std::string> layer_name(std::span<const Rename> names, std::string_view rest) {
  const std::size_t dot = rest.rfind('.');
  if (dot == rest.npos) return std::nullopt;
  const Rename* rename = find(names, rest.substr(0, dot));
  const std::string_view suffix = rest.substr(dot);
  if (rename == nullptr || (suffix != ".weight" && !(suffix == ".bias" && rename->has_bias)))
    return std::nullopt;
  return std::string(rename->gguf) + std::string(suffix);
}

std::size_t count_layers(std::span<const Rename> names) {
  std::size_t count = 0;
  for (const Rename& rename : names) count += rename.has_bias ? 2 : 1;
  return count;
}

}  // namespace

std::optional<MmprojName> mmproj_name(std::string_view hf) {
  if (const Rename* rename = find(kVision, hf))
    return MmprojName{Encoder::vision, std::string(rename->gguf)};
  if (const Rename* rename = find(kSound, hf))
    return MmprojName{Encoder::sound, std::string(rename->gguf)};
  if (const auto at = split_block(hf, "vision_model.radio_model.model.blocks."))
    if (const auto name = layer_name(kVisionBlock, at->rest))
      return MmprojName{Encoder::vision, "v.blk." + std::to_string(at->block) + "." + *name,
                        at->block};
  if (const auto at = split_block(hf, "sound_encoder.encoder.layers.")) {
    const std::string prefix = "a.blk." + std::to_string(at->block) + ".";
    if (const Rename* rename = find(kSoundBlockParameters, at->rest))
      return MmprojName{Encoder::sound, prefix + std::string(rename->gguf), at->block};
    if (const auto name = layer_name(kSoundBlock, at->rest))
      return MmprojName{Encoder::sound, prefix + *name, at->block};
  }
  return std::nullopt;
}

bool has_no_place_in_mmproj(std::string_view hf) {
  return std::ranges::any_of(kLeftOut,
                             [&](std::string_view part) { return hf.find(part) != hf.npos; });
}

std::size_t mmproj_tensors(Encoder encoder, std::size_t blocks) {
  if (encoder == Encoder::vision) return std::size(kVision) + blocks * count_layers(kVisionBlock);
  return std::size(kSound) +
         blocks * (count_layers(kSoundBlock) + std::size(kSoundBlockParameters));
}

}  // namespace tern::convert
