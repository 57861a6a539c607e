// The decoders of every vector instruction set that this build has.
#pragma once
#include <cstring>
#include <span>

#include "base/check.h"
#include "quant/gguf_blocks.h"
#include "quant/lanes_avx2.h"
#include "quant/lanes_avx512.h"
#include "quant/lanes_neon.h"
#include "quant/matrix.h"
#include "quant/mlx_modes.h"

#if defined(__x86_64__)
namespace tern::quant::avx2 {
#define TERN_TARGET TERN_AVX2
#include "quant/fast_decoders.inc.h"
#undef TERN_TARGET
}  // namespace tern::quant::avx2

namespace tern::quant::avx512 {
#define TERN_TARGET TERN_AVX512
#include "quant/fast_decoders.inc.h"
#undef TERN_TARGET
}  // namespace tern::quant::avx512

#elif defined(__aarch64__)
namespace tern::quant::neon {
#define TERN_TARGET TERN_NEON
#include "quant/fast_decoders.inc.h"
#undef TERN_TARGET
}  // namespace tern::quant::neon
#endif
