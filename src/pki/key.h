// PublicKey, PrivateKey: ECDSA on P-256, the one algorithm we make; others (RSA, Ed25519, other
// curves) can be read and used for certificates, but sign_es256/verify_es256 refuse them.
//
// Values: copies share the key. Thread: any. Randomness of a new key is OpenSSL's generator, seeded
// by the kernel.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct evp_pkey_st;

namespace dure::pki {

std::string sha256(std::string_view bytes);  // 32 raw bytes
std::string hmac_sha256(std::string_view key, std::string_view message);
bool equal_in_constant_time(std::string_view a, std::string_view b);

class PublicKey {
 public:
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  // A "PUBLIC KEY" block.
  static Result<PublicKey> from_pem(std::string_view pem);

  std::string pem() const;
  std::string der() const;  // SubjectPublicKeyInfo
  // "sha256:<hex of the SubjectPublicKeyInfo>": kubeadm's --discovery-token-ca-cert-hash.
  std::string pin() const;
  // JWT "kid" as upstream derives it: base64url of the same hash.
  std::string key_id() const;
  // `signature` is r and s, 32 bytes each (RFC 7518, 3.4).
  bool verify_es256(std::string_view message, std::string_view signature) const;
  evp_pkey_st* handle() const { return key_.get(); }
  friend bool operator==(const PublicKey& a, const PublicKey& b) { return a.der() == b.der(); }

 private:
  std::shared_ptr<evp_pkey_st> key_;
};

class PrivateKey {
 public:
  static Result<PrivateKey> generate();
  // "EC PRIVATE KEY", "PRIVATE KEY" or "RSA PRIVATE KEY"; encrypted ones are refused.
  static Result<PrivateKey> from_pem(std::string_view pem);

  std::string pem() const;  // "EC PRIVATE KEY" as kubeadm writes it ("PRIVATE KEY" for other algorithms)
  PublicKey public_key() const;
  Result<std::string> sign_es256(std::string_view message) const;
  evp_pkey_st* handle() const { return key_.get(); }

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

}  // namespace dure::pki
