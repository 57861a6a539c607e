#include "hub/digest.h"

#include <openssl/evp.h>

#include <array>
#include <new>

namespace tern::hub {
namespace {

EVP_MD_CTX* of(void* context) {
  return static_cast<EVP_MD_CTX*>(context);
}

}  // namespace

void Digest::Free::operator()(void* context) const {
  EVP_MD_CTX_free(of(context));
}

// OpenSSL's functions fail here only for want of memory.
Digest::Digest(const void* algorithm) : context_(EVP_MD_CTX_new()) {
  if (!context_ ||
      EVP_DigestInit_ex(of(context_.get()), static_cast<const EVP_MD*>(algorithm), nullptr) != 1)
    throw std::bad_alloc();
}

Digest Digest::sha256() {
  return Digest(EVP_sha256());
}

Digest Digest::git_blob(std::uint64_t size) {
  Digest digest(EVP_sha1());
  const std::string header = "blob " + std::to_string(size);
  digest.update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
  return digest;
}

void Digest::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(of(context_.get()), bytes.data(), bytes.size()) != 1) throw std::bad_alloc();
}

std::string Digest::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(of(context_.get()), bytes.data(), &size) != 1) throw std::bad_alloc();
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}

}  // namespace tern::hub
