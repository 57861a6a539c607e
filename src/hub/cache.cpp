#include "hub/cache.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <system_error>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/printable.h"

namespace tern::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "models--";
constexpr std::size_t kMaxRef = 4096, kMaxEtag = 128, kMaxIndex = 64u << 20;

std::unexpected<Error> io_error(const fs::path& path, std::string_view action,
                                const std::error_code& code) {
  return fail(ErrorCode::io, std::string(action) + ": " + code.message(), path.string());
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator entry(folder, ec), end; !ec && entry != end; entry.increment(ec))
    names.push_back(entry->path().filename().string());
  std::ranges::sort(names);
  return names;
}

/// Files under `folder` that can be read, links followed, as paths inside it.
std::vector<std::string> files_under(const fs::path& folder) {
  std::vector<std::string> files;
  std::error_code ec;
  for (fs::recursive_directory_iterator entry(folder, ec), end; !ec && entry != end;
       entry.increment(ec)) {
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;
    auto path = entry->path().lexically_relative(folder).generic_string();
    if (is_safe_path(path)) files.push_back(std::move(path));
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

bool is_commit(std::string_view text) {
  return text.size() == 40 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_etag(std::string_view text) {
  return !text.empty() && text.size() <= kMaxEtag && text.front() != '.' &&
         std::ranges::all_of(text, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
         });
}

RepoCache::RepoCache(fs::path root, std::string_view repository)
    : root_(std::move(root)), repository_(repository), id_(kPrefix) {
  for (const char c : repository) id_ += c == '/' ? std::string("--") : std::string(1, c);
  folder_ = root_ / id_;
}

fs::path RepoCache::blob(std::string_view etag) const {
  return folder_ / "blobs" / etag;
}

fs::path RepoCache::incomplete(std::string_view etag) const {
  return folder_ / "blobs" / (std::string(etag) + ".incomplete");
}

fs::path RepoCache::ref(std::string_view revision) const {
  return folder_ / "refs" / revision;
}

fs::path RepoCache::snapshot(std::string_view commit) const {
  return folder_ / "snapshots" / commit;
}

fs::path RepoCache::no_exist(std::string_view commit, std::string_view path) const {
  return folder_ / ".no_exist" / commit / path;
}

fs::path RepoCache::locks() const {
  return root_ / ".locks" / id_;
}

fs::path RepoCache::lock(std::string_view etag) const {
  return locks() / (std::string(etag) + ".lock");
}

Result<std::optional<std::string>> RepoCache::commit_of(std::string_view revision) const {
  if (is_commit(revision)) return std::string(revision);
  if (!is_safe_path(revision))
    return fail(ErrorCode::usage, printable(revision) + " is no branch, tag or commit",
                "--revision");
  const auto text = read_text_file(ref(revision), kMaxRef);
  if (!text && text.error().code == ErrorCode::not_found) return std::nullopt;
  if (!text) return std::unexpected(text.error());
  auto commit = trimmed(*text);
  if (is_commit(commit)) return commit;
  return fail(ErrorCode::corrupt, printable(commit) + " is no commit", ref(revision).string(),
              "delete the file; the next download writes it anew");
}

std::vector<std::string> RepoCache::commits() const {
  auto names = names_in(folder_ / "snapshots");
  std::erase_if(names, [](const std::string& name) { return !is_commit(name); });
  return names;
}

std::vector<std::string> RepoCache::revisions_of(std::string_view commit) const {
  auto revisions = files_under(folder_ / "refs");
  std::erase_if(revisions, [&](const std::string& revision) {
    const auto found = commit_of(revision);
    return !found || *found != commit;
  });
  return revisions;
}

std::vector<std::string> RepoCache::files(std::string_view commit) const {
  return files_under(snapshot(commit));
}

Result<void> RepoCache::write_ref(std::string_view revision, std::string_view commit) const {
  if (revision == commit) return {};
  if (const auto known = commit_of(revision); known && *known == commit) return {};
  std::error_code ec;
  fs::create_directories(ref(revision).parent_path(), ec);
  if (ec) return io_error(ref(revision).parent_path(), "cannot make the folder", ec);
  auto file = AtomicFile::create(ref(revision));
  // Somebody else is writing it, with as good a right.
  if (!file && file.error().code == ErrorCode::busy) return {};
  if (!file) return std::unexpected(std::move(file).error());
  TERN_TRY_VOID(file->write(commit));
  return file->commit();
}

Result<void> RepoCache::link(std::string_view commit, std::string_view path,
                             std::string_view etag) const {
  const fs::path target = snapshot(commit) / path;
  std::error_code ec;
  fs::create_directories(target.parent_path(), ec);
  if (ec) return io_error(target.parent_path(), "cannot make the folder", ec);
  const fs::path source = blob(etag).lexically_relative(target.parent_path());
  if (fs::read_symlink(target, ec) == source) return {};
  // Under another name first, so that nobody ever sees the file missing.
  fs::path fresh = target;
  fresh += "." + std::to_string(::getpid()) + ".tmp";
  fs::remove(fresh, ec);
  fs::create_symlink(source, fresh, ec);
  if (ec) fs::copy_file(blob(etag), fresh, ec);  // a file system without links
  if (!ec) fs::rename(fresh, target, ec);
  if (ec) return io_error(target, "cannot put the file into the snapshot", ec);
  return {};
}

Result<CachedModel> model_of(const RepoCache& cache, std::string_view commit,
                             const ModelName& name) {
  CachedModel model{cache.repository(), std::string(commit), cache.snapshot(commit), {}, {}, 0};
  const auto read_index = [&] {
    return read_text_file(model.snapshot / "model.safetensors.index.json", kMaxIndex);
  };
  TERN_TRY(model.files, choose_files(cache.files(commit), name, read_index));
  for (const std::string& file : model.files.files) {
    std::error_code ignored;
    model.bytes += fs::file_size(model.snapshot / file, ignored);
  }
  model.path = model.files.gguf.empty() ? model.snapshot : model.snapshot / model.files.gguf;
  return model;
}

Result<CachedModel> find_cached(const fs::path& root, const ModelName& name,
                                std::string_view revision) {
  Error reason{ErrorCode::not_found, "not in the cache", name.repository};
  for (const std::string& repository : {name.repository, name.weights}) {
    const RepoCache cache(root, repository);
    TERN_TRY(const auto commit, cache.commit_of(revision));
    if (!commit || cache.files(*commit).empty()) continue;
    auto model = model_of(cache, *commit, name);
    if (model) return model;
    if (model.error().code != ErrorCode::not_found) return model;
    reason = std::move(model).error();
    reason.where = cache.snapshot(*commit).string();
  }
  return std::unexpected(std::move(reason));
}

std::vector<std::string> cached_repositories(const fs::path& root) {
  std::vector<std::string> repositories;
  for (const std::string& name : names_in(root)) {
    if (!name.starts_with(kPrefix)) continue;
    std::string repository = name.substr(kPrefix.size());
    if (const auto dashes = repository.find("--"); dashes != std::string::npos)
      repository.replace(dashes, 2, "/");
    if (is_repository(repository)) repositories.push_back(std::move(repository));
  }
  return repositories;
}

}  // namespace tern::hub
