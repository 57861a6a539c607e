// Any bytes give importances that are numbers, or an error with a place.
#include <cmath>

#include "base/check.h"
#include "convert/imatrix.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = tern::convert::parse_imatrix(std::as_bytes(std::span(data, size)), "fuzz");
  if (!read) {
    TERN_CHECK(!read.error().where.empty() && !read.error().what.empty());
    return 0;
  }
  TERN_CHECK(!read->columns.empty());
  for (const auto& [name, values] : read->columns) {
    TERN_CHECK(!values.empty() && read->find(name).size() == values.size());
    for (const float value : values) TERN_CHECK(value >= 0 && std::isfinite(value));
  }
  return 0;
}
