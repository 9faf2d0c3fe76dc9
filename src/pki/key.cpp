#include "pki/key.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "base/text.h"
#include "pki/openssl.h"

namespace dure::pki {
namespace {

constexpr int coordinate_size = 32;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

std::shared_ptr<EVP_PKEY> shared(EVP_PKEY* key) { return {key, EVP_PKEY_free}; }

bool is_p256(EVP_PKEY* key) {
  char group[32] = {};
  return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) == 1 &&
         std::string_view(group) == "prime256v1";
}

Result<std::string> signature_der(std::string_view raw) {
  SignatureHandle signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(bytes_of(raw), coordinate_size, nullptr);
  BIGNUM* s = BN_bin2bn(bytes_of(raw) + coordinate_size, coordinate_size, nullptr);
  ECDSA_SIG_set0(signature.get(), r, s);  // takes both
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return fail(openssl_error("encode signature"));
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
}

}  // namespace

std::string sha256(std::string_view bytes) {
  std::string digest(32, '\0');
  EVP_Q_digest(nullptr, "SHA256", nullptr, bytes.data(), bytes.size(), bytes_of(digest), nullptr);
  return digest;
}

std::string hmac_sha256(std::string_view key, std::string_view message) {
  std::string mac(32, '\0');
  unsigned int size = 32;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(message), message.size(), bytes_of(mac), &size);
  return mac;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const BioHandle bio = reader(pem);
  EVP_PKEY* key = PEM_read_bio_PUBKEY(bio.get(), nullptr, no_pass_phrase, nullptr);
  if (key == nullptr) return fail(unreadable("not a PEM public key"));
  return PublicKey(shared(key));
}

std::string PublicKey::pem() const {
  const BioHandle bio = writer();
  PEM_write_bio_PUBKEY(bio.get(), key_.get());
  return written(bio.get());
}

std::string PublicKey::der() const { return subject_public_key_der(key_.get()); }
std::string PublicKey::pin() const { return "sha256:" + hex_encode(sha256(der())); }
std::string PublicKey::key_id() const { return base64url_encode(sha256(der())); }

bool PublicKey::verify_es256(std::string_view message, std::string_view signature) const {
  if (signature.size() != 2 * coordinate_size || !is_p256(key_.get())) return false;
  const Result<std::string> der = signature_der(signature);
  if (!der) return false;
  const DigestContext context(EVP_MD_CTX_new());
  const bool good =
      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(context.get(), bytes_of(*der), der->size(), bytes_of(message), message.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<PrivateKey> PrivateKey::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (key == nullptr) return fail(openssl_error("generate key"));
  return PrivateKey(shared(key));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  const BioHandle bio = reader(pem);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr);
  if (key == nullptr) return fail(unreadable("not an unencrypted PEM private key"));
  return PrivateKey(shared(key));
}

std::string PrivateKey::pem() const {
  const BioHandle bio = writer();
  const bool elliptic = EVP_PKEY_is_a(key_.get(), "EC");
  if (elliptic) {
    PEM_write_bio_PrivateKey_traditional(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  } else {
    PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  }
  return written(bio.get());
}

PublicKey PrivateKey::public_key() const {
  // The same handle serves: no method of PublicKey shows the private part.
  return PublicKey(key_);
}

Result<std::string> PrivateKey::sign_es256(std::string_view message) const {
  if (!is_p256(key_.get())) return fail(internal("ES256 wants a P-256 key"));
  const DigestContext context(EVP_MD_CTX_new());
  std::string der(80, '\0');
  size_t size = der.size();
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), bytes_of(der), &size, bytes_of(message), message.size()) != 1)
    return fail(openssl_error("sign"));
  const unsigned char* at = bytes_of(std::string_view(der));
  const SignatureHandle signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  if (!signature) return fail(openssl_error("read signature"));
  std::string raw(2 * coordinate_size, '\0');
  BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), bytes_of(raw), coordinate_size);
  BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), bytes_of(raw) + coordinate_size, coordinate_size);
  return raw;
}

}  // namespace dure::pki
