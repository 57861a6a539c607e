// Recognises what people open by mistake instead of a model.
#pragma once
#include <string>

#include "base/mapped_file.h"

namespace tern::formats {

/// What `file` looks like, as a hint for an error: a Git LFS pointer, a web page, an archive, the
/// other container. Empty when nothing is recognised. Reads at most the first 64 bytes.
std::string wrong_file_hint(Bytes file);

}  // namespace tern::formats
