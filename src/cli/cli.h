// The program's entry, apart from main so that tests can call it.
#pragma once

namespace tern::cli {

/// Runs the command line; returns the exit status. Catches std::bad_alloc.
int run(int argc, char** argv);

}  // namespace tern::cli
