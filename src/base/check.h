// TERN_CHECK: an invariant of our own code. Input from outside must never be able to break one.
#pragma once

namespace tern {

/// Prints the condition with its place to stderr and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace tern

#define TERN_CHECK(condition) \
  ((condition) ? void(0) : ::tern::check_failed(#condition, __FILE__, __LINE__))
