#include "hub/transfer.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "hub/digest.h"
#include "hub/file_lock.h"

namespace tern::hub {
namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const std::byte>;
using Clock = Transfer::Clock;

constexpr std::chrono::milliseconds kAskAgain{200};  // for a lock that somebody holds
constexpr std::uint64_t kProgressBytes = 1u << 20;   // after which the tries are counted anew
constexpr std::size_t kReadBytes = 1u << 20;

std::unexpected<Error> io_error(const fs::path& path, std::string_view action, int code) {
  return fail(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(code),
              path.string(), code == ENOSPC ? "free some disk space and try again" : "");
}

/// A file that is written at its end and closed at the end of a scope.
class File {
 public:
  ~File() { close(); }
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  Result<void> open(const fs::path& path) {
    close();
    path_ = path;
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0) return io_error(path, "cannot create", errno);
    return {};
  }

  std::uint64_t size() const {
    struct stat status{};
    return ::fstat(fd_, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  }

  /// Up to `buffer` bytes at `offset`; 0 at the end.
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> buffer) const {
    const ssize_t count = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (count < 0) return io_error(path_, "cannot read", errno);
    return static_cast<std::size_t>(count);
  }

  Result<void> write(std::uint64_t offset, Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return io_error(path_, "cannot write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
    return {};
  }

  Result<void> truncate(std::uint64_t size) {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
      return io_error(path_, "cannot truncate", errno);
    return {};
  }

  Result<void> sync() {
    return ::fsync(fd_) == 0 ? Result<void>() : io_error(path_, "cannot sync", errno);
  }

  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  fs::path path_;
  int fd_ = -1;
};

/// Where the bytes of a 206 begin: "bytes 100-199/200".
std::optional<std::uint64_t> first_byte(const Headers& headers) {
  const auto found = headers.find("content-range");
  if (found == headers.end() || !found->second.starts_with("bytes ")) return std::nullopt;
  const char* const begin = found->second.data() + 6;
  std::uint64_t first = 0;
  const auto [end, error] =
      std::from_chars(begin, found->second.data() + found->second.size(), first);
  return error == std::errc() && *end == '-' ? std::optional(first) : std::nullopt;
}

}  // namespace

bool has_blob(const RepoCache& cache, const RemoteFile& file) {
  std::error_code ec;
  const auto size = fs::file_size(cache.blob(file.etag), ec);
  return !ec && size == file.size;
}

struct Transfer::State {
  State(const Environment& env, const RepoCache& repo, std::string address, RemoteFile wanted_file)
      : environment(env), cache(repo), url(std::move(address)), file(std::move(wanted_file)) {}

  Environment environment;
  RepoCache cache;
  std::string url;
  RemoteFile file;
  std::optional<FileLock> lock;
  std::optional<Connection> connection;
  File partial;
  std::optional<Digest> digest;  ///< of the first `have` bytes; none for another kind of etag
  std::uint64_t have = 0;
  std::uint64_t asked = 0;                  ///< `have` when the request was made
  bool body_begun = false, wanted = false;  ///< of the present request
  bool from_start = false;                  ///< the bytes were wrong once
  std::optional<Error> write_error;
  Retries retries;
  Clock::time_point due;

  fs::path path() const { return cache.incomplete(file.etag); }
  void new_digest();
  Result<void> open();
  Result<void> forget();
  Result<void> prepare();
  bool accept(Bytes bytes);
  Result<Step> check_and_name();
  Result<Step> again(Error error, Clock::time_point now);

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* to) {
    auto& state = *static_cast<State*>(to);
    return state.accept(std::as_bytes(std::span(data, size * count))) ? size * count : 0;
  }
};

void Transfer::State::new_digest() {
  if (file.etag.size() == 64) digest = Digest::sha256();
  if (file.etag.size() == 40) digest = Digest::git_blob(file.size);
}

/// Opens the partial file and digests what it holds.
Result<void> Transfer::State::open() {
  std::error_code ec;
  fs::create_directories(path().parent_path(), ec);
  if (ec) return io_error(path().parent_path(), "cannot make the folder", ec.value());
  TERN_TRY_VOID(partial.open(path()));
  have = 0;
  new_digest();
  if (partial.size() > file.size) return partial.truncate(0);
  std::vector<std::byte> buffer(kReadBytes);
  for (;;) {
    TERN_TRY(const std::size_t count, partial.read(have, buffer));
    if (count == 0) return {};
    if (digest) digest->update(std::span(buffer).first(count));
    have += count;
  }
}

/// Begins anew.
Result<void> Transfer::State::forget() {
  have = 0;
  new_digest();
  return partial.truncate(0);
}

Result<void> Transfer::State::prepare() {
  if (!connection) {
    TERN_TRY(connection, Connection::create(environment));
  }
  CURL* const curl = connection->prepare(url);
  asked = have;
  body_begun = false;
  write_error.reset();
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  if (have > 0) curl_easy_setopt(curl, CURLOPT_RANGE, (std::to_string(have) + "-").c_str());
  return {};
}

