#include "base/error.h"

namespace tern {

std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::mismatch:
      return "mismatch";
    case ErrorCode::too_large:
      return "too_large";
    case ErrorCode::busy:
      return "busy";
    case ErrorCode::io:
      return "io";
    case ErrorCode::no_memory:
      return "no_memory";
    case ErrorCode::numeric:
      return "numeric";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::internal:
      return "internal";
    case ErrorCode::unreachable:
      return "unreachable";
    case ErrorCode::denied:
      return "denied";
    case ErrorCode::offline:
      return "offline";
  }
  return "internal";
}

int exit_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return 64;  // EX_USAGE
    case ErrorCode::corrupt:
      return 65;  // EX_DATAERR
    case ErrorCode::unsupported:
      return 65;  // EX_DATAERR
    case ErrorCode::mismatch:
      return 65;  // EX_DATAERR
    case ErrorCode::not_found:
      return 66;  // EX_NOINPUT
    case ErrorCode::unreachable:
      return 68;  // EX_NOHOST
    case ErrorCode::too_large:
      return 69;  // EX_UNAVAILABLE
    case ErrorCode::no_memory:
      return 71;  // EX_OSERR
    case ErrorCode::io:
      return 74;  // EX_IOERR
    case ErrorCode::busy:
      return 75;  // EX_TEMPFAIL
    case ErrorCode::numeric:
      return 70;  // EX_SOFTWARE
    case ErrorCode::internal:
      return 70;  // EX_SOFTWARE
    case ErrorCode::denied:
      return 77;  // EX_NOPERM
    case ErrorCode::offline:
      return 78;  // EX_CONFIG
    case ErrorCode::cancelled:
      return 130;  // as a shell reports SIGINT
  }
  return 70;
}

std::string Error::message() const {
  std::string text = where.empty() ? what : where + ": " + what;
  if (!hint.empty()) text += " (" + hint + ")";
  return text;
}

}  // namespace tern
