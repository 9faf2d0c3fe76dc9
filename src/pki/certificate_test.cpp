#include "pki/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/clock.h"
#include "pki/signing_request.h"

namespace dure::pki {
namespace {

using testing::ElementsAre;

const WallTime now = *parse_time("2026-03-01T00:00:00Z");
constexpr Duration day = 24h;

class CertificateTest : public testing::Test {
 protected:
  Result<KeyPair> leaf(CertificateSpec spec) { return issue_pair(authority, spec, *random); }
  std::unique_ptr<os::Random> random = os::make_seeded_random(7);
  Authority authority = *Authority::create("kubernetes", now, now + 3650 * day, *random);
};

TEST_F(CertificateTest, AuthorityIsOne) {
  const Certificate& root = authority.certificate();
  EXPECT_TRUE(root.is_authority());
  EXPECT_EQ(root.subject().common_name, "kubernetes");
  EXPECT_EQ(root.subject(), root.issuer());
  EXPECT_THAT(root.names().dns_names, ElementsAre("kubernetes"));
  EXPECT_TRUE(root.verify({root}, now + day));
  EXPECT_EQ(root.not_after(), now + 3650 * day);
}

TEST_F(CertificateTest, ServerCertificateCarriesItsNames) {
  CertificateSpec spec{.subject = {.common_name = "kube-apiserver"},
                       .not_before = now,
                       .not_after = now + 365 * day};
  for (const char* name : {"kubernetes.default.svc", "10.96.0.1", "fd00::1", "10.96.0.1", "node-1"})
    spec.names.add(name);
  spec.usages = {.server_auth = true};
  const KeyPair pair = *leaf(spec);
  EXPECT_THAT(pair.certificate.names().dns_names, ElementsAre("kubernetes.default.svc", "node-1"));
  EXPECT_THAT(pair.certificate.names().ips, ElementsAre("10.96.0.1", "fd00::1"));
  EXPECT_TRUE(pair.certificate.usages().server_auth);
  EXPECT_FALSE(pair.certificate.usages().client_auth);
  EXPECT_FALSE(pair.certificate.is_authority());
  EXPECT_EQ(pair.certificate.public_key(), pair.key.public_key());
  EXPECT_TRUE(pair.certificate.verify({authority.certificate()}, now + day));
}

TEST_F(CertificateTest, ClientCertificateSaysWhoItIs) {
  const KeyPair pair = *leaf(
      {.subject = {.common_name = "system:node:n1", .organizations = {"system:nodes", "Größe"}},
       .usages = {.client_auth = true},
       .not_before = now,
       .not_after = now + day});
  const Certificate again = *Certificate::from_der(pair.certificate.der());
  EXPECT_EQ(again.subject().common_name, "system:node:n1");
  EXPECT_THAT(again.subject().organizations, ElementsAre("system:nodes", "Größe"));
  EXPECT_EQ(again.serial(), pair.certificate.serial());
  EXPECT_EQ(again.fingerprint(), pair.certificate.fingerprint());
  EXPECT_EQ(again.issuer().common_name, "kubernetes");
}

TEST_F(CertificateTest, VerifyLooksAtTimeAndSigner) {
  const KeyPair pair =
      *leaf({.subject = {.common_name = "x"}, .not_before = now, .not_after = now + day});
  EXPECT_TRUE(pair.certificate.verify({authority.certificate()}, now + 1h));
  EXPECT_EQ(pair.certificate.verify({authority.certificate()}, now + 2 * day).error().message,
            "certificate has expired");
  EXPECT_EQ(pair.certificate.verify({authority.certificate()}, now - 1h).error().message,
            "certificate is not yet valid");
  // Same name, other key: the signature decides.
  const Authority other = *Authority::create("kubernetes", now, now + 3650 * day, *random);
  EXPECT_FALSE(pair.certificate.verify({other.certificate()}, now + 1h));
}

TEST_F(CertificateTest, NeverOutlivesItsAuthority) {
  const KeyPair pair =
      *leaf({.subject = {.common_name = "x"}, .not_before = now, .not_after = now + 9999 * day});
  EXPECT_EQ(pair.certificate.not_after(), authority.certificate().not_after());
  EXPECT_FALSE(leaf({.subject = {.common_name = "x"},
                     .not_before = now + 4000 * day,
                     .not_after = now + 5000 * day}));
}

TEST_F(CertificateTest, SerialsDiffer) {
  const CertificateSpec spec{
      .subject = {.common_name = "x"}, .not_before = now, .not_after = now + day};
  EXPECT_NE(leaf(spec)->certificate.serial(), leaf(spec)->certificate.serial());
}

TEST_F(CertificateTest, AuthorityFromPemWantsThePair) {
  const std::string certificate = authority.certificate().pem(), key = authority.key().pem();
  EXPECT_TRUE(Authority::from_pem(certificate, key));
  EXPECT_FALSE(Authority::from_pem(certificate, PrivateKey::generate()->pem()));
  const KeyPair pair =
      *leaf({.subject = {.common_name = "x"}, .not_before = now, .not_after = now + day});
  EXPECT_EQ(Authority::from_pem(pair.certificate.pem(), pair.key.pem()).error().message,
            "the certificate is not a certificate authority's");
}

TEST_F(CertificateTest, RefusesBrokenBytes) {
  const std::string der = authority.certificate().der();
  for (size_t size = 0; size < der.size(); size += 7)
    EXPECT_FALSE(Certificate::from_der(der.substr(0, size)));
  EXPECT_FALSE(Certificate::from_der(der + "x"));
  EXPECT_FALSE(
      Certificate::from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
}

TEST_F(CertificateTest, NamesThatAreNoAddressesAreRefused) {
  CertificateSpec spec{.subject = {.common_name = "x"}, .not_before = now, .not_after = now + day};
  spec.names.ips = {"not-an-address"};
  EXPECT_EQ(leaf(spec).error().message, "not an IP address: not-an-address");
}

TEST(SigningRequest, CarriesSubjectNamesAndKey) {
  const PrivateKey key = *PrivateKey::generate();
  AlternativeNames names;
  names.add("n1");
  names.add("10.0.0.7");
  const auto made = SigningRequest::create(key, {"system:node:n1", {"system:nodes"}}, names);
  ASSERT_TRUE(made) << made.error().message;
  const auto read = SigningRequest::from_pem(made->pem());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->subject().common_name, "system:node:n1");
  EXPECT_THAT(read->subject().organizations, ElementsAre("system:nodes"));
  EXPECT_THAT(read->names().dns_names, ElementsAre("n1"));
  EXPECT_THAT(read->names().ips, ElementsAre("10.0.0.7"));
  EXPECT_EQ(read->public_key(), key.public_key());
}

TEST(SigningRequest, RefusesAForgedOne) {
  const PrivateKey key = *PrivateKey::generate();
  std::string pem = SigningRequest::create(key, {"system:node:n1", {"system:nodes"}})->pem();
  EXPECT_FALSE(
      SigningRequest::from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  char& c = pem[pem.find('\n') + 40];  // inside the subject
  c = c == 'A' ? 'B' : 'A';
  EXPECT_FALSE(SigningRequest::from_pem(pem));
}

}  // namespace
}  // namespace dure::pki
