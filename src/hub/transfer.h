// One file on its way from the hub into the cache.
//
// Bytes go to blobs/ETAG.incomplete while the lock of ETAG is held; what is there from an earlier
// try is kept and continued. Only when size and digest are right does the file become blobs/ETAG.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "hub/cache.h"
#include "hub/environment.h"
#include "hub/http.h"
#include "hub/repository.h"

namespace tern::hub {

/// Whether the cache holds a file, as large as the hub says. One of another size is downloaded
/// anew.
bool has_blob(const RepoCache& cache, const RemoteFile& file);

class Transfer {
 public:
  enum class Step : std::uint8_t {
    waiting,  ///< somebody else downloads this file, or the next try is not due
    ready,    ///< handle() can be driven
    done,     ///< the blob is there
  };
  using Clock = std::chrono::steady_clock;

  Transfer(const Environment& environment, const RepoCache& cache,
           const RemoteRepository& repository, RemoteFile file);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// Takes the lock, looks at what is there, and prepares the request for the rest.
  /// @error io  no lock, no file; a full disk
  Result<Step> start(Clock::time_point now);

  /// The CURL* to drive; the same until `finish`.
  void* handle();

  /// The request ended with a CURLcode. Bytes that are complete are checked and get their name.
  /// @error corrupt      the bytes are not what the hub's digest says, twice
  /// @error io           they cannot be written
  /// @error unreachable, denied, not_found  too many tries, or no use in trying
  Result<Step> finish(int code, Clock::time_point now);

  const RemoteFile& file() const;
  /// It is this process that downloads the file, though it may wait for the next try.
  bool ours() const;
  /// Bytes that are there.
  std::uint64_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tern::hub
