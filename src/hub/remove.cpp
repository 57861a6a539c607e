#include "hub/remove.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "base/printable.h"
#include "hub/file_lock.h"

namespace tern::hub {
namespace {

namespace fs = std::filesystem;

/// Names of the blobs that a snapshot links to.
std::set<std::string> links_of(const RepoCache& cache, std::string_view commit) {
  std::set<std::string> blobs;
  std::error_code ec, ignored;
  for (fs::recursive_directory_iterator entry(cache.snapshot(commit), ec), end; !ec && entry != end;
       entry.increment(ec))
    if (entry->is_symlink(ignored))
      blobs.insert(fs::read_symlink(entry->path(), ignored).filename().string());
  return blobs;
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code ec;
  for (fs::directory_iterator entry(folder, ec), end; !ec && entry != end; entry.increment(ec))
    paths.push_back(entry->path());
  std::ranges::sort(paths);
  return paths;
}

/// Every lock that a download of this repository could hold.
Result<std::vector<FileLock>> lock_all(const RepoCache& cache) {
  std::vector<FileLock> locks;
  for (const fs::path& path : entries(cache.locks())) {
    if (path.extension() != ".lock") continue;
    TERN_TRY(auto lock, FileLock::try_acquire(path));
    if (!lock)
      return fail(ErrorCode::busy, "another process is downloading it", cache.repository(),
                  "wait for it, or stop it");
    locks.push_back(std::move(*lock));
  }
  return locks;
}

Result<void> remove_path(const fs::path& path) {
  std::error_code ec;
  fs::remove_all(path, ec);
  if (ec) return fail(ErrorCode::io, "cannot remove: " + ec.message(), path.string());
  return {};
}

}  // namespace

Result<Removal> plan_removal(const RepoCache& cache, std::string_view revision) {
  std::error_code ec;
  if (!fs::is_directory(cache.folder(), ec))
    return fail(ErrorCode::not_found, "not in the cache", cache.repository(),
                "\"tern list\" shows what is");
  const auto all = cache.commits();
  Removal removal{all, {}, 0, revision.empty()};
  if (!revision.empty()) {
    TERN_TRY(const auto commit, cache.commit_of(revision));
    if (!commit || std::ranges::find(all, *commit) == all.end())
      return fail(ErrorCode::not_found, "the cache has no revision " + printable(revision),
                  cache.repository());
    removal.commits = {*commit};
    removal.everything = all.size() == 1;
  }
  std::set<std::string> kept;
  for (const std::string& commit : all)
    if (std::ranges::find(removal.commits, commit) == removal.commits.end())
      kept.merge(links_of(cache, commit));
  for (const fs::path& blob : entries(cache.folder() / "blobs")) {
    const bool unfinished = blob.extension() == ".incomplete";
    if (kept.contains(blob.filename().string()) || (unfinished && !removal.everything)) continue;
    removal.blobs.push_back(blob);
    const auto size = fs::file_size(blob, ec);
    if (!ec) removal.bytes += size;
  }
  return removal;
}

Result<void> remove(const RepoCache& cache, const Removal& removal) {
  TERN_TRY(const auto locks, lock_all(cache));
  if (removal.everything) {
    TERN_TRY_VOID(remove_path(cache.folder()));
    return remove_path(cache.locks());
  }
  // Names first: whoever looks meanwhile sees a model that is not there, never one without bytes.
  for (const std::string& commit : removal.commits) {
    for (const std::string& revision : cache.revisions_of(commit))
      TERN_TRY_VOID(remove_path(cache.ref(revision)));
    TERN_TRY_VOID(remove_path(cache.snapshot(commit)));
    TERN_TRY_VOID(remove_path(cache.no_exist(commit, "")));
  }
  for (const fs::path& blob : removal.blobs) TERN_TRY_VOID(remove_path(blob));
  return {};
}

}  // namespace tern::hub
