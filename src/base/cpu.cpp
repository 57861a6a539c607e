#include "base/cpu.h"

#include <array>
#include <atomic>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace tern {
namespace {

constexpr std::array kAll = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx};

std::atomic<int> chosen{-1};
std::atomic<bool> forced{false};

#if defined(__x86_64__)
/// Tiles and their products of bytes, state that the kernel saves, and its leave to use them:
/// without asking, the first tile ends the process. The leave is the whole process's.
/// @source Intel SDM vol. 1, chapter 18; Linux, Documentation/arch/x86/xstate.rst
bool amx_permitted() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTileAndInt8 = 3u << 24, kOsxsave = 1u << 27, kTileState = 3u << 17;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTileAndInt8) != kTileAndInt8)
    return false;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsxsave) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

#if defined(__aarch64__) && defined(__APPLE__)
bool has(const char* feature) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

/// Of the instruction sets that can be chosen here.
std::string names_of_supported() {
  std::string names;
  for (const Isa isa : kAll)
    if (supported(isa)) names += (names.empty() ? "" : ", ") + std::string(name(isa));
  return names;
}

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
    case Isa::amx: {
      static const bool permitted = supported(Isa::avx512) &&
                                    __builtin_cpu_supports("avx512vnni") != 0 &&
                                    __builtin_cpu_supports("avx512vbmi") != 0 && amx_permitted();
      return permitted;
    }
#elif defined(__aarch64__)
    case Isa::neon:
      return true;
#endif
    default:
      return false;  // no kernels of that kind are built yet, or another architecture
  }
}

bool supported(NeonExtension extension) {
  const bool dotprod = extension == NeonExtension::dotprod;
#if defined(__aarch64__) && defined(__APPLE__)
  return has(dotprod ? "hw.optional.arm.FEAT_DotProd" : "hw.optional.arm.FEAT_I8MM");
#elif defined(__aarch64__) && defined(__linux__)
  return dotprod ? (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0
                 : (::getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#else
  static_cast<void>(dotprod);  // not known: kernels do without
  return false;
#endif
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
  forced.store(!requested.empty(), std::memory_order_relaxed);
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
                  std::string(where), "here: " + names_of_supported());
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

bool isa_is_forced() {
  return forced.load(std::memory_order_relaxed);
}

}  // namespace tern
