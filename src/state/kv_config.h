// How keys and values of a sequence are stored, as an engine or a test asks for it.
#pragma once
#include <cstddef>
#include <vector>

#include "quant/kv_codec.h"

namespace tern::state {

using quant::KvScheme;

/// A query at position p reads the key and value of position s as 16-bit floats if
///   s < sinks,  s > p - recent,  or p < quantized_start,
/// and as codes otherwise. f32, f16 and bf16 have no codes and ignore the rest.
struct KvConfig {
  KvConfig() = default;
  KvConfig(KvScheme both) : keys(both), values(both) {}
  KvConfig(KvScheme k, KvScheme v) : keys(k), values(v) {}

  KvScheme keys = KvScheme::f16;
  KvScheme values = KvScheme::f16;
  std::size_t sinks = 4;
  std::size_t recent = 128;
  std::size_t quantized_start = 0;
  std::vector<std::size_t> full_layers;  ///< attention layers, counted from 0, that stay f16
  /// Rotations that the model's weights contain already (model/fold.h): a type of the same kind
  /// does not rotate again. A property of the model, which sets them.
  quant::RotationKind rotated_keys = quant::RotationKind::identity;
  quant::RotationKind rotated_values = quant::RotationKind::identity;

  bool operator==(const KvConfig&) const = default;
};

}  // namespace tern::state
