// Seal: bytes that only the holder of a key can read or change, for what a node keeps on its disk (AES-256-GCM; NIST SP
// 800-38D). The key is 32 random bytes; every seal draws a nonce of its own, good for 2^32 seals under one key.
//
// Pure. Thread: any. Cost: a few GB/s.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "os/clock.h"

namespace dure::pki {

inline constexpr size_t seal_key_bytes = 32;

// `key` has seal_key_bytes. The result is 28 bytes longer than the text.
std::string seal(std::string_view key, std::string_view text, os::Random& random);
// "SealBroken": another key, or changed bytes.
Result<std::string> unseal(std::string_view key, std::string_view sealed);

}  // namespace dure::pki
