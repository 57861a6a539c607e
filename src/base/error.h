// Errors for the inside: the public Error, and the two macros that pass it on.
#pragma once
#include <tern/error.hpp>
#include <utility>

namespace tern {

/// Shorthand for `return fail(ErrorCode::corrupt, ...)` in a function that returns a Result.
inline std::unexpected<Error> fail(ErrorCode code, std::string what, std::string where = {},
                                   std::string hint = {}) {
  return std::unexpected(Error{code, std::move(what), std::move(where), std::move(hint)});
}

}  // namespace tern

#define TERN_CONCAT_INNER_(a, b) a##b
#define TERN_CONCAT_(a, b) TERN_CONCAT_INNER_(a, b)

/// `TERN_TRY(auto header, read_header(file));` binds the value, or returns the error.
#define TERN_TRY(declaration, expression) \
  TERN_TRY_INNER_(TERN_CONCAT_(tern_result_, __LINE__), declaration, expression)
#define TERN_TRY_INNER_(result, declaration, expression)          \
  auto result = (expression);                                     \
  if (!result) return std::unexpected(std::move(result).error()); \
  declaration = *std::move(result)

/// `TERN_TRY_VOID(check(x));` goes on, or returns the error.
#define TERN_TRY_VOID(expression)                              \
  do {                                                         \
    if (auto tern_result_ = (expression); !tern_result_)       \
      return std::unexpected(std::move(tern_result_).error()); \
  } while (false)
