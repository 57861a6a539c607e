// Products of bytes on NEON with the dot product extension, besides fixed_words_neon.h.
#pragma once
#if defined(__aarch64__)

#include "kernels/fixed_words_neon.h"

// The version is that of arm_neon.h's own functions: g++ inlines nothing of a later one.
#define TERN_FIXED_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#define TERN_FIXED_I8MM __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#define TERN_WORD TERN_FIXED_DOTPROD __attribute__((always_inline)) inline

namespace tern::kernels::fixed_dotprod {
using namespace fixed_neon;

/// sum += a b, four bytes of each 32 bits. Without `each_int`, whose target has no dot products.
TERN_WORD Ints dot_signed(Ints sum, Ints a, Ints b) {
  for (int i = 0; i < 4; ++i) {
    const int8x16_t x = vreinterpretq_s8_u32(a.v[i]), y = vreinterpretq_s8_u32(b.v[i]);
    sum.v[i] = vreinterpretq_u32_s32(vdotq_s32(vreinterpretq_s32_u32(sum.v[i]), x, y));
  }
  return sum;
}
TERN_WORD Ints dot_unsigned(Ints sum, Ints a, Ints b) {
  for (int i = 0; i < 4; ++i) sum.v[i] = vdotq_u32(sum.v[i], as_bytes(a.v[i]), as_bytes(b.v[i]));
  return sum;
}

}  // namespace tern::kernels::fixed_dotprod
#undef TERN_WORD
#endif
