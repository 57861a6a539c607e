// What tests of untrusted input ask of a refusal: the right code, a place, the right words,
// quickly.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace tern::formats {

/// Processor time of this thread: what a busy machine does not change.
inline double cpu_seconds() {
  std::timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Runs `read`; passes when it is refused within a second with `code`, a `where` and a message that
/// contains `words`.
template <class Read>
testing::AssertionResult refuses(Read&& read, ErrorCode code, std::string_view words) {
  const double start = cpu_seconds();
  const auto result = std::forward<Read>(read)();
  const double seconds = cpu_seconds() - start;
  if (result) return testing::AssertionFailure() << "was accepted";
  const Error& error = result.error();
  const auto failure = [&] { return testing::AssertionFailure() << error.message() << ": "; };
  if (error.code != code)
    return failure() << "code " << name(error.code) << ", expected " << name(code);
  if (error.where.empty()) return failure() << "names no place";
  if (error.message().find(words) == std::string::npos)
    return failure() << "does not say \"" << words << "\"";
  if (seconds > 1) return failure() << "took " << seconds << " s";
  return testing::AssertionSuccess();
}

}  // namespace tern::formats
