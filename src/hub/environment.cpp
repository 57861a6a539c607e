#include "hub/environment.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/mapped_file.h"
#include "base/printable.h"

namespace tern::hub {
namespace {

constexpr std::size_t kMaxTokenFile = 64u << 10;
constexpr int kMaxPatience = 3600;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_on(const char* name) {
  std::string value = variable(name);
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const auto first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(space) - first + 1));
}

/// "~/x" from the home folder, as a shell would have done unless the value was quoted.
std::filesystem::path expanded(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return variable("HOME") + path.substr(1);
  return path;
}

/// $HF_HOME, or where it is by default; empty without a home folder.
std::filesystem::path hugging_face_home() {
  if (const auto home = variable("HF_HOME"); !home.empty()) return expanded(home);
  if (const auto caches = variable("XDG_CACHE_HOME"); !caches.empty())
    return expanded(caches) / "huggingface";
  const auto home = variable("HOME");
  return home.empty() ? std::filesystem::path()
                      : std::filesystem::path(home) / ".cache" / "huggingface";
}

Result<std::string> read_token(const std::filesystem::path& home) {
  if (is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return "";
  std::string token = trimmed(variable("HF_TOKEN")), where = "HF_TOKEN";
  if (token.empty()) token = trimmed(variable("HUGGING_FACE_HUB_TOKEN"));
  if (token.empty()) {
    const auto named = variable("HF_TOKEN_PATH");
    const auto path = named.empty() ? home / "token" : expanded(named);
    const auto text = read_text_file(path, kMaxTokenFile);
    if (!text && text.error().code != ErrorCode::not_found) return std::unexpected(text.error());
    if (text) token = trimmed(*text);
    where = path.string();
  }
  const bool printable = std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
  if (!printable)
    return fail(ErrorCode::usage, "the access token has characters that no token has", where);
  return token;
}

}  // namespace

Result<Environment> read_environment() {
  Environment environment;
  const auto home = hugging_face_home();
  environment.cache = expanded(variable("HF_HUB_CACHE"));
  if (environment.cache.empty()) environment.cache = expanded(variable("HUGGINGFACE_HUB_CACHE"));
  if (environment.cache.empty() && !home.empty()) environment.cache = home / "hub";
  if (environment.cache.empty())
    return fail(ErrorCode::usage, "no place for the model cache: HOME is not set", "HF_HOME",
                "set HF_HOME to a folder");
  environment.endpoint = variable("HF_ENDPOINT");
  if (environment.endpoint.empty()) environment.endpoint = "https://huggingface.co";
  while (environment.endpoint.ends_with('/')) environment.endpoint.pop_back();
  if (!environment.endpoint.starts_with("https://") && !environment.endpoint.starts_with("http://"))
    return fail(ErrorCode::usage,
                printable(environment.endpoint) + " is no address that begins with https://",
                "HF_ENDPOINT");
  TERN_TRY(environment.token, read_token(home));
  environment.offline = is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE");
  if (const auto text = variable("HF_HUB_DOWNLOAD_TIMEOUT"); !text.empty()) {
    int seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || seconds < 1 ||
        seconds > kMaxPatience)
      return fail(ErrorCode::usage, printable(text) + " is no number of seconds from 1 to 3600",
                  "HF_HUB_DOWNLOAD_TIMEOUT");
    environment.patience = std::chrono::seconds(seconds);
  }
  return environment;
}

}  // namespace tern::hub
