// Which instruction set the kernels use: the best that the CPU has, or the one that is forced.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace tern {

/// In rising order on one architecture. `scalar` is plain C++, the meaning of every kernel.
enum class Isa : std::uint8_t { scalar, neon, avx2, avx512, amx };

std::string_view name(Isa isa);

/// Whether this CPU (and this build) can run kernels of `isa`.
bool supported(Isa isa);

/// Extensions of `neon` that some of its kernels use where the CPU has them.
enum class NeonExtension : std::uint8_t {
  dotprod,  ///< SDOT and UDOT: dot products of four bytes
  i8mm,     ///< SMMLA: products of 8-bit matrices
};

/// Whether this CPU has `extension`.
bool supported(NeonExtension extension);

/// The best supported one.
Isa best_isa();

/// Chooses the instruction set for this process: `requested`, or when it is empty the environment
/// variable TERN_ISA, or else the best. Call once, before the first kernel runs.
/// @error usage  an unknown name. @error unsupported  this CPU lacks it.
Result<Isa> select_isa(std::string_view requested = {});

/// The chosen one; the best (or TERN_ISA, if valid) when select_isa was never called.
Isa active_isa();

/// Whether somebody asked for it. If not, a form that proves slower here may be passed over.
bool isa_is_forced();

}  // namespace tern
