#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <memory>

/// Computes version 5 UUIDs (RFC 9562, section 5.5). libcrypto's SHA-1 is looked up once, not for each.
class NameUUID {
 public:
  NameUUID();
  /// False when libcrypto offers no SHA-1.
  bool available() const;
  bool compute(const void *name_space, const void *name, size_t count, void *uuid);

 private:
  std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> sha1;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context;
};
