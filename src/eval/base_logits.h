// Saved logits of a reference, to compare other caches, weights or versions with.
//
// File: the 8 bytes "TERNBASE", the length of a JSON header (u64), the header, the rows, and a
// checksum (u64) of everything before it; all little-endian. The header:
//
//   {"version": 1, "model": ..., "vocabulary": V, "tokenizer": "<16 hex digits>", "kv": ...,
//    "format": "u16" | "f32", "windows": [{"tokens": [...], "scored": [[begin, end], ...]}, ...]}
//
// There is one row for each scored token, in order: the logits that predict it.
//   f32: V logits as they were computed, 4 V bytes. Compared with itself a model shows exactly 0.
//   u16: low (f32), step (f32), V codes (u16), 8 + 2 V bytes. Log-probability i is
//        low + step * code, normalized again on reading; low is the smallest one, but at most 40
//        nats below the largest. The error is uniform in +-step/2 with step <= 40/65535, which adds
//        about step^2/24 = 1.6e-8 nats to a divergence at most.
// Checksum: hash = 0x9e3779b97f4a7c15; for each 8 bytes w (the last ones padded with zeros):
// hash = rotate_left(hash xor w, 29) * 0xbf58476d1ce4e5b9.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "engine/vocabulary.h"
#include "eval/windows.h"

namespace tern::eval {

enum class BaseFormat : std::uint8_t { u16, f32 };

struct BaseHeader {
  std::string model, kv;
  std::uint64_t vocabulary = 0;
  std::uint64_t tokenizer = 0;  ///< see tokenizer_hash
  BaseFormat format = BaseFormat::u16;
  std::vector<Window> windows;

  std::uint64_t row_bytes() const;
};

/// Of the bytes of all tokens, so that files of another tokenizer are told apart.
std::uint64_t tokenizer_hash(const engine::Vocabulary& vocabulary);

class Checksum {
 public:
  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  std::uint64_t hash_ = 0x9e3779b97f4a7c15u;
  std::uint64_t word_ = 0;  // bytes that do not fill 8 yet
  unsigned filled_ = 0;
};

/// The final name appears with the commit.
class BaseWriter {
 public:
  /// @error io
  static Result<BaseWriter> create(const std::filesystem::path& path, const BaseHeader& header);

  /// The next row. @param logits  [vocabulary], finite. @error io
  Result<void> write(std::span<const float> logits);

  /// All rows are there (TERN_CHECK). @error io
  Result<void> commit();

 private:
  BaseWriter(AtomicFile file, const BaseHeader& header);
  Result<void> put(std::span<const std::byte> bytes);

  AtomicFile file_;
  Checksum checksum_;
  BaseFormat format_;
  std::uint64_t vocabulary_;
  std::uint64_t missing_;  // rows
  std::vector<std::byte> row_;
};

class BaseReader {
 public:
  /// Proves length, header and checksum.
  /// @error not_found, io
  /// @error corrupt      cut, changed, or no such file at all
  /// @error unsupported  a version or format of another program
  static Result<BaseReader> open(const std::filesystem::path& path);

  const BaseHeader& header() const { return header_; }
  std::size_t rows() const { return rows_; }

  /// @error mismatch  saved by a model with another vocabulary or tokenizer, with both values
  Result<void> check(const engine::Vocabulary& vocabulary) const;

  /// Log-probabilities (u16) or logits (f32) of a row below rows(): [vocabulary].
  /// @error corrupt  a number that is not finite
  Result<void> row(std::size_t index, std::span<float> logits) const;

 private:
  BaseReader(MappedFile file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  Result<void> read_header();

  MappedFile file_;
  std::string path_;
  BaseHeader header_;
  std::size_t rows_ = 0;
  Bytes data_;
};

}  // namespace tern::eval
