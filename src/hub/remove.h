// Removing models from the cache.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hub/cache.h"

namespace tern::hub {

/// What would go.
struct Removal {
  std::vector<std::string> commits;          ///< whose snapshots go
  std::vector<std::filesystem::path> blobs;  ///< that no other snapshot links to
  std::uint64_t bytes = 0;                   ///< of these blobs
  bool everything = false;                   ///< no snapshot is left: the whole folder goes
};

/// @param revision  branch, tag or commit; "": all of them, and what was left of downloads
/// @error not_found  the repository, or that revision, is not in the cache
/// @error usage  no revision at all
Result<Removal> plan_removal(const RepoCache& cache, std::string_view revision);

/// Does it, holding the locks of all blobs that go.
/// @error busy  another process downloads one of them; nothing was removed
/// @error io    something cannot be removed
Result<void> remove(const RepoCache& cache, const Removal& removal);

}  // namespace tern::hub
