#include "pki/x25519.h"

#include <gtest/gtest.h>

namespace dure::pki {
namespace {

X25519Bytes bytes(std::string_view hex) {
  X25519Bytes out{};
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<uint8_t>(std::stoi(std::string(hex.substr(2 * i, 2)), nullptr, 16));
  return out;
}

// RFC 7748, section 6.1.
TEST(X25519, AgreesAsInTheStandard) {
  const auto alice = X25519Key::from_bytes(bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
  const auto bob = X25519Key::from_bytes(bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  ASSERT_TRUE(alice && bob);
  EXPECT_EQ(alice->public_key(), bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
  EXPECT_EQ(bob->public_key(), bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
  const auto shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  EXPECT_EQ(alice->agree(bob->public_key()), shared);
  EXPECT_EQ(bob->agree(alice->public_key()), shared);
}

TEST(X25519, TextsComeBackAndBadOnesAreRefused) {
  const auto key = X25519Key::generate();
  ASSERT_TRUE(key);
  EXPECT_EQ(key->secret_text().size(), 44u);
  const auto again = X25519Key::from_text(key->secret_text());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->public_text(), key->public_text());
  EXPECT_NE(X25519Key::generate()->public_text(), key->public_text());
  EXPECT_FALSE(X25519Key::from_text(""));
  EXPECT_FALSE(X25519Key::from_text("c2hvcnQ="));
  EXPECT_FALSE(X25519Key::from_text(key->secret_text() + "\n"));
  EXPECT_FALSE(key->agree(X25519Bytes{})) << "everybody shares the same secret with the zero point";
}

}  // namespace
}  // namespace dure::pki
