#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tern {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "tern: internal error: %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace tern
