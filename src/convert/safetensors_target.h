// Targets that are folders of safetensors: MLX's formats, TurboQuant weights, plain BF16 and F16.
#pragma once
#include <span>

#include "convert/target.h"

namespace tern::convert {

/// mlx-2bit ... mlx-8bit, mlx-mxfp4, mlx-mxfp8, mlx-nvfp4: names and shapes of mlx-lm. Embeddings,
/// lm_head and linear layers are quantized; routers, norms, convolutions and vectors are not.
Result<Plan> plan_mlx(const Source& source, const Target& target, const PlanOptions& options);

/// turboquant-2 ... turboquant-5: names of Hugging Face; what is not coded keeps its bytes.
Result<Plan> plan_turbo(const Source& source, const Target& target, const PlanOptions& options);

/// bf16, f16: names and shapes of Hugging Face.
Result<Plan> plan_plain(const Source& source, const Target& target, const PlanOptions& options);

}  // namespace tern::convert
