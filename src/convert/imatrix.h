// Importance matrices in the GGUF form of llama.cpp: sums of squared inputs and how many inputs
// they are of, for each matrix, and for each expert of a stack.
#pragma once
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/mapped_file.h"
#include "convert/importance.h"

namespace tern::convert {

/// Mean squares: sum / count of each column. An expert without inputs gets the mean of the others;
/// a matrix without any has no entry.
/// @error not_found, io  as MappedFile::open
/// @error corrupt  no GGUF file; sums that are negative or not finite; sums without counts
/// @error unsupported  a GGUF file of something else, or llama.cpp's older form (".dat")
/// @source llama.cpp, tools/imatrix: general.type "imatrix", `<name>.in_sum2` [matrices, inputs]
/// and `<name>.counts` [matrices, 1], both f32
Result<Importance> read_imatrix(const std::filesystem::path& path);
/// The same of a file's bytes. @param where  names them in errors
Result<Importance> parse_imatrix(Bytes file, const std::string& where);

}  // namespace tern::convert
