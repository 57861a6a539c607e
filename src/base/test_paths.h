// Where the tests find the project's files and programs.
#pragma once

#include <string>

namespace tern {

/// The root of the source tree, absolute. Compiled into one file of each build, so that what else
/// the compiler makes is the same for every checkout.
std::string source_dir();

/// The folder of the build, absolute.
std::string binary_dir();

}  // namespace tern
