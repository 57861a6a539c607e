// For tests: the bytes of a saved session, taken apart and signed again.
#pragma once
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "base/mapped_file.h"
#include "engine/session_file.h"

namespace tern::engine::testing {

/// The bytes with a checksum behind them that fits.
inline std::string with_checksum(std::string body) {
  Hash128 hash;
  hash.update(std::as_bytes(std::span(body)));
  const Hash128::Value value = hash.value();
  body.resize(body.size() + value.size());
  std::memcpy(body.data() + body.size() - value.size(), value.data(), value.size());
  return body;
}

/// A session's file without its checksum, and where its numbers are.
struct SessionBytes {
  std::string body;
  std::size_t header = 0, tokens = 0, state = 0;  ///< where these parts begin
  std::vector<std::size_t> numbers;               ///< of 8 bytes each, in the state
};

/// @param path  a file to write on the way
inline SessionBytes session_bytes(const Engine& engine, const Context& context,
                                  std::string_view metadata, const std::filesystem::path& path) {
  TERN_CHECK(save_session(engine, context, metadata, path).has_value());
  const auto file = MappedFile::open(path);
  TERN_CHECK(file.has_value());
  SessionBytes bytes;
  bytes.body = as_text(file->bytes().first(file->bytes().size() - sizeof(Hash128::Value)));
  std::uint32_t header = 0;
  std::memcpy(&header, bytes.body.data() + 12, sizeof header);
  bytes.header = 16;
  bytes.tokens = bytes.header + header;
  bytes.state = bytes.tokens + context.tokens().size_bytes();
  std::size_t at = bytes.state;
  const auto stored = context.store([&](Bytes part) -> Result<void> {
    if (part.size() == sizeof(std::uint64_t)) bytes.numbers.push_back(at);
    at += part.size();
    return {};
  });
  TERN_CHECK(stored.has_value() && at == bytes.body.size());
  return bytes;
}

}  // namespace tern::engine::testing
