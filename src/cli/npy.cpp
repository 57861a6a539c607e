#include "cli/npy.h"

#include <fmt/format.h>

#include <bit>

#include "base/check.h"

namespace tern::cli {

static_assert(std::endian::native == std::endian::little,
              "values are written as they lie in memory");

std::string npy_header(std::uint64_t rows, std::uint64_t columns) {
  constexpr std::size_t kPrefix = 10;  // magic, version, length
  std::string dictionary =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  const std::size_t used = kPrefix + dictionary.size() + 1;
  dictionary.append((64 - used % 64) % 64, ' ');
  dictionary += '\n';
  std::string header = "\x93NUMPY";
  header += '\x01';
  header += '\x00';
  header += static_cast<char>(dictionary.size() & 0xff);
  header += static_cast<char>(dictionary.size() >> 8);
  return header + dictionary;
}

Result<NpyWriter> NpyWriter::create(const std::filesystem::path& path, std::uint64_t rows,
                                    std::uint64_t columns) {
  TERN_TRY(auto file, AtomicFile::create(path));
  TERN_TRY_VOID(file.write(npy_header(rows, columns)));
  return NpyWriter(std::move(file), rows * columns);
}

Result<void> NpyWriter::write(std::span<const float> values) {
  TERN_CHECK(values.size() <= missing_);
  missing_ -= values.size();
  return file_.write(std::as_bytes(values));
}

Result<void> NpyWriter::commit() {
  TERN_CHECK(missing_ == 0);
  return file_.commit();
}

}  // namespace tern::cli
