#include "convert/release_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace tern::convert {

void release_pages(Bytes bytes) {
#ifdef MADV_PAGEOUT
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t begin = (start + page - 1) / page * page;
  const std::uintptr_t end = (start + bytes.size()) / page * page;
  // A kernel that does not know it, or a file of somebody else, keeps the pages: no harm.
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_PAGEOUT);
#else
  static_cast<void>(bytes);
#endif
}

}  // namespace tern::convert
