#include "cli/cli.h"

#include <cstdio>

namespace tern::cli {

int run(int argc, char** argv) {
  std::printf("%s %d\n", argv[0], argc);
  return 0;
}

}  // namespace tern::cli
