#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "os/clock.h"
#include "pki/bootstrap_token.h"
#include "pki/claims_json.h"
#include "pki/service_account_token.h"

namespace dure::pki {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const WallTime now = *parse_time("2026-03-01T00:00:00Z");
const std::string issuer = "https://kubernetes.default.svc.cluster.local";

TEST(BootstrapToken, HasKubeadmsForm) {
  const auto token = parse_bootstrap_token("abcdef.0123456789abcdef");
  ASSERT_TRUE(token);
  EXPECT_EQ(token->id, "abcdef");
  EXPECT_EQ(token->secret_name(), "bootstrap-token-abcdef");
  for (const char* bad : {"", ".", "abcdef", "abcdef.0123456789abcde", "abcdef.0123456789abcdefg",
                          "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde\n",
                          "abcde.0123456789abcdef", "abcdef-0123456789abcdef"})
    EXPECT_FALSE(parse_bootstrap_token(bad)) << bad;
}

TEST(BootstrapToken, NewOnesParse) {
  const auto random = os::make_seeded_random(3);
  const BootstrapToken token = generate_bootstrap_token(*random);
  EXPECT_EQ(*parse_bootstrap_token(token.text()), token);
  EXPECT_NE(generate_bootstrap_token(*random), token);
}

TEST(BootstrapToken, SecretHasTheDocumentedKeys) {
  const BootstrapToken token{"abcdef", "0123456789abcdef"};
  const auto data =
      bootstrap_token_secret_data(token, {.expiration = now, .description = "for n1"});
  EXPECT_THAT(
      data,
      ElementsAre(Pair("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token"),
                  Pair("description", "for n1"), Pair("expiration", "2026-03-01T00:00:00Z"),
                  Pair("token-id", "abcdef"), Pair("token-secret", "0123456789abcdef"),
                  Pair("usage-bootstrap-authentication", "true"),
                  Pair("usage-bootstrap-signing", "true")));
}

TEST(BootstrapToken, GroupsStayInTheirFamily) {
  EXPECT_TRUE(is_bootstrap_group("system:bootstrappers:kubeadm:default-node-token"));
  for (const char* bad : {"system:masters", "system:bootstrappers", "system:bootstrappers:",
                          "system:bootstrappers:A", "system:bootstrappers:a-"})
    EXPECT_FALSE(is_bootstrap_group(bad)) << bad;
}

TEST(BootstrapToken, DetachedSignature) {
  const BootstrapToken token{"abcdef", "0123456789abcdef"};
  const std::string jws = sign_detached(token, "content");
  // The header is {"alg":"HS256","kid":"abcdef"}; the payload is left out.
  EXPECT_TRUE(jws.starts_with("eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..")) << jws;
  EXPECT_TRUE(verify_detached(token, "content", jws));
  EXPECT_FALSE(verify_detached(token, "contend", jws));
  EXPECT_FALSE(verify_detached({"abcdef", "0123456789abcdeg"}, "content", jws));
  EXPECT_FALSE(verify_detached(token, "content", ""));
}

class ServiceAccountTokenTest : public testing::Test {
 protected:
  ServiceAccountClaims claims() const {
    return {.issuer = issuer,
            .subject = "system:serviceaccount:default:web",
            .audiences = {issuer},
            .issued_at = now,
            .not_before = now,
            .expires_at = now + 1h,
            .id = "11111111-2222-4333-8444-555555555555",
            .namespace_ = "default",
            .service_account = {"web", "uid-sa"},
            .pod = {"web-1", "uid-pod"},
            .node = {"n1", "uid-node"},
            .warn_after_seconds = now.seconds() + 3607};
  }
  std::string why(const std::string& token, WallTime at) const {
    const auto result = verifier.verify(token, at);
    return result ? "good" : result.error().message;
  }
  PrivateKey key = *PrivateKey::generate();
  TokenVerifier verifier{{key.public_key()}, {issuer}};
};

TEST_F(ServiceAccountTokenTest, ClaimsComeBack) {
  const auto read = verifier.verify(*sign_token(key, claims()), now + 1min);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->subject, "system:serviceaccount:default:web");
  EXPECT_THAT(read->audiences, ElementsAre(issuer));
  EXPECT_EQ(read->pod, (ObjectIdentity{"web-1", "uid-pod"}));
  EXPECT_EQ(read->node, (ObjectIdentity{"n1", "uid-node"}));
  EXPECT_TRUE(read->secret.empty());
  EXPECT_EQ(read->expires_at, now + 1h);
  EXPECT_EQ(read->warn_after_seconds, now.seconds() + 3607);
}