/// Takes bytes of the answer, unless it is another one than was asked for.
bool Transfer::State::accept(Bytes bytes) {
  if (!std::exchange(body_begun, true)) {
    const long status = connection->status();
    wanted = status == 200 || (status == 206 && first_byte(connection->headers()) == asked);
    if (status == 200 && have > 0) {  // the server does not do ranges
      if (auto done = forget(); !done) write_error = done.error();
    }
  }
  if (!wanted || write_error) return false;
  if (have + bytes.size() > file.size) {
    write_error = Error{ErrorCode::corrupt,
                        "more bytes than the " + std::to_string(file.size) + " that were announced",
                        cache.repository() + "/" + file.path};
    return false;
  }
  if (auto done = partial.write(have, bytes); !done) {
    write_error = done.error();
    return false;
  }
  if (digest) digest->update(bytes);
  have += bytes.size();
  return true;
}

Result<Transfer::Step> Transfer::State::check_and_name() {
  const std::string found = digest ? digest->hex() : file.etag;
  if (found != file.etag) {
    TERN_TRY_VOID(forget());
    const Error wrong{ErrorCode::corrupt, "the digest is " + found + ", the hub says " + file.etag,
                      cache.repository() + "/" + file.path,
                      "the hub or something on the way changes bytes; try another network"};
    if (std::exchange(from_start, true)) return std::unexpected(wrong);
    due = {};  // the partial file may have been wrong from before
    return Step::waiting;
  }
  TERN_TRY_VOID(partial.sync());
  std::error_code ec;
  fs::rename(path(), cache.blob(file.etag), ec);
  if (ec) return io_error(cache.blob(file.etag), "cannot rename", ec.value());
  partial.close();
  lock.reset();
  return Step::done;
}

Result<Transfer::Step> Transfer::State::again(Error error, Clock::time_point now) {
  if (have > asked + kProgressBytes) retries.progress();
  const auto wait = retries.next(retry_after(connection->headers()));
  if (!wait) return std::unexpected(std::move(error));
  due = now + *wait;
  return Step::waiting;
}

Transfer::Transfer(const Environment& environment, const RepoCache& cache,
                   const RemoteRepository& repository, RemoteFile file)
    : state_(std::make_unique<State>(
          environment, cache, file_url(environment, repository, file.path), std::move(file))) {}

Transfer::~Transfer() = default;

Result<Transfer::Step> Transfer::start(Clock::time_point now) {
  State& state = *state_;
  if (now < state.due) return Step::waiting;
  if (!state.lock) {
    if (has_blob(state.cache, state.file)) {
      state.have = state.file.size;
      return Step::done;
    }
    TERN_TRY(state.lock, FileLock::try_acquire(state.cache.lock(state.file.etag)));
    if (!state.lock) {
      state.due = now + kAskAgain;
      return Step::waiting;
    }
    if (has_blob(state.cache, state.file)) {  // finished in between
      state.lock.reset();
      state.have = state.file.size;
      return Step::done;
    }
    TERN_TRY_VOID(state.open());
  }
  if (state.have == state.file.size) return state.check_and_name();
  TERN_TRY_VOID(state.prepare());
  return Step::ready;
}

void* Transfer::handle() {
  // As `prepare` left it.
  return state_->connection->handle();
}

Result<Transfer::Step> Transfer::finish(int code, Clock::time_point now) {
  State& state = *state_;
  const std::string what = state.cache.repository() + "/" + state.file.path;
  if (state.write_error && state.write_error->code == ErrorCode::corrupt) {
    TERN_TRY_VOID(state.forget());
    if (std::exchange(state.from_start, true)) return std::unexpected(*state.write_error);
    return state.again(*state.write_error, now);
  }
  if (state.write_error) return std::unexpected(*state.write_error);
  const long status = state.connection->status();
  if (status == 416) {  // nothing of the kind is there: what we have is of another file
    TERN_TRY_VOID(state.forget());
    return state.again({ErrorCode::unreachable, "the hub cannot go on where we stopped", what},
                       now);
  }
  if (status >= 400 || (status >= 300 && code == CURLE_OK)) {
    Error error = http_error(status, state.connection->headers(), what, state.environment);
    // The addresses to which a hub redirects are signed for a short time.
    const bool expired = status == 403 && state.connection->redirected();
    if (!may_pass(status) && !expired) return std::unexpected(std::move(error));
    return state.again(std::move(error), now);
  }
  if (status == 206 && state.body_begun && !state.wanted) {
    TERN_TRY_VOID(state.forget());
    return state.again(
        {ErrorCode::unreachable, "the hub sends other bytes than were asked for", what}, now);
  }
  if (state.have == state.file.size) return state.check_and_name();
  Error error = transfer_error(code, what, state.environment);
  if (code == CURLE_OK)
    error.what = "the hub sent " + std::to_string(state.have) + " of " +
                 std::to_string(state.file.size) + " bytes";
  return state.again(std::move(error), now);
}

const RemoteFile& Transfer::file() const {
  return state_->file;
}

bool Transfer::ours() const {
  return state_->lock.has_value();
}

std::uint64_t Transfer::bytes() const {
  return state_->have;
}

}  // namespace tern::hub
