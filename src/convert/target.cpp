#include "convert/target.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "convert/gguf_target.h"
#include "convert/mmproj_target.h"
#include "convert/safetensors_target.h"

namespace tern::convert {
namespace {

constexpr std::array kTargets = {
    Target{"mlx-2bit", "MLX, affine, 2 bits", plan_mlx},
    Target{"mlx-3bit", "MLX, affine, 3 bits", plan_mlx},
    Target{"mlx-4bit", "MLX, affine, 4 bits", plan_mlx},
    Target{"mlx-5bit", "MLX, affine, 5 bits", plan_mlx},
    Target{"mlx-6bit", "MLX, affine, 6 bits", plan_mlx},
    Target{"mlx-8bit", "MLX, affine, 8 bits", plan_mlx},
    Target{"mlx-mxfp4", "MLX, 4-bit floats, groups of 32", plan_mlx},
    Target{"mlx-mxfp8", "MLX, 8-bit floats, groups of 32", plan_mlx},
    Target{"mlx-nvfp4", "MLX, 4-bit floats, groups of 16", plan_mlx},
    Target{"gguf-q2_k", "GGUF, the mix Q2_K", plan_gguf},
    Target{"gguf-q3_k_s", "GGUF, the mix Q3_K_S", plan_gguf},
    Target{"gguf-q3_k_m", "GGUF, the mix Q3_K_M", plan_gguf},
    Target{"gguf-q3_k_l", "GGUF, the mix Q3_K_L", plan_gguf},
    Target{"gguf-iq4_xs", "GGUF, the mix IQ4_XS", plan_gguf},
    Target{"gguf-iq4_nl", "GGUF, the mix IQ4_NL", plan_gguf},
    Target{"gguf-mxfp4_moe", "GGUF, experts in MXFP4", plan_gguf},
    Target{"gguf-q4_0", "GGUF, the mix Q4_0", plan_gguf},
    Target{"gguf-q4_1", "GGUF, the mix Q4_1", plan_gguf},
    Target{"gguf-q4_k_s", "GGUF, the mix Q4_K_S", plan_gguf},
    Target{"gguf-q4_k_m", "GGUF, the mix Q4_K_M", plan_gguf},
    Target{"gguf-q5_0", "GGUF, the mix Q5_0", plan_gguf},
    Target{"gguf-q5_1", "GGUF, the mix Q5_1", plan_gguf},
    Target{"gguf-q5_k_s", "GGUF, the mix Q5_K_S", plan_gguf},
    Target{"gguf-q5_k_m", "GGUF, the mix Q5_K_M", plan_gguf},
    Target{"gguf-q6_k", "GGUF, the mix Q6_K", plan_gguf},
    Target{"gguf-q8_0", "GGUF, Q8_0", plan_gguf},
    Target{"gguf-bf16", "GGUF, BF16", plan_gguf},
    Target{"gguf-f16", "GGUF, F16", plan_gguf},
    Target{"gguf-f32", "GGUF, F32", plan_gguf},
    Target{"mmproj-f16", "GGUF, the encoders of images and sound alone, F16", plan_mmproj},
    Target{"bf16", "Hugging Face, BF16", plan_plain},
    Target{"f16", "Hugging Face, F16", plan_plain},
    Target{"turboquant-2", "TurboQuant weights, 2 bits", plan_turbo},
    Target{"turboquant-3", "TurboQuant weights, 3 bits", plan_turbo},
    Target{"turboquant-4", "TurboQuant weights, 4 bits", plan_turbo},
    Target{"turboquant-5", "TurboQuant weights, 5 bits", plan_turbo},
};

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

}  // namespace

std::span<const Target> targets() {
  return kTargets;
}

const Target* find_target(std::string_view name) {
  for (const Target& target : kTargets)
    if (same_name(target.name, name)) return &target;
  return nullptr;
}

}  // namespace tern::convert
