// Downloads: what has to be fetched for a model, and fetching it.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hub/cache.h"
#include "hub/environment.h"
#include "hub/repository.h"

namespace tern::hub {

/// What a download will do.
struct PullPlan {
  std::string repository, revision;
  std::string commit;
  ModelName name;
  std::vector<RemoteFile> files;    ///< all that the model needs, sorted by path
  std::vector<std::string> absent;  ///< files that programs ask for and that the hub has not
  std::uint64_t bytes = 0;          ///< of these files
  std::uint64_t to_fetch = 0;       ///< of them that the cache does not hold
};

/// Asks the hub which files the model needs. Nothing is written.
/// @error unreachable, offline, denied, not_found, corrupt  see ask_for_repository
/// @error not_found, usage  see choose_files
Result<PullPlan> plan_pull(const Environment& environment, const ModelName& name,
                           std::string_view revision = kMainRevision);

struct PullProgress {
  std::uint64_t done = 0, total = 0;  ///< bytes of all files
  std::size_t files_done = 0, files = 0;
  struct File {
    std::string_view path;
    std::uint64_t done = 0, size = 0;  ///< bytes
  };
  std::vector<File> running;  ///< files that are on their way
  bool waiting = false;       ///< nothing moves: another process downloads what is missing
};
/// Called several times a second, on the thread that waits. @return false to stop
using OnPull = std::function<bool(const PullProgress&)>;

inline constexpr std::size_t kParallelFiles = 4;

/// Downloads what is missing, up to kParallelFiles at once, checks every file, and makes the
/// snapshot; the revision's ref is written last. However it ends, what has arrived is kept and the
/// next call goes on from there. Two calls at once, also of another program that keeps to the
/// locks, download each file once.
/// @error io  not enough room (both figures are said) or a file that cannot be written
/// @error cancelled  `on_progress` said so
/// @error corrupt, unreachable, denied, not_found  see Transfer
Result<CachedModel> pull(const Environment& environment, const PullPlan& plan,
                         const OnPull& on_progress = {});

}  // namespace tern::hub
