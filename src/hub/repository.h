// What a hub says about a repository.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hub/environment.h"
#include "hub/http.h"

namespace tern::hub {

struct RemoteFile {
  std::string path;        ///< is_safe_path
  std::uint64_t size = 0;  ///< bytes, at most kMaxFileBytes
  std::string etag;        ///< is_etag; of 64 hexadecimal digits: SHA-256, of 40: git's SHA-1
};

struct RemoteRepository {
  std::string name;    ///< as asked for
  std::string commit;  ///< is_commit
  std::vector<RemoteFile> files;
};

inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 42;

/// The list of files at a revision, from the text of GET /api/models/NAME/revision/REV?blobs=true.
/// A file of which the hub does not say size or digest has an empty etag.
/// @error corrupt    no JSON of that shape, no commit, a path that leads out of the repository, a
///                   size or a digest that is none
/// @error too_large  over the limits of JSON and files
Result<RemoteRepository> parse_repository(std::string_view text, std::string_view name);

/// Asks for that list. @error denied, not_found, unreachable, offline  see Connection::get
Result<RemoteRepository> ask_for_repository(Connection& connection, const Environment& environment,
                                            std::string_view name, std::string_view revision);

/// Size and etag of a file, from HEAD on its address.
/// @error corrupt  the hub says neither, or says that the file belongs to another commit
Result<RemoteFile> ask_for_file(Connection& connection, const Environment& environment,
                                const RemoteRepository& repository, std::string_view path);

/// Where the bytes of a file are.
std::string file_url(const Environment& environment, const RemoteRepository& repository,
                     std::string_view path);

}  // namespace tern::hub
