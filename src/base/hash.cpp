#include "base/hash.h"

#include <fmt/format.h>

#include <cstring>
#include <new>

#define XXH_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tern {

struct Hash128::State {
  XXH3_state_t xxh3;  // aligned to 64, which `new` honours
};

Hash128::Hash128() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh3);
}
Hash128::Hash128(Hash128&&) noexcept = default;
Hash128& Hash128::operator=(Hash128&&) noexcept = default;
Hash128::~Hash128() = default;

void Hash128::update(Bytes bytes) {
  XXH3_128bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

Hash128::Value Hash128::value() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state_->xxh3));
  Value value;
  std::memcpy(value.data(), canonical.digest, value.size());
  return value;
}

std::string hex(const Hash128::Value& value) {
  std::string digits;
  for (const std::byte byte : value)
    digits += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return digits;
}

}  // namespace tern
