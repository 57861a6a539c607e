#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <mutex>
#include <new>
#include <thread>

#include "base/printable.h"

namespace tern::hub {
namespace {

constexpr long kRedirects = 5, kConnectSeconds = 10;
constexpr long kAnswers = 6;  // a whole answer may take so many times the patience
constexpr std::size_t kMaxHeaders = 256;
constexpr long kLongestWait = 120;  // seconds that a server may ask for

void start_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return text;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* to) {
  auto& headers = *static_cast<Headers*>(to);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) headers.clear();  // the next response of a chain
  const auto colon = line.find(':');
  if (colon != std::string_view::npos && headers.size() < kMaxHeaders)
    headers[lower(trimmed(line.substr(0, colon)))] = trimmed(line.substr(colon + 1));
  return size * count;
}

struct Body {
  std::string text;
  std::size_t limit = 0;
  bool too_long = false;
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* to) {
  auto& body = *static_cast<Body*>(to);
  body.too_long = body.text.size() + size * count > body.limit;
  if (body.too_long) return 0;
  body.text.append(data, size * count);
  return size * count;
}

/// The page of the repository in an address of the hub's, or in "owner/name/file".
std::string page_of(std::string_view what, const Environment& environment) {
  for (const std::string_view prefix : {std::string_view(environment.endpoint),
                                        std::string_view("/api/models/"), std::string_view("/")})
    if (what.starts_with(prefix)) what.remove_prefix(prefix.size());
  const auto slash = what.find('/');
  if (slash != std::string_view::npos) what = what.substr(0, what.find('/', slash + 1));
  return environment.endpoint + "/" + std::string(what);
}

std::string header(const Headers& headers, std::string_view name) {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

}  // namespace

struct Connection::State {
  struct Cleanup {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  };
  std::unique_ptr<CURL, Cleanup> curl;
  Environment environment;
  Headers headers;
};

Connection::Connection(std::unique_ptr<State> state) : state_(std::move(state)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Result<Connection> Connection::create(const Environment& environment) {
  start_curl();
  auto state = std::make_unique<State>();
  state->curl.reset(curl_easy_init());
  if (!state->curl) return fail(ErrorCode::no_memory, "no memory for a connection");
  state->environment = environment;
  return Connection(std::move(state));
}

void* Connection::prepare(const std::string& url) {
  CURL* const curl = state_->curl.get();
  const Environment& environment = state_->environment;
  const bool secure = environment.endpoint.starts_with("https://");
  curl_easy_reset(curl);
  state_->headers.clear();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "tern");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kRedirects);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(environment.patience.count()));
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &state_->headers);
  if (!environment.token.empty()) {  // curl keeps it from other hosts and ports
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, environment.token.c_str());
  }
  return curl;
}

void* Connection::handle() const {
  return state_->curl.get();
}

const Headers& Connection::headers() const {
  return state_->headers;
}

long Connection::status() const {
  long status = 0;
  curl_easy_getinfo(state_->curl.get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
}

bool Connection::redirected() const {
  long count = 0;
  curl_easy_getinfo(state_->curl.get(), CURLINFO_REDIRECT_COUNT, &count);
  return count > 0;
}

Result<Response> Connection::request(const std::string& url, std::size_t limit, bool only_head) {
  const Environment& environment = state_->environment;
  if (environment.offline)
    return fail(ErrorCode::offline, "HF_HUB_OFFLINE forbids to ask the hub", url,
                "unset it, or use what \"tern list\" shows");
  Retries retries;
  for (;;) {
    CURL* const curl = prepare(url);
    Body body{{}, limit};
    curl_easy_setopt(curl, CURLOPT_TIMEOUT,
                     kAnswers * static_cast<long>(environment.patience.count()));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    if (only_head) {
      curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
      curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    }
    const CURLcode code = curl_easy_perform(curl);
    if (body.too_long)
      return fail(ErrorCode::too_large,
                  "an answer of more than " + std::to_string(limit) + " bytes", url);
    Error error = transfer_error(code, url, environment);
    if (code == CURLE_OK) {
      Response response{status(), headers(), std::move(body.text)};
      if (response.status == 200 || (only_head && response.status / 100 == 3)) return response;
      error = http_error(response.status, response.headers, url, environment);
      if (!may_pass(response.status)) return std::unexpected(std::move(error));
    } else if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
               code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_TOO_MANY_REDIRECTS) {
      return std::unexpected(std::move(error));
    }
    const bool nobody = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT;
    const auto wait =
        retries.next(retry_after(headers()), nobody ? Retries::kTriesToConnect : Retries::kTries);
    if (!wait) return std::unexpected(std::move(error));
    std::this_thread::sleep_for(*wait);
  }
}

