#include "convert/journal.h"

#include <charconv>
#include <sstream>
#include <string>
#include <utility>

#include "base/mapped_file.h"
#include "convert/hash.h"

namespace tern::convert {
namespace {

constexpr std::size_t kMostBytes = 64u << 20;

std::string first_line(std::string_view fingerprint) {
  return "tern-convert 1 " + std::to_string(hash_of(fingerprint)) + "\n";
}

/// Exact: the report of a run that was resumed is that of an undisturbed one.
std::string number(double value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::hex).ptr;
  return {text, end};
}

bool read(std::string_view& line, auto& value) {
  while (line.starts_with(' ')) line.remove_prefix(1);
  std::from_chars_result result{};
  if constexpr (std::is_same_v<std::remove_reference_t<decltype(value)>, double>)
    result = std::from_chars(line.data(), line.data() + line.size(), value, std::chars_format::hex);
  else
    result = std::from_chars(line.data(), line.data() + line.size(), value);
  if (result.ec != std::errc{}) return false;
  line.remove_prefix(static_cast<std::size_t>(result.ptr - line.data()));
  return true;
}

bool read_point(std::string_view line, Point& point) {
  Point found;
  if (!read(line, found.files) || !read(line, found.tensors) || !read(line, found.bytes) ||
      !read(line, found.coded) || !read(line, found.error) || !read(line, found.square))
    return false;
  point = found;
  return true;
}

}  // namespace

Result<Journal> Journal::create(const std::filesystem::path& folder, std::string_view fingerprint) {
  TERN_TRY(auto file, PartFile::open(folder / kName, 0));
  TERN_TRY_VOID(file.write(first_line(fingerprint)));
  return Journal(std::move(file));
}

Result<Journal> Journal::open(const std::filesystem::path& folder, std::string_view fingerprint,
                              Point& point) {
  point = {};
  const auto text = read_text_file(folder / kName, kMostBytes);
  if (!text && text.error().code == ErrorCode::not_found) return create(folder, fingerprint);
  if (!text) return std::unexpected(text.error());
  // A line without its end was cut by whatever ended the earlier run.
  const std::string complete = text->substr(0, text->rfind('\n') + 1);
  if (complete.empty()) return create(folder, fingerprint);
  if (!complete.starts_with(first_line(fingerprint)))
    return fail(ErrorCode::usage, "the run to resume had another model, format or options",
                folder.string(), "repeat its command, or start again without --resume");
  std::istringstream lines(complete.substr(first_line(fingerprint).size()));
  for (std::string line; std::getline(lines, line);) read_point(line, point);
  TERN_TRY(auto file, PartFile::open(folder / kName, complete.size()));
  return Journal(std::move(file));
}

Result<void> Journal::add(const Point& point) {
  TERN_TRY_VOID(file_.write(std::to_string(point.files) + " " + std::to_string(point.tensors) +
                            " " + std::to_string(point.bytes) + " " + std::to_string(point.coded) +
                            " " + number(point.error) + " " + number(point.square) + "\n"));
  return file_.sync();
}

}  // namespace tern::convert
