#include "name_uuid.hpp"

#include <cstring>

NameUUID::NameUUID()
  : sha1(EVP_MD_fetch(nullptr, "SHA1", nullptr), EVP_MD_free), context(EVP_MD_CTX_new(), EVP_MD_CTX_free) {}

bool NameUUID::available() const { return sha1 && context; }

bool NameUUID::compute(const void *name_space, const void *name, size_t count, void *uuid) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  EVP_MD_CTX *hash = context.get();
  const bool hashed = EVP_DigestInit_ex2(hash, sha1.get(), nullptr) && EVP_DigestUpdate(hash, name_space, 16)
    && EVP_DigestUpdate(hash, name, count) && EVP_DigestFinal_ex(hash, digest, nullptr);
  if (!hashed) { return false; }
  digest[6] = uint8_t((digest[6] & 0x0F) | 0x50);
  digest[8] = uint8_t((digest[8] & 0x3F) | 0x80);
  memcpy(uuid, digest, 16);
  return true;
}
