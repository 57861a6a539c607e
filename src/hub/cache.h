// The model cache on disk, in the layout that huggingface_hub shares between all programs:
//
//   ROOT/models--OWNER--NAME/blobs/ETAG                 the bytes, each once
//                            blobs/ETAG.incomplete      a download that can go on
//                            refs/REVISION              a text: the commit that it is
//                            snapshots/COMMIT/PATH      links to ../../blobs/ETAG
//                            .no_exist/COMMIT/PATH      empty: the hub has no such file
//   ROOT/.locks/models--OWNER--NAME/ETAG.lock           held while ETAG is written
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hub/family.h"
#include "hub/model_files.h"

namespace tern::hub {

inline constexpr std::string_view kMainRevision = "main";

/// Whether `text` is 40 hexadecimal digits.
bool is_commit(std::string_view text);
/// Whether `text` may name a blob: letters, digits, '-', '_' and '.', at most 128.
bool is_etag(std::string_view text);

/// One repository in a cache. Only names things; nothing need exist.
class RepoCache {
 public:
  /// @param repository  is_repository
  RepoCache(std::filesystem::path root, std::string_view repository);

  const std::string& repository() const { return repository_; }
  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path blob(std::string_view etag) const;
  std::filesystem::path incomplete(std::string_view etag) const;
  std::filesystem::path ref(std::string_view revision) const;
  std::filesystem::path snapshot(std::string_view commit) const;
  std::filesystem::path no_exist(std::string_view commit, std::string_view path) const;
  std::filesystem::path locks() const;
  std::filesystem::path lock(std::string_view etag) const;

  /// The commit of a branch, a tag or a commit, as the cache remembers it.
  /// @error usage  a revision that is no safe path. @error corrupt  a ref that holds no commit
  Result<std::optional<std::string>> commit_of(std::string_view revision) const;
  /// Commits that have a snapshot, sorted.
  std::vector<std::string> commits() const;
  /// Branches and tags whose ref is `commit`, sorted.
  std::vector<std::string> revisions_of(std::string_view commit) const;
  /// Files of a snapshot whose bytes are there, sorted: paths inside the repository.
  std::vector<std::string> files(std::string_view commit) const;

  /// Remembers that `revision` is `commit`. @error io
  Result<void> write_ref(std::string_view revision, std::string_view commit) const;
  /// Puts a link to a blob into a snapshot (a copy where links cannot be made), replacing what was
  /// there under that name. @param path  is_safe_path. @error io
  Result<void> link(std::string_view commit, std::string_view path, std::string_view etag) const;

 private:
  std::filesystem::path root_;
  std::string repository_, id_;  // id_: models--OWNER--NAME
  std::filesystem::path folder_;
};

/// A model whose files are all there.
struct CachedModel {
  std::string repository, commit;
  std::filesystem::path snapshot;
  std::filesystem::path path;  ///< what to open: the snapshot, or a GGUF file in it
  ModelFiles files;
  std::uint64_t bytes = 0;  ///< of these files
};

/// Looks for a model without any network: first in the repository of that very name, then in the
/// one that holds its weights.
/// @param revision  branch, tag or commit
/// @error not_found  not in the cache, or incomplete (the message says what is missing)
/// @error usage, corrupt  as choose_files and RepoCache
Result<CachedModel> find_cached(const std::filesystem::path& root, const ModelName& name,
                                std::string_view revision = kMainRevision);

/// The model in one snapshot; errors as choose_files.
Result<CachedModel> model_of(const RepoCache& cache, std::string_view commit,
                             const ModelName& name);

/// Repositories of a cache: "OWNER/NAME", sorted.
std::vector<std::string> cached_repositories(const std::filesystem::path& root);

}  // namespace tern::hub
