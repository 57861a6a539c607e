#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "text/utf8.h"

namespace tern::text {
namespace {

int combining_class(utf8proc_int32_t code) {
  return utf8proc_get_property(code)->combining_class;
}

/// Stable by combining class. (std::stable_sort is deprecated in this library under clang.)
void sort_marks(std::span<utf8proc_int32_t> marks, std::vector<std::uint64_t>& order) {
  if (marks.size() < 2) return;
  order.clear();
  for (std::size_t i = 0; i < marks.size(); ++i)
    order.push_back(static_cast<std::uint64_t>(combining_class(marks[i])) << 56 |
                    static_cast<std::uint64_t>(i));
  std::ranges::sort(order);
  const std::vector<utf8proc_int32_t> before(marks.begin(), marks.end());
  for (std::size_t i = 0; i < marks.size(); ++i)
    marks[i] = before[order[i] & 0x00FF'FFFF'FFFF'FFFFu];
}

/// Canonical decomposition, canonical order, canonical composition.
void append_nfc(const std::vector<char32_t>& codes, std::string& out) {
  std::vector<utf8proc_int32_t> buffer;
  constexpr int kLongestDecomposition = 32;  // UAX #15: 4 code points in NFD
  for (const char32_t code : codes) {
    utf8proc_int32_t parts[kLongestDecomposition];
    int boundary = UTF8PROC_BOUNDCLASS_START;
    const auto count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(code), parts, kLongestDecomposition,
        static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), &boundary);
    if (count > 0 && count <= kLongestDecomposition)
      buffer.insert(buffer.end(), parts, parts + count);
    else
      buffer.push_back(static_cast<utf8proc_int32_t>(code));
  }
  std::vector<std::uint64_t> order;
  for (auto run = buffer.begin(); run != buffer.end();) {
    run = std::find_if(run, buffer.end(), [](auto code) { return combining_class(code) != 0; });
    const auto end =
        std::find_if(run, buffer.end(), [](auto code) { return combining_class(code) == 0; });
    sort_marks({run, end}, order);
    run = end;
  }
  const auto composed =
      utf8proc_normalize_utf32(buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  for (utf8proc_ssize_t i = 0; i < composed; ++i)
    append_utf8(static_cast<char32_t>(buffer[static_cast<std::size_t>(i)]), out);
}

}  // namespace

std::string to_nfc(std::string_view text) {
  std::string out;
  const bool ascii =
      std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii) return out.assign(text);
  std::vector<char32_t> codes;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (step.valid) {
      codes.push_back(step.code);
    } else {
      append_nfc(codes, out);
      codes.clear();
      out.append(text.substr(0, step.bytes));
    }
    text.remove_prefix(step.bytes);
  }
  append_nfc(codes, out);
  return out;
}

}  // namespace tern::text
