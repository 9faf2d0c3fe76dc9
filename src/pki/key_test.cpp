#include "pki/key.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace dure::pki {
namespace {

TEST(Key, PemComesBack) {
  const PrivateKey key = *PrivateKey::generate();
  EXPECT_TRUE(key.pem().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
  const auto again = PrivateKey::from_pem(key.pem());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->public_key(), key.public_key());
  const auto public_again = PublicKey::from_pem(key.public_key().pem());
  ASSERT_TRUE(public_again);
  EXPECT_EQ(public_again->pin(), key.public_key().pin());
}

TEST(Key, PublicPemHoldsNoPrivatePart) {
  const PrivateKey key = *PrivateKey::generate();
  EXPECT_TRUE(key.public_key().pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
  EXPECT_FALSE(PrivateKey::from_pem(key.public_key().pem()));
}

// A P-256 key made and hashed with the openssl command, as the kubeadm manual says to:
// openssl pkey -pubin -outform der | openssl dgst -sha256
TEST(Key, PinIsTheHashOfTheSubjectPublicKeyInfo) {
  const auto key = PublicKey::from_pem(
      "-----BEGIN PUBLIC KEY-----\n"
      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/IWNnfBZirL2XrihQB186A/nSbpM\n"
      "2oVPXMmeYwFRBSScof8Xkzaa/S80wY0hICNmk6v9VyO4hpuvOLwcBfg5uw==\n"
      "-----END PUBLIC KEY-----\n");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->pin(), "sha256:919c437e79114917be76bd4c698daa67adf064f8c038df087ded9d36794c7cd9");
}

TEST(Key, SignatureHoldsOnlyForItsMessageAndKey) {
  const PrivateKey key = *PrivateKey::generate();
  const PrivateKey other = *PrivateKey::generate();
  std::string signature = *key.sign_es256("message");
  EXPECT_EQ(signature.size(), 64u);
  EXPECT_TRUE(key.public_key().verify_es256("message", signature));
  EXPECT_FALSE(key.public_key().verify_es256("messagf", signature));
  EXPECT_FALSE(other.public_key().verify_es256("message", signature));
  EXPECT_FALSE(key.public_key().verify_es256("message", signature.substr(1)));
  EXPECT_FALSE(key.public_key().verify_es256("message", std::string(64, '\0')));
  signature[10] ^= 1;
  EXPECT_FALSE(key.public_key().verify_es256("message", signature));
}

TEST(Key, RefusesWhatIsNoKey) {
  EXPECT_FALSE(PrivateKey::from_pem(""));
  EXPECT_FALSE(
      PrivateKey::from_pem("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"));
  EXPECT_FALSE(PublicKey::from_pem("nonsense"));
}

TEST(Key, HashesAreThePublishedOnes) {
  EXPECT_EQ(hex_encode(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  // RFC 4231, test case 2
  EXPECT_EQ(hex_encode(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace
}  // namespace dure::pki
