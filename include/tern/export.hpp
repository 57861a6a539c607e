// Marks what a shared library of this engine offers; everything else stays inside.
#pragma once

#if defined(__GNUC__) || defined(__clang__)
#define TERN_EXPORT __attribute__((visibility("default")))
#else
#define TERN_EXPORT
#endif
