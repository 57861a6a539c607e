// Rotations of the attention cache, moved into the projection matrices around it.
//
// For an orthogonal R (one for all layers and heads; GQA: a KV head and its query heads share it)
//
//   W_k <- R W_k,  W_q <- R W_q     for each head:  (R q)^T (R k) = q^T k
//   W_v <- R' W_v, W_o <- W_o R'^T  for each head:  W_o R'^T (sum_t a_t R' v_t) = W_o sum_t a_t v_t
//
// change no output, and keys and values arrive at the cache in the basis that it codes them in:
// norms are those of before, so codes are too. Exact in exact arithmetic, because this model has
// nothing between projection and cache (no RoPE, no QK-norm). Biases of q, k and v turn with their
// matrices.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "formats/checkpoint.h"
#include "model/weights.h"
#include "quant/rotation.h"

namespace tern::model {

using quant::RotationKind;

/// Seeds of the cache's rotations of keys and values.
inline constexpr std::uint64_t kFoldSeeds[2] = {1, 2};

/// Which rotations the weights contain already.
struct Fold {
  RotationKind keys = RotationKind::identity;
  RotationKind values = RotationKind::identity;

  bool operator==(const Fold&) const = default;
};

/// What "tern_kv_rotation" of config.json says; nothing folded when there is none:
///   {"version": 1, "keys": "hadamard", "values": "hadamard", "seeds": [1, 2]}
/// @error corrupt, not_found  another shape. @error unsupported  a rotation of another program
Result<Fold> read_fold(const json::object& config, std::string_view where);
/// Of config.json, or the same as text of the key kFoldKey of a GGUF file. Errors as above.
Result<Fold> read_fold(const formats::Checkpoint& checkpoint);
inline constexpr std::string_view kFoldKey = "tern.kv_rotation";
/// The same as JSON text.
std::string fold_text(const Fold& fold);

/// Whether heads of `head_dim` numbers can be rotated so.
/// @error usage  no heads, or a size that planar (2) or iso (4) does not divide
Result<void> check_heads(const Fold& fold, std::size_t head_dim);

/// W[heads * head_dim, cols] <- R W for each head, in place. A bias is a matrix of one column.
void rotate_outputs(std::span<float> w, std::size_t cols, const quant::Rotation& rotation);
/// W[rows, heads * head_dim] <- W R^T for each head, in place.
void rotate_inputs(std::span<float> w, const quant::Rotation& rotation);

/// Folds into weights that are loaded: projections of attention layers become float32 copies, which
/// `weights` owns, at four bytes a weight. Quantized ones are decoded for it and not encoded again.
/// @error unsupported  a projection of TurboQuant weights, with its layer
/// @error no_memory, as check_heads
Result<void> fold(Weights& weights, const Config& config, const Fold& fold);

}  // namespace tern::model
