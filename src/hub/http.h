// Requests to a hub: addresses, headers, time limits, and what a status means.
#pragma once
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "hub/environment.h"

namespace tern::hub {

/// Headers of the last response of a chain of redirects; names in lower case.
using Headers = std::map<std::string, std::string, std::less<>>;

struct Response {
  long status = 0;
  Headers headers;
  std::string body;
};

/// One connection to a hub, for requests one after the other; or the handle of one transfer that
/// somebody else drives. Follows redirects; the access token goes to the hub's own host and port
/// only, and an address that begins with https leads to no other kind.
class Connection {
 public:
  /// @error no_memory
  static Result<Connection> create(const Environment& environment);
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// Tries again, with growing waits, what may go better next time (see Retries).
  /// @param limit  most bytes of a body
  /// @return a response of status 200; else the error that http_error makes of it
  /// @error too_large  a longer body. @error unreachable  no connection, or no answer in time
  /// @error offline  see Environment
  Result<Response> get(const std::string& url, std::size_t limit);
  /// The headers of a file. Follows redirects inside the hub only: one that leads elsewhere is the
  /// answer. Errors as get.
  Result<Response> head(const std::string& url);

  /// The handle (a CURL*), with the options that all requests share and an address.
  void* prepare(const std::string& url);
  void* handle() const;
  const Headers& headers() const;
  long status() const;
  /// Whether the last request was led to another address.
  bool redirected() const;

 private:
  struct State;
  explicit Connection(std::unique_ptr<State> state);
  Result<Response> request(const std::string& url, std::size_t limit, bool only_head);
  std::unique_ptr<State> state_;
};

/// How long to wait before the next try.
class Retries {
 public:
  static constexpr int kTries = 6, kTriesToConnect = 3;

  /// @param retry_after  what the server asks for, in seconds
  /// @return nothing when there were enough tries
  std::optional<std::chrono::milliseconds> next(std::optional<long> retry_after = {},
                                                int tries = kTries);
  /// Something was achieved: the count begins anew.
  void progress() { failed_ = 0; }

 private:
  int failed_ = 0;
};

/// Whether a status may be another one next time: 408, 429, 5xx.
bool may_pass(long status);
/// Seconds of a Retry-After header, if it has any.
std::optional<long> retry_after(const Headers& headers);

/// What a status other than success means.
/// @param what  what was asked for: "majentik/x", "majentik/x/model.safetensors"
/// @error denied       a token is missing, wrong, or has no access
/// @error not_found    no such repository, revision or file
/// @error unreachable  everything else
Error http_error(long status, const Headers& headers, std::string_view what,
                 const Environment& environment);

/// What a CURLcode means: unreachable or no_memory.
Error transfer_error(int code, std::string_view what, const Environment& environment);

/// `text` with everything but letters, digits and -._~ as %XX. @param keep_slashes  of a path
std::string percent_encoded(std::string_view text, bool keep_slashes);

}  // namespace tern::hub
