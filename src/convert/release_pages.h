// Lets go of memory that a pass over a large model has read.
#pragma once
#include "base/mapped_file.h"

namespace tern::convert {

/// Says that `bytes` are not read again soon. Whole pages of a mapped file leave the memory and
/// come back when they are touched; whatever the memory is, nothing is lost.
void release_pages(Bytes bytes);

}  // namespace tern::convert
