#include "base/cpu.h"

#include <array>
#include <atomic>
#include <cstdlib>

namespace tern {
namespace {

constexpr std::array kAll = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx};

std::atomic<int> chosen{-1};

}  // namespace

std::string_view name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::neon:
      return "neon";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::amx:
      return "amx";
  }
  return "scalar";
}

bool supported(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return true;
#if defined(__x86_64__)
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
             __builtin_cpu_supports("f16c") != 0;
    case Isa::avx512:
      return supported(Isa::avx2) && __builtin_cpu_supports("avx512f") != 0 &&
             __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
             __builtin_cpu_supports("avx512dq") != 0;
#elif defined(__aarch64__)
    case Isa::neon:
      return true;
#endif
    default:
      return false;  // no kernels of that kind are built yet, or another architecture
  }
}

Isa best_isa() {
  Isa best = Isa::scalar;
  for (const Isa isa : kAll)
    if (supported(isa)) best = isa;
  return best;
}

Result<Isa> select_isa(std::string_view requested) {
  std::string_view where = "--isa";
  if (requested.empty()) {
    const char* variable = std::getenv("TERN_ISA");
    if (variable != nullptr) requested = variable;
    where = "TERN_ISA";
  }
  Isa isa = best_isa();
  if (!requested.empty()) {
    const Isa* known = nullptr;
    for (const Isa& candidate : kAll)
      if (name(candidate) == requested) known = &candidate;
    if (known == nullptr)
      return fail(ErrorCode::usage, "unknown instruction set \"" + std::string(requested) + "\"",
                  std::string(where), "known: scalar, avx2, avx512, amx, neon");
    if (!supported(*known))
      return fail(ErrorCode::unsupported,
                  "this CPU or this build has no " + std::string(requested) + " kernels",
                  std::string(where), "the best here is " + std::string(name(best_isa())));
    isa = *known;
  }
  chosen.store(static_cast<int>(isa), std::memory_order_relaxed);
  return isa;
}

Isa active_isa() {
  const int isa = chosen.load(std::memory_order_relaxed);
  if (isa >= 0) return static_cast<Isa>(isa);
  return select_isa().value_or(best_isa());
}

}  // namespace tern
