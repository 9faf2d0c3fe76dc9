#include "pki/seal.h"

#include "pki/openssl.h"

namespace dure::pki {
namespace {

constexpr size_t nonce_bytes = 12, tag_bytes = 16;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freed<EVP_CIPHER_CTX_free>>;

unsigned char* raw(std::string& bytes, size_t offset = 0) { return reinterpret_cast<unsigned char*>(&bytes[offset]); }
const unsigned char* raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

}  // namespace

// nonce, encrypted text, tag
std::string seal(std::string_view key, std::string_view text, os::Random& random) {
  DURE_ASSERT(key.size() == seal_key_bytes);
  std::string out = random.bytes(nonce_bytes);
  out.resize(nonce_bytes + text.size() + tag_bytes);
  CipherContext cipher(EVP_CIPHER_CTX_new());
  int size = 0;
  const bool done =
      EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, raw(key), raw(out)) == 1 &&
      EVP_EncryptUpdate(cipher.get(), raw(out, nonce_bytes), &size, raw(text), static_cast<int>(text.size())) == 1 &&
      EVP_EncryptFinal_ex(cipher.get(), raw(out, nonce_bytes + text.size()), &size) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, tag_bytes, raw(out, nonce_bytes + text.size())) == 1;
  DURE_ASSERT(done);  // fails only without memory
  return out;
}

Result<std::string> unseal(std::string_view key, std::string_view sealed) {
  const Error broken{500, "SealBroken", "sealed bytes were changed, or belong to another key"};
  DURE_ASSERT(key.size() == seal_key_bytes);
  if (sealed.size() < nonce_bytes + tag_bytes) return fail(broken);
  const size_t text_bytes = sealed.size() - nonce_bytes - tag_bytes;
  std::string tag(sealed.substr(nonce_bytes + text_bytes)), out(text_bytes, '\0'), rest(tag_bytes, '\0');
  CipherContext cipher(EVP_CIPHER_CTX_new());
  int size = 0;
  const bool good = EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, raw(key), raw(sealed)) == 1 &&
                    EVP_DecryptUpdate(cipher.get(), raw(out), &size, raw(sealed.substr(nonce_bytes)),
                                      static_cast<int>(text_bytes)) == 1 &&
                    EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, tag_bytes, raw(tag)) == 1 &&
                    EVP_DecryptFinal_ex(cipher.get(), raw(rest), &size) == 1;
  if (!good) {
    ERR_clear_error();
    return fail(broken);
  }
  return out;
}

}  // namespace dure::pki
