// X25519Key: the key pair a node is known by on the pod network (RFC 7748): WireGuard's private and public key, and the
// secret that two nodes share without a word.
//
// Value. Thread: any. Randomness is OpenSSL's generator, seeded by the kernel. Texts are base64, as wg(8) writes them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dure::pki {

using X25519Bytes = std::array<uint8_t, 32>;

class X25519Key {
 public:
  static Result<X25519Key> generate();
  static Result<X25519Key> from_text(std::string_view base64);  // of the private part; "InvalidKey"
  static Result<X25519Key> from_bytes(const X25519Bytes& secret);

  const X25519Bytes& secret() const { return secret_; }
  const X25519Bytes& public_key() const { return public_; }
  std::string secret_text() const;
  std::string public_text() const;
  // The secret shared with the owner of `peer` (both sides get the same). Some tens of microseconds: keep it. An error
  // when `peer` is one of the few points that everybody shares the same secret with.
  Result<X25519Bytes> agree(const X25519Bytes& peer) const;

 private:
  X25519Key() = default;
  X25519Bytes secret_{}, public_{};
};

}  // namespace dure::pki