TEST_F(ServiceAccountTokenTest, LooksAsUpstreamWritesIt) {
  const std::string token = *sign_token(key, claims());
  EXPECT_TRUE(looks_like_jwt(token));
  const auto parts = split(token, '.');
  EXPECT_EQ(*base64url_decode(parts[0]),
            "{\"alg\":\"ES256\",\"kid\":\"" + key.public_key().key_id() + "\"}");
  EXPECT_EQ(
      *base64url_decode(parts[1]),
      "{\"aud\":[\"" + issuer + "\"],\"exp\":1772326800,\"iat\":1772323200,\"iss\":\"" + issuer +
          "\",\"jti\":\"11111111-2222-4333-8444-555555555555\",\"kubernetes.io\":{\"namespace\":"
          "\"default\","
          "\"node\":{\"name\":\"n1\",\"uid\":\"uid-node\"},\"pod\":{\"name\":\"web-1\",\"uid\":"
          "\"uid-pod\"},"
          "\"serviceaccount\":{\"name\":\"web\",\"uid\":\"uid-sa\"},\"warnafter\":1772326807},"
          "\"nbf\":1772323200,\"sub\":\"system:serviceaccount:default:web\"}");
}

TEST_F(ServiceAccountTokenTest, TimesCount) {
  const std::string token = *sign_token(key, claims());
  EXPECT_EQ(why(token, now), "good");
  EXPECT_EQ(why(token, now + 1h - 1s), "good");
  EXPECT_EQ(why(token, now + 1h), "token expired at 2026-03-01T01:00:00Z");
  EXPECT_EQ(why(token, now - 1s), "token is not valid before 2026-03-01T00:00:00Z");
}

TEST_F(ServiceAccountTokenTest, ForgedOnesAreRefused) {
  const std::string token = *sign_token(key, claims());
  const auto parts = split(token, '.');
  const std::string other_key = *sign_token(*PrivateKey::generate(), claims());
  EXPECT_EQ(why(other_key, now), "signature of the token does not hold");

  std::string payload = *base64url_decode(parts[1]);
  payload.replace(payload.find("default:web"), 11, "default:adm");
  EXPECT_EQ(
      why(std::string(parts[0]) + "." + base64url_encode(payload) + "." + std::string(parts[2]),
          now),
      "signature of the token does not hold");

  const std::string none =
      base64url_encode("{\"alg\":\"none\"}") + "." + std::string(parts[1]) + ".";
  EXPECT_EQ(why(none, now), "token is not ES256");
  // A public key must not be accepted as an HMAC secret.
  const std::string head = base64url_encode("{\"alg\":\"HS256\"}") + "." + std::string(parts[1]);
  EXPECT_EQ(why(head + "." + base64url_encode(hmac_sha256(key.public_key().pem(), head)), now),
            "token is not ES256");
}

TEST_F(ServiceAccountTokenTest, OtherIssuersAndSubjectsAreRefused) {
  ServiceAccountClaims other = claims();
  other.issuer = "https://elsewhere";
  EXPECT_EQ(why(*sign_token(key, other), now), "token is of another issuer");
  other = claims();
  other.subject = "system:serviceaccount:kube-system:web";
  EXPECT_EQ(why(*sign_token(key, other), now), "subject and service account of the token differ");
  other = claims();
  other.service_account.uid = "";
  EXPECT_EQ(why(*sign_token(key, other), now), "token names no service account");
}

TEST_F(ServiceAccountTokenTest, EveryTruncationIsRefused) {
  const std::string token = *sign_token(key, claims());
  for (size_t size = 0; size < token.size(); ++size)
    EXPECT_FALSE(verifier.verify(token.substr(0, size), now)) << size;
  EXPECT_FALSE(verifier.verify(token + ".x", now));
  EXPECT_FALSE(verifier.verify(std::string(1 << 20, 'a'), now));
}

TEST_F(ServiceAccountTokenTest, OldKeysLiveOn) {
  const PrivateKey fresh = *PrivateKey::generate();
  const TokenVerifier both({fresh.public_key(), key.public_key()}, {issuer});
  EXPECT_TRUE(both.verify(*sign_token(key, claims()), now));
  EXPECT_TRUE(both.verify(*sign_token(fresh, claims()), now));
  EXPECT_THAT(both.key_set(), HasSubstr(key.public_key().key_id()));
  EXPECT_TRUE(parse_json(both.key_set()));
  EXPECT_TRUE(parse_json(discovery_document(issuer, issuer + "/openid/v1/jwks")));
}

TEST(ClaimsJson, ReadsAndRefuses) {
  const auto value =
      parse_json(R"( {"a":"x\n\u00e9\ud83d\ude00","b":[1,2.5e1,true,null],"c":{"d":-7}} )");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->text("a"), "x\n\u00e9\U0001F600");
  EXPECT_EQ(value->find("b")->items.size(), 4u);
  EXPECT_EQ(value->find("c")->integer("d"), -7);
  for (const char* bad : {"", "{", "{\"a\"}", "{\"a\":}", "[1,]", "\"\\x\"", "\"\\ud800\"", "01x",
                          "{} {}", "nul", "\"a\nb\"", "--1"})
    EXPECT_FALSE(parse_json(bad)) << bad;
  EXPECT_FALSE(parse_json(std::string(50, '[') + std::string(50, ']')));
  EXPECT_EQ(quote_json("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
}

}  // namespace
}  // namespace dure::pki
