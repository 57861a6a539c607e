// The error type of every fallible call: what went wrong, where, and the likely cause.
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <tern/export.hpp>

namespace tern {

/// A closed list. Each code has one name, one exit status and one row in docs/errors.md.
enum class ErrorCode : std::uint8_t {
  usage,        ///< the caller asked for something that does not exist or contradicts itself
  not_found,    ///< a file, a tensor or a model that should be there is not
  corrupt,      ///< bytes that break the rules of their own format
  unsupported,  ///< well-formed, but nothing that this engine knows
  mismatch,     ///< two things that must agree do not: shapes, vocabularies, models
  too_large,    ///< over a documented limit
  busy,         ///< no capacity now; the same call may succeed later
  io,           ///< the operating system refused a read, a write or a mapping
  no_memory,    ///< an allocation failed
  numeric,      ///< a number that is not finite came out of the computation
  cancelled,    ///< stopped on request
  internal,     ///< a fault of the engine itself
  unreachable,  ///< no hub: it cannot be reached, does not answer, or has a fault
  denied,       ///< a hub's model whose terms were not accepted, or no token for it
  offline,      ///< the environment forbids to ask a hub
};

/// Name of a code as it is spelled above, for example "not_found".
TERN_EXPORT std::string_view name(ErrorCode code);

/// Exit status of a program that ends with this error (sysexits.h where it has a word for it).
TERN_EXPORT int exit_status(ErrorCode code);

/// What went wrong. `what` names the thing and both values ("expected 1856x2688, file holds
/// 1856x2560"); `where` is a file and offset, a tensor name, an option or a JSON pointer, never a
/// memory address; `hint` is the likely cause, or empty.
struct TERN_EXPORT Error {
  ErrorCode code = ErrorCode::internal;
  std::string what;
  std::string where = {};
  std::string hint = {};

  /// "where: what (hint)", one line.
  std::string message() const;
};

/// A value, or the reason why there is none.
template <class T>
using Result = std::expected<T, Error>;

}  // namespace tern
