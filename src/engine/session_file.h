// A conversation in a file: its tokens and the state that they left.
//
//   "TERNSESS"  u32 version  u32 header bytes  header (JSON)
//   u32 tokens  the state as state/stored.h has it
//   XXH3-128 of everything before
//
// Numbers are little-endian. The header names the model by a fingerprint of its tensors (names,
// types, shapes and samples of their bytes), the cache's types and windows, and carries a text of
// the caller's.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/context.h"
#include "engine/engine.h"

namespace tern::engine {

inline constexpr std::uint32_t kSessionFileVersion = 1;

/// A digest of what decides the model's numbers.
std::string fingerprint(const Engine& engine);

/// Writes atomically: `path` holds what it held before, or everything.
/// @param metadata  the caller's own, at most 1 MB of UTF-8
/// @error io, busy  as AtomicFile; usage  a longer text, or one that is not UTF-8; no_memory
Result<void> save_session(const Engine& engine, const Context& context, std::string_view metadata,
                          const std::filesystem::path& path);

/// Errors as those of load_session for the file alone.
Result<SavedSession> inspect_session(const std::filesystem::path& path);

struct StoredSession {
  Context context;
  std::string metadata;
};

/// @error not_found, io  as MappedFile
/// @error corrupt        not such a file, a newer version, or bytes that are damaged
/// @error mismatch       of another model; names both
/// @error too_large      more tokens than this engine's context. no_memory
Result<StoredSession> load_session(Engine& engine, const std::filesystem::path& path);

/// The same of a file's bytes. @param where  names them in errors
Result<StoredSession> parse_session(Engine& engine, Bytes file, const std::string& where);
Result<SavedSession> parse_session_header(Bytes file, const std::string& where);

}  // namespace tern::engine
