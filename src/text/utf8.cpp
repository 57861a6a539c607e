#include "text/utf8.h"

namespace tern::text {
namespace {

/// What a lead byte allows: how many bytes, and which second byte (Unicode 15, table 3-7).
struct Lead {
  unsigned char bytes, second_low, second_high;
};

Lead lead(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step utf8_step(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const Lead rule = lead(byte(0));
  if (rule.bytes == 0) return {};
  if (rule.bytes == 1) return {.code = byte(0), .bytes = 1, .valid = true};

  char32_t code = byte(0) & (0x7Fu >> rule.bytes);
  for (unsigned char i = 1; i < rule.bytes; ++i) {
    if (i == text.size()) return {.bytes = i, .cut = true};
    const unsigned low = i == 1 ? rule.second_low : 0x80u;
    const unsigned high = i == 1 ? rule.second_high : 0xBFu;
    if (byte(i) < low || byte(i) > high) return {.bytes = i};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  return {.code = code, .bytes = rule.bytes, .valid = true};
}

void append_utf8(char32_t code, std::string& out) {
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) code = kReplacement;
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    if (step.valid)
      out.append(bytes.substr(0, step.bytes));
    else
      append_utf8(kReplacement, out);
    bytes.remove_prefix(step.bytes);
  }
  return out;
}

}  // namespace tern::text
