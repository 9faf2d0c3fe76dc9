#include "pki/seal.h"

#include <gtest/gtest.h>

namespace dure::pki {
namespace {

TEST(Seal, OnlyTheSameKeyAndTheSameBytesOpenIt) {
  const auto random = os::make_seeded_random(7);
  const std::string key = random->bytes(seal_key_bytes);
  for (const size_t size : {0U, 1U, 15U, 16U, 17U, 70000U}) {
    const std::string text = random->bytes(size);
    const std::string sealed = seal(key, text, *random);
    EXPECT_EQ(sealed.size(), size + 28);
    const auto opened = unseal(key, sealed);
    ASSERT_TRUE(opened);
    EXPECT_EQ(*opened, text);
    const auto other = unseal(random->bytes(seal_key_bytes), sealed);
    ASSERT_FALSE(other);
    EXPECT_TRUE(other.error().is("SealBroken"));
    for (const size_t at : {size_t{0}, size_t{11}, sealed.size() / 2, sealed.size() - 1}) {
      std::string changed = sealed;
      changed[at] ^= 1;
      EXPECT_FALSE(unseal(key, changed)) << at;
    }
    EXPECT_FALSE(unseal(key, std::string_view(sealed).substr(0, sealed.size() - 1)));
  }
  EXPECT_FALSE(unseal(key, ""));
}

TEST(Seal, TheSameTextLooksDifferentEachTime) {
  const auto random = os::make_seeded_random(7);
  const std::string key = random->bytes(seal_key_bytes);
  EXPECT_NE(seal(key, "secret", *random), seal(key, "secret", *random));
}

}  // namespace
}  // namespace dure::pki
