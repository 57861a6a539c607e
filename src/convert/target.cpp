#include "convert/target.h"

#include <algorithm>
#include <array>
#include <cctype>

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