Result<Response> Connection::get(const std::string& url, std::size_t limit) {
  return request(url, limit, false);
}

Result<Response> Connection::head(const std::string& url) {
  const std::string& endpoint = state_->environment.endpoint;
  std::string address = url;
  for (long i = 0;; ++i) {
    TERN_TRY(auto response, request(address, 0, true));
    const std::string location = header(response.headers, "location");
    const bool inside = location.starts_with('/') && !location.starts_with("//");
    if (response.status == 200 || !inside || i == kRedirects) return response;
    const auto path = endpoint.find('/', endpoint.find("//") + 2);
    address = endpoint.substr(0, path) + location;
  }
}

std::optional<std::chrono::milliseconds> Retries::next(std::optional<long> retry_after, int tries) {
  constexpr std::chrono::milliseconds first{250}, longest{8000};
  if (++failed_ >= tries) return std::nullopt;
  if (retry_after) return std::chrono::seconds(std::clamp(*retry_after, 0L, kLongestWait));
  return std::min(first * (1 << (failed_ - 1)), longest);
}

bool may_pass(long status) {
  return status == 408 || status == 429 || status / 100 == 5;
}

std::optional<long> retry_after(const Headers& headers) {
  const std::string text = header(headers, "retry-after");
  long seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || seconds < 0)
    return std::nullopt;
  return seconds;
}

Error http_error(long status, const Headers& headers, std::string_view what,
                 const Environment& environment) {
  const std::string code = header(headers, "x-error-code");
  const std::string where(what), shown = "status " + std::to_string(status);
  const std::string token =
      environment.token.empty()
          ? "set HF_TOKEN to an access token (" + environment.endpoint + "/settings/tokens)"
          : "set HF_TOKEN to a token of an account with access; the one that is set has none";
  if (code == "GatedRepo")
    return {ErrorCode::denied, "a gated model: its publisher wants terms to be accepted first",
            where, "accept them on " + page_of(what, environment) + ", then " + token};
  if (code == "RepoNotFound")
    return {ErrorCode::not_found, "the hub has no such repository, or a private one", where,
            "check the name; for a private one " + token};
  if (code == "RevisionNotFound")
    return {ErrorCode::not_found, "the repository has no such revision", where,
            "without --revision it is main"};
  if (code == "EntryNotFound" || status == 404)
    return {ErrorCode::not_found, "the hub has no such file", where};
  if (status == 401) return {ErrorCode::denied, "the hub wants to know who asks", where, token};
  if (status == 403) return {ErrorCode::denied, "the hub refuses access", where, token};
  if (status == 429)
    return {ErrorCode::unreachable, "the hub has had too many requests", where,
            "wait some minutes; what was downloaded is kept"};
  if (status / 100 == 5)
    return {ErrorCode::unreachable, "the hub has a fault (" + shown + ")", where,
            "try again later; what was downloaded is kept"};
  return {ErrorCode::unreachable, "an unexpected answer (" + shown + ")", where,
          "check HF_ENDPOINT and proxies"};
}

Error transfer_error(int code, std::string_view what, const Environment& environment) {
  const auto curl = static_cast<CURLcode>(code);
  std::string hint = "try again; what was downloaded is kept";
  if (curl == CURLE_COULDNT_RESOLVE_HOST || curl == CURLE_COULDNT_CONNECT ||
      curl == CURLE_COULDNT_RESOLVE_PROXY)
    hint = "is this computer on the network? The hub is " + environment.endpoint;
  if (curl == CURLE_PEER_FAILED_VERIFICATION)
    hint =
        "a proxy that opens connections? Then install its certificate (package "
        "ca-certificates has the usual ones)";
  if (curl == CURLE_OUT_OF_MEMORY)
    return {ErrorCode::no_memory, "out of memory", std::string(what)};
  return {ErrorCode::unreachable, curl_easy_strerror(curl), std::string(what), std::move(hint)};
}

std::string percent_encoded(std::string_view text, bool keep_slashes) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) ||
                                       std::string_view("-._~").find(c) != std::string_view::npos);
    if (plain || (keep_slashes && c == '/')) {
      out += c;
    } else {
      out += '%';
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out;
}

}  // namespace tern::hub
