// How much memory the machine has.
#pragma once
#include <cstdint>

namespace tern {

/// Bytes; the largest number when the system does not say.
std::uint64_t physical_memory();

}  // namespace tern
