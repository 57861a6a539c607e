#include "hub/repository.h"

#include <charconv>
#include <set>
#include <utility>

#include "base/json.h"
#include "base/printable.h"
#include "hub/cache.h"
#include "hub/model_files.h"

namespace tern::hub {
namespace {

constexpr std::size_t kMaxAnswer = 32u << 20, kMaxFiles = 100'000;

std::unexpected<Error> broken(std::string what, std::string_view where) {
  return fail(ErrorCode::corrupt, std::move(what), std::string(where),
              "is HF_ENDPOINT the address of a hub?");
}

Result<RemoteFile> parse_file(const json::value& value, std::string_view where) {
  const auto* object = value.if_object();
  if (object == nullptr) return broken("a file that is no JSON object", where);
  TERN_TRY(const auto path, get_string(*object, "rfilename", where));
  if (!is_safe_path(path))
    return broken("the hub names a file " + printable(path) + ", which is no path inside a folder",
                  where);
  RemoteFile file{std::string(path), 0, ""};
  const auto* size = object->if_contains("size");
  const auto* blob = object->if_contains("blobId");
  const auto* lfs = object->if_contains("lfs");
  if (size == nullptr || size->is_null()) return file;
  TERN_TRY(file.size, get_uint(*object, "size", where));
  if (file.size > kMaxFileBytes)
    return fail(ErrorCode::too_large,
                printable(path) + " of " + std::to_string(file.size) + " bytes, at most " +
                    std::to_string(kMaxFileBytes) + " are read",
                std::string(where));
  if (lfs != nullptr && lfs->is_object()) {
    TERN_TRY(file.etag, get_string(lfs->get_object(), "sha256", where));
  } else if (blob != nullptr && blob->is_string()) {
    file.etag = blob->get_string();
  }
  if (!file.etag.empty() && !is_etag(file.etag))
    return broken(printable(path) + " has the digest " + printable(file.etag) + ", which is none",
                  where);
  return file;
}

std::optional<std::uint64_t> number(const Headers& headers, std::string_view name) {
  const auto found = headers.find(name);
  if (found == headers.end()) return std::nullopt;
  std::uint64_t value = 0;
  const char* const last = found->second.data() + found->second.size();
  const auto [end, error] = std::from_chars(found->second.data(), last, value);
  return error == std::errc() && end == last ? std::optional(value) : std::nullopt;
}

/// W/"abc" is abc.
std::string plain_etag(std::string_view text) {
  if (text.starts_with("W/")) text.remove_prefix(2);
  while (text.starts_with('"')) text.remove_prefix(1);
  while (text.ends_with('"')) text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

Result<RemoteRepository> parse_repository(std::string_view text, std::string_view name) {
  TERN_TRY(const auto value,
           parse_json(text, name, {.bytes = kMaxAnswer, .reject_duplicate_keys = false}));
  const auto* object = value.if_object();
  if (object == nullptr) return broken("the answer is no JSON object", name);
  TERN_TRY(const auto commit, get_string(*object, "sha", name));
  if (!is_commit(commit)) return broken(printable(commit) + " is no commit", name);
  RemoteRepository repository{std::string(name), std::string(commit), {}};
  const auto* files = object->if_contains("siblings");
  if (files == nullptr || !files->is_array()) return broken("no array \"siblings\"", name);
  if (files->get_array().size() > kMaxFiles)
    return fail(ErrorCode::too_large,
                std::to_string(files->get_array().size()) + " files, at most " +
                    std::to_string(kMaxFiles) + " are listed",
                std::string(name));
  std::set<std::string, std::less<>> seen;
  for (const json::value& item : files->get_array()) {
    TERN_TRY(auto file, parse_file(item, name));
    if (!seen.insert(file.path).second) return broken(printable(file.path) + " twice", name);
    repository.files.push_back(std::move(file));
  }
  return repository;
}

Result<RemoteRepository> ask_for_repository(Connection& connection, const Environment& environment,
                                            std::string_view name, std::string_view revision) {
  const std::string url = environment.endpoint + "/api/models/" + percent_encoded(name, true) +
                          "/revision/" + percent_encoded(revision, false) + "?blobs=true";
  auto answer = connection.get(url, kMaxAnswer);
  if (!answer) {
    if (answer.error().where == url)
      answer.error().where = std::string(name) + " at " + environment.endpoint;
    return std::unexpected(std::move(answer).error());
  }
  auto repository = parse_repository(answer->body, name);
  if (!repository && repository.error().hint.empty())
    repository.error().hint = "is HF_ENDPOINT (" + environment.endpoint + ") the address of a hub?";
  return repository;
}

Result<RemoteFile> ask_for_file(Connection& connection, const Environment& environment,
                                const RemoteRepository& repository, std::string_view path) {
  TERN_TRY(const auto answer, connection.head(file_url(environment, repository, path)));
  const Headers& headers = answer.headers;
  const auto text = [&](std::string_view key) {
    const auto found = headers.find(key);
    return found == headers.end() ? std::string() : found->second;
  };
  const std::string where = repository.name + "/" + std::string(path);
  if (const auto commit = text("x-repo-commit"); commit != repository.commit)
    return broken(
        "the hub says commit " + printable(commit) + " for a file of " + repository.commit, where);
  const auto linked = text("x-linked-etag");
  auto size = number(headers, "x-linked-size");
  if (!size && answer.status == 200) size = number(headers, "content-length");
  RemoteFile file{std::string(path), size.value_or(0),
                  plain_etag(linked.empty() ? text("etag") : linked)};
  if (!size || *size > kMaxFileBytes || !is_etag(file.etag))
    return broken("the hub says neither size nor digest", where);
  return file;
}

std::string file_url(const Environment& environment, const RemoteRepository& repository,
                     std::string_view path) {
  return environment.endpoint + "/" + percent_encoded(repository.name, true) + "/resolve/" +
         repository.commit + "/" + percent_encoded(path, true);
}

}  // namespace tern::hub
