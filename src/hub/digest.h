// The two digests by which the hub names bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tern::hub {

class Digest {
 public:
  /// Of large files: plain SHA-256.
  static Digest sha256();
  /// Of small ones: SHA-1 as git has it, of a header with the size, then the bytes.
  static Digest git_blob(std::uint64_t size);

  void update(std::span<const std::byte> bytes);
  /// Lower-case hexadecimal digits. Nothing may be added afterwards.
  std::string hex();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  explicit Digest(const void* algorithm);
  std::unique_ptr<void, Free> context_;
};

}  // namespace tern::hub
