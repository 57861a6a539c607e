// Products of fixed.h on the matrix units of AMX.
//
// A tile instruction multiplies bytes, so activations of 16 bits are taken as q = 256 high + low,
// and a block takes two products: sum(code high) and sum(code low). Both are exact, so is their
// sum, and scales come in as everywhere: the bits are those of AVX-512 and AVX2.
#pragma once
#include "kernels/fixed.h"

namespace tern::kernels::fixed_amx {

/// For weights with FixedBytes. Needs Isa::amx.
extern const FixedTiles kTiles;

/// Whether to take them: if Isa::amx is forced, or if they give the bits of AVX-512 on this CPU
/// and are faster. That is tried once, in a few milliseconds.
bool chosen();

}  // namespace tern::kernels::fixed_amx
