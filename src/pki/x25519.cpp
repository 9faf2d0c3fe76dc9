#include "pki/x25519.h"

#include <algorithm>

#include "base/text.h"
#include "pki/openssl.h"

namespace dure::pki {
namespace {

std::string_view view(const X25519Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

Error invalid(std::string_view why) { return Error{400, "InvalidKey", std::string(why)}; }

}  // namespace

Result<X25519Key> X25519Key::generate() {
  const KeyHandle key(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  X25519Bytes secret;
  size_t size = secret.size();
  if (!key || EVP_PKEY_get_raw_private_key(key.get(), secret.data(), &size) != 1)
    return fail(openssl_error("make an X25519 key"));
  // The five bits that every implementation sets before use: what is written is then what is used, everywhere.
  secret[0] &= 248;
  secret[31] = static_cast<uint8_t>((secret[31] & 127) | 64);
  return from_bytes(secret);
}

Result<X25519Key> X25519Key::from_text(std::string_view base64) {
  const auto raw = base64_decode(base64);
  if (!raw || raw->size() != 32) return fail(invalid("not a key of 32 bytes in base64"));
  X25519Bytes secret;
  std::copy(raw->begin(), raw->end(), secret.begin());
  return from_bytes(secret);
}

Result<X25519Key> X25519Key::from_bytes(const X25519Bytes& secret) {
  const KeyHandle key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, secret.data(), secret.size()));
  X25519Key out;
  out.secret_ = secret;
  size_t size = out.public_.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), out.public_.data(), &size) != 1)
    return fail(openssl_error("read an X25519 key"));
  return out;
}

std::string X25519Key::secret_text() const { return base64_encode(view(secret_)); }
std::string X25519Key::public_text() const { return base64_encode(view(public_)); }

Result<X25519Bytes> X25519Key::agree(const X25519Bytes& peer) const {
  const KeyHandle own(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, secret_.data(), secret_.size()));
  const KeyHandle other(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), peer.size()));
  if (!own || !other) return fail(openssl_error("read an X25519 key"));
  const KeyContext context(EVP_PKEY_CTX_new(own.get(), nullptr));
  X25519Bytes shared;
  size_t size = shared.size();
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), other.get()) != 1 ||
      EVP_PKEY_derive(context.get(), shared.data(), &size) != 1)
    return fail(invalid("no secret can be shared with this key"));
  return shared;
}

}  // namespace dure::pki
