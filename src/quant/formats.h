// From the format that a matrix has at run time to a type that the compiler knows.
#pragma once
#include <type_traits>

#include "base/check.h"
#include "quant/gguf_blocks.h"
#include "quant/matrix.h"
#include "quant/mlx_modes.h"

namespace tern::quant {

template <std::size_t bits, class Visitor>
auto visit_affine(const Matrix& matrix, Visitor visitor) {
  switch (matrix.scale_type) {
    case DType::f32:
      return visitor(std::type_identity<MlxAffine<bits, ScaleF32>>());
    case DType::f16:
      return visitor(std::type_identity<MlxAffine<bits, ScaleF16>>());
    default:
      return visitor(std::type_identity<MlxAffine<bits, ScaleBf16>>());
  }
}

template <class Visitor>
auto visit_affine(const Matrix& matrix, Visitor visitor) {
  switch (matrix.bits) {
    case 2:
      return visit_affine<2>(matrix, visitor);
    case 3:
      return visit_affine<3>(matrix, visitor);
    case 4:
      return visit_affine<4>(matrix, visitor);
    case 5:
      return visit_affine<5>(matrix, visitor);
    case 6:
      return visit_affine<6>(matrix, visitor);
    default:
      TERN_CHECK(matrix.bits == 8);
      return visit_affine<8>(matrix, visitor);
  }
}

template <class Visitor>
auto visit_turboquant(const Matrix& matrix, Visitor visitor) {
  switch (matrix.bits) {
    case 2:
      return visitor(std::type_identity<TurboWeights<2>>());
    case 3:
      return visitor(std::type_identity<TurboWeights<3>>());
    case 4:
      return visitor(std::type_identity<TurboWeights<4>>());
    default:
      TERN_CHECK(matrix.bits == 5);
      return visitor(std::type_identity<TurboWeights<5>>());
  }
}

/// `visitor(std::type_identity<F>())`, where F is the struct of gguf_blocks.h or mlx_modes.h that
/// says what the codes of `matrix` mean.
template <class Visitor>
auto visit_format(const Matrix& matrix, Visitor visitor) {
  switch (matrix.scheme) {
    case Scheme::f32:
      return visitor(std::type_identity<F32>());
    case Scheme::f16:
      return visitor(std::type_identity<F16>());
    case Scheme::bf16:
      return visitor(std::type_identity<Bf16>());
    case Scheme::q4_0:
      return visitor(std::type_identity<Q4_0>());
    case Scheme::q4_1:
      return visitor(std::type_identity<Q4_1>());
    case Scheme::q5_0:
      return visitor(std::type_identity<Q5_0>());
    case Scheme::q5_1:
      return visitor(std::type_identity<Q5_1>());
    case Scheme::q8_0:
      return visitor(std::type_identity<Q8_0>());
    case Scheme::q2_k:
      return visitor(std::type_identity<Q2K>());
    case Scheme::q3_k:
      return visitor(std::type_identity<Q3K>());
    case Scheme::q4_k:
      return visitor(std::type_identity<Q4K>());
    case Scheme::q5_k:
      return visitor(std::type_identity<Q5K>());
    case Scheme::q6_k:
      return visitor(std::type_identity<Q6K>());
    case Scheme::iq4_nl:
      return visitor(std::type_identity<Iq4Nl>());
    case Scheme::iq4_xs:
      return visitor(std::type_identity<Iq4Xs>());
    case Scheme::mxfp4:
      return visitor(std::type_identity<Mxfp4>());
    case Scheme::mlx_mxfp4:
      return visitor(std::type_identity<MlxMxfp4>());
    case Scheme::mlx_mxfp8:
      return visitor(std::type_identity<MlxMxfp8>());
    case Scheme::mlx_nvfp4:
      return visitor(std::type_identity<MlxNvfp4>());
    case Scheme::turboquant:
      return visit_turboquant(matrix, visitor);
    case Scheme::mlx_affine:
      break;
  }
  TERN_CHECK(matrix.scheme == Scheme::mlx_affine);
  return visit_affine(matrix, visitor);
}

}  // namespace tern::quant
