// Authentication, reviews and bootstrap objects, through the resource path.
#include "apiserver/auth/auth.h"

#include <gmock/gmock.h>

#include <set>

#include "apiserver/auth/test_cluster.h"
#include "base/text.h"
#include "kinds/views/apiregistration_v1.h"
#include "kinds/views/authentication_v1.h"
#include "kinds/views/authorization_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/rbac_v1.h"
#include "pki/certificate.h"

namespace dure::apiserver {
namespace {

using namespace kinds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class AuthTest : public testing::Test {
 protected:
  TestCluster c;

  Result<UserHandle> who(std::vector<std::pair<std::string, std::string>> headers, std::string der = "",
                         bool verified = true) {
    wire::Request request;
    request.headers.items = std::move(headers);
    auto peer = std::make_shared<wire::Peer>();
    peer->certificate_der = std::move(der);
    peer->certificate_verified = verified;
    request.peer = peer;
    return c.auth.authenticate(request);
  }
  Result<UserHandle> bearer(const std::string& token) { return who({{"authorization", "Bearer " + token}}); }
  std::string why_not(const Result<UserHandle>& result) {
    if (result) return "good: " + (*result)->name;
    EXPECT_EQ(result.error().code, 401) << result.error().message;
    return result.error().message;
  }

  // --- certificates
  pki::Authority authority = *pki::Authority::create("kubernetes", {}, c.now() + 10 * 365 * 24h, *c.random);
  pki::Certificate certificate(std::string name, std::vector<std::string> groups, WallTime end, bool client = true) {
    pki::CertificateSpec spec{.subject = {std::move(name), std::move(groups)}, .not_before = {}, .not_after = end};
    spec.usages.client_auth = client;
    spec.usages.server_auth = !client;
    return pki::issue_pair(authority, spec, *c.random)->certificate;
  }

  // --- bootstrap tokens
  void put_token(const pki::BootstrapTokenFacts& facts) {
    std::string data;
    for (const auto& [key, value] : pki::bootstrap_token_secret_data(token, facts))
      data += (data.empty() ? "\"" : ",\"") + key + "\":\"" + base64_encode(value) + "\"";
    const auto made =
        c.make("secrets", "kube-system",
               R"({"metadata":{"name":"bootstrap-token-abcdef"},"type":"bootstrap.kubernetes.io/token","data":{)" +
                   data + "}}");
    EXPECT_FALSE(made.error) << made.error->message;
  }
  const pki::BootstrapToken token{"abcdef", "0123456789abcdef"};

  // --- service accounts
  void make_account(const std::string& name) {
    const auto made = c.make("serviceaccounts", "default", R"({"metadata":{"name":")" + name + "\"}}");
    EXPECT_FALSE(made.error) << made.error->message;
  }
  ApiResponse ask_token(const std::string& spec = "{}", UserHandle asker = nullptr,
                        const std::string& account = "web") {
    return c.call(asker ? asker : c.admin, "create", "serviceaccounts", "default", account, "{\"spec\":" + spec + "}",
                  "token");
  }
  std::string token_of(const ApiResponse& response) {
    EXPECT_FALSE(response.error) << response.error->message;
    return response.document ? std::string(authentication_v1::TokenRequest(*response.document).status().token()) : "";
  }
  void make_pod(const std::string& name, const std::string& node) {
    const auto made =
        c.make("pods", "default",
               R"({"metadata":{"name":")" + name + R"("},"spec":{"serviceAccountName":"web","nodeName":")" + node +
                   R"(","containers":[{"name":"c","image":"i"}]}})");
    EXPECT_FALSE(made.error) << made.error->message;
  }
  std::string bound_to_pod(const std::string& name, const std::string& seconds = "3600") {
    const schema::Document pod = c.get("pods", "default", name);
    return R"({"expirationSeconds":)" + seconds + R"(,"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":")" +
           name + R"(","uid":")" + std::string(core_v1::Pod(pod).metadata().uid()) + "\"}}";
  }
};

TEST_F(AuthTest, WithoutCredentialsAnonymous) {
  const auto user = who({});
  ASSERT_TRUE(user);
  EXPECT_EQ((*user)->name, "system:anonymous");
  EXPECT_THAT((*user)->groups, ElementsAre("system:unauthenticated"));
  EXPECT_EQ((*who({{"authorization", "Basic YTpi"}}))->name, "system:anonymous")
      << "an unknown scheme is no credential";
}

TEST_F(AuthTest, CertificatesSayWhoAndWhichGroups) {
  const pki::Certificate cert = certificate("system:node:n1", {"system:nodes"}, c.now() + 24h);
  const auto user = who({}, cert.der());
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ((*user)->name, "system:node:n1");
  EXPECT_THAT((*user)->groups, ElementsAre("system:nodes", "system:authenticated"));
  EXPECT_THAT((*user)->extra, ElementsAre(Pair("authentication.kubernetes.io/credential-id",
                                               ElementsAre("X509SHA256=" + cert.fingerprint()))));
  EXPECT_EQ(who({}, cert.der())->get(), user->get()) << "judged once";
}

TEST_F(AuthTest, BadCertificatesAreRefusedNotAnonymous) {
  const pki::Certificate cert = certificate("ann", {}, c.now() + 24h);
  EXPECT_THAT(why_not(who({}, cert.der(), false)), HasSubstr("not signed by"));
  EXPECT_THAT(why_not(who({}, "garbage")), HasSubstr("cannot be read"));
  EXPECT_THAT(why_not(who({}, certificate("ann", {}, c.now() + 24h, false).der())),
              HasSubstr("not for client authentication"));
  EXPECT_TRUE(who({}, cert.der()));
  c.executor.advance(25h);
  EXPECT_THAT(why_not(who({}, cert.der())), HasSubstr("valid from"));
}

TEST_F(AuthTest, RevokedCertificatesAreRefused) {
  const pki::Certificate cert = certificate("ann", {}, c.now() + 24h);
  EXPECT_TRUE(who({}, cert.der()));
  c.revoked = cert.fingerprint();
  EXPECT_THAT(why_not(who({}, cert.der())), HasSubstr("revoked"));
}

TEST_F(AuthTest, BootstrapTokens) {
  put_token({.expiration = c.now() + 24h});
  const auto user = bearer(token.text());
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ((*user)->name, "system:bootstrap:abcdef");
  EXPECT_THAT((*user)->groups, ElementsAre("system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token",
                                           "system:authenticated"));
  EXPECT_THAT(why_not(bearer("abcdef.0123456789abcdeg")), HasSubstr("another secret"));
  EXPECT_THAT(why_not(bearer("abcdeg.0123456789abcdef")), HasSubstr("unknown"));
  EXPECT_THAT(why_not(bearer("nonsense")), HasSubstr("neither a service account token nor a bootstrap token"));
  c.executor.advance(24h);
  EXPECT_THAT(why_not(bearer(token.text())), HasSubstr("expired at "));
}

TEST_F(AuthTest, BootstrapTokensThatAreNotForThis) {
  put_token({.authentication = false});
  EXPECT_THAT(why_not(bearer(token.text())), HasSubstr("not for authentication"));
}

TEST_F(AuthTest, BootstrapTokensCannotReachOtherGroups) {
  put_token({.extra_groups = {"system:masters"}});
  EXPECT_THAT(why_not(bearer(token.text())), HasSubstr("asks for the group system:masters"));
}

TEST_F(AuthTest, DeletedBootstrapTokensEnd) {
  put_token({});
  EXPECT_TRUE(bearer(token.text()));
  c.call(c.admin, "delete", "secrets", "kube-system", "bootstrap-token-abcdef");
  EXPECT_THAT(why_not(bearer(token.text())), HasSubstr("unknown"));
}

TEST_F(AuthTest, ServiceAccountTokens) {
  make_account("web");
  const std::string jwt = token_of(ask_token());
  const auto user = bearer(jwt);
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ((*user)->name, "system:serviceaccount:default:web");
  EXPECT_THAT((*user)->groups,
              ElementsAre("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"));
  EXPECT_EQ((*user)->extra.at(0).second.at(0).substr(0, 4), "JTI=");
  EXPECT_FALSE(bearer(jwt + "x"));
  c.executor.advance(59min);
  EXPECT_TRUE(bearer(jwt));
  c.executor.advance(2min);
  EXPECT_THAT(why_not(bearer(jwt)), HasSubstr("expired"));
}

TEST_F(AuthTest, RevokedTokens) {
  make_account("web");
  const std::string jwt = token_of(ask_token());
  c.revoked = (*bearer(jwt))->extra.at(0).second.at(0).substr(4);
  EXPECT_THAT(why_not(bearer(jwt)), HasSubstr("revoked"));
}

TEST_F(AuthTest, TokensEndWithTheirAccountAlsoWhenItIsMadeAgain) {
  make_account("web");
  const std::string jwt = token_of(ask_token());
  EXPECT_TRUE(bearer(jwt));
  c.call(c.admin, "delete", "serviceaccounts", "default", "web");
  EXPECT_THAT(why_not(bearer(jwt)), HasSubstr("is gone: serviceaccounts web"));
  make_account("web");
  EXPECT_THAT(why_not(bearer(jwt)), HasSubstr("is gone")) << "another uid";
}

TEST_F(AuthTest, TokensEndWithTheirPod) {
  make_account("web");
  make_pod("p", "n1");
  const std::string jwt = token_of(ask_token(bound_to_pod("p")));
  const auto user = bearer(jwt);
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_THAT((*user)->extra, testing::Contains(Pair("authentication.kubernetes.io/pod-name", ElementsAre("p"))));
  EXPECT_THAT((*user)->extra, testing::Contains(Pair("authentication.kubernetes.io/node-name", ElementsAre("n1"))));
  c.call(c.admin, "delete", "pods", "default", "p", R"({"gracePeriodSeconds":0})");
  EXPECT_THAT(why_not(bearer(jwt)), HasSubstr("is gone: pods p"));
}

TEST_F(AuthTest, TokensAreForTheirAudience) {
  make_account("web");
  const std::string jwt = token_of(ask_token(R"({"audiences":["vault"]})"));
  EXPECT_THAT(why_not(bearer(jwt)), HasSubstr("other audiences"));
  const auto review = c.make("authentication.k8s.io/tokenreviews", "",
                             R"({"spec":{"token":")" + jwt + R"(","audiences":["vault","x"]}})");
  const authentication_v1::TokenReview answer(*review.document);
  EXPECT_TRUE(answer.status().authenticated());
  EXPECT_EQ(answer.status().user().username(), "system:serviceaccount:default:web");
  EXPECT_EQ(answer.status().audiences().size(), 1u);
}

TEST_F(AuthTest, TokenRequestsAreChecked) {
  make_account("web");
  make_account("other");
  make_pod("p", "n1");
  EXPECT_THAT(TestCluster::message(ask_token(R"({"expirationSeconds":10})")),
              HasSubstr("may not specify a duration less than 10 minutes"));
  EXPECT_EQ(TestCluster::message(ask_token("{}", nullptr, "nobody")), "serviceaccounts \"nobody\" not found");
  EXPECT_THAT(TestCluster::message(ask_token(bound_to_pod("p"), nullptr, "other")),
              HasSubstr("different serviceaccount name"));
  EXPECT_THAT(
      TestCluster::message(ask_token(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":"x"}})")),
      HasSubstr("does not match the UID in record"));
  EXPECT_THAT(TestCluster::message(ask_token(R"({"boundObjectRef":{"apiVersion":"v1","kind":"Service","name":"p"}})")),
              HasSubstr("cannot bind token to object of type"));
}

TEST_F(AuthTest, NodesMakeTokensForTheirPodsOnly) {
  make_account("web");
  make_pod("p", "n1");
  EXPECT_FALSE(token_of(ask_token(bound_to_pod("p"), TestCluster::node("n1"))).empty());
  EXPECT_THAT(TestCluster::message(ask_token("{}", TestCluster::node("n1"))),
              HasSubstr("node requested token not bound to a pod"));
  const ApiResponse other = ask_token(bound_to_pod("p"), TestCluster::node("n2"));
  ASSERT_TRUE(other.error);
  EXPECT_EQ(other.error->code, 403);
}

TEST_F(AuthTest, TheVolumesTokenIsMadeToLast) {
  make_account("web");
  make_pod("p", "n1");
  const std::string jwt = token_of(ask_token(bound_to_pod("p", "3607")));
  c.executor.advance(48h);
  EXPECT_TRUE(bearer(jwt)) << "warns after an hour, ends with the pod";
}

TEST_F(AuthTest, AVerifiedTokenReviewOfNonsenseSaysNo) {
  const auto review = c.make("authentication.k8s.io/tokenreviews", "", R"({"spec":{"token":"nonsense"}})");
  ASSERT_FALSE(review.error);
  const authentication_v1::TokenReview answer(*review.document);
  EXPECT_FALSE(answer.status().authenticated());
  EXPECT_FALSE(answer.status().error().empty());
}

// --- impersonation

TEST_F(AuthTest, ImpersonationNeedsTheRight) {
  const std::string admin = certificate("root", {"system:masters"}, c.now() + 24h).der();
  const std::string ann = certificate("ann", {}, c.now() + 24h).der();
  const auto bob = who({{"impersonate-user", "bob"},
                        {"impersonate-group", "team"},
                        {"impersonate-extra-scopes%2fa", "x"},
                        {"impersonate-uid", "7"}},
                       admin);
  ASSERT_TRUE(bob) << bob.error().message;
  EXPECT_EQ((*bob)->name, "bob");
  EXPECT_EQ((*bob)->uid, "7");
  EXPECT_THAT((*bob)->groups, ElementsAre("team", "system:authenticated"));
  EXPECT_THAT((*bob)->extra, ElementsAre(Pair("scopes/a", ElementsAre("x"))));
  const auto account = who({{"impersonate-user", "system:serviceaccount:dev:web"}}, admin);
  EXPECT_THAT((*account)->groups,
              ElementsAre("system:serviceaccounts", "system:serviceaccounts:dev", "system:authenticated"));
  const auto refused = who({{"impersonate-user", "bob"}}, ann);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 403);
  EXPECT_EQ(refused.error().message,
            R"(users "bob" is forbidden: User "ann" cannot impersonate resource "users" in API group "" at the )"
            R"(cluster scope)");
  EXPECT_EQ(who({{"impersonate-group", "system:masters"}}, admin).error().code, 400);
}

// --- reviews

TEST_F(AuthTest, SubjectAccessReviews) {
  const auto ask = [&](const std::string& spec) {
    return c.make("authorization.k8s.io/subjectaccessreviews", "", "{\"spec\":" + spec + "}");
  };
  const auto yes = ask(R"({"user":"ann","groups":["kubeadm:cluster-admins"],"resourceAttributes":{"verb":"get",)"
                       R"("resource":"pods","namespace":"x"}})");
  ASSERT_FALSE(yes.error) << yes.error->message;
  const auto status = authorization_v1::SubjectAccessReview(*yes.document).status();
  EXPECT_TRUE(status.allowed());
  EXPECT_EQ(status.reason(),
            R"(RBAC: allowed by ClusterRoleBinding "kubeadm:cluster-admins" of ClusterRole "cluster-admin" to )"
            R"(Group "kubeadm:cluster-admins")");
  const auto no = ask(R"({"user":"ann","nonResourceAttributes":{"verb":"get","path":"/metrics"}})");
  EXPECT_FALSE(authorization_v1::SubjectAccessReview(*no.document).status().allowed());
  EXPECT_TRUE(authorization_v1::SubjectAccessReview(*no.document).status().has_allowed());
  EXPECT_EQ(ask(R"({"user":"ann"})").error->code, 422);
  EXPECT_EQ(ask(R"({"resourceAttributes":{"verb":"get","resource":"pods"}})").error->code, 422);
  const auto local =
      c.make("authorization.k8s.io/localsubjectaccessreviews", "default",
             R"({"spec":{"user":"ann","resourceAttributes":{"verb":"get","resource":"pods","namespace":"other"}}})");
  EXPECT_THAT(local.error->message, HasSubstr("must match metadata.namespace"));
}

TEST_F(AuthTest, SelfReviews) {
  const UserHandle ann = TestCluster::user("ann");
  const auto access =
      c.make("authorization.k8s.io/selfsubjectaccessreviews", "",
             R"({"spec":{"resourceAttributes":{"verb":"list","resource":"pods","namespace":"default"}}})", ann);
  ASSERT_FALSE(access.error) << access.error->message;
  EXPECT_FALSE(authorization_v1::SelfSubjectAccessReview(*access.document).status().allowed());
  const auto rules =
      c.make("authorization.k8s.io/selfsubjectrulesreviews", "", R"({"spec":{"namespace":"default"}})", ann);
  ASSERT_FALSE(rules.error) << rules.error->message;
  const auto status = authorization_v1::SelfSubjectRulesReview(*rules.document).status();
  EXPECT_GE(status.resourceRules().size(), 2u);
  EXPECT_GE(status.nonResourceRules().size(), 2u);
  const auto self = c.make("authentication.k8s.io/selfsubjectreviews", "", "{}", ann);
  EXPECT_EQ(authentication_v1::SelfSubjectReview(*self.document).status().userInfo().username(), "ann");
  EXPECT_EQ(c.make("authentication.k8s.io/selfsubjectreviews", "", "{}", anonymous_user()).error->code, 403);
}

// --- bootstrap objects

TEST_F(AuthTest, BootstrapObjectsAreThereAndASecondStartWritesNothing) {
  c.get("namespaces", "", "kube-node-lease");
  c.get("scheduling.k8s.io/priorityclasses", "", "system-node-critical");
  c.get("rbac.authorization.k8s.io/clusterroles", "", "cluster-admin");
  c.get("rbac.authorization.k8s.io/rolebindings", "kube-public", "kubeadm:bootstrap-signer-clusterinfo");
  const schema::Document made = c.get("apiregistration.k8s.io/apiservices", "", "v1.apps");
  const apiregistration_v1::APIService apps(made);
  EXPECT_EQ(apps.spec().groupPriorityMinimum(), 17800);
  EXPECT_EQ(apps.status().conditions().front().reason(), "Local");
  const store::Revision before = c.store->revision();
  EXPECT_TRUE(ensure_bootstrap_objects(c.api));
  EXPECT_EQ(c.store->revision(), before);
}

TEST(LocalServices, EveryGroupVersionButTheirOwnHasOne) {
  std::vector<const schema::Resource*> all(kinds::resources().begin(), kinds::resources().end());
  const Catalog catalog(all);
  std::set<std::string> names;
  for (const BootstrapObject& service : local_services(catalog))
    names.insert(std::string(apiregistration_v1::APIService(service.object).metadata().name()));
  std::set<std::string> wanted;
  for (const Catalog::Group& group : catalog.groups())
    for (const std::string_view version : group.versions)
      if (group.name != "apiregistration.k8s.io") wanted.insert(std::string(version) + "." + std::string(group.name));
  EXPECT_EQ(names, wanted);
  EXPECT_TRUE(names.contains("v1."));
}

TEST_F(AuthTest, MissingRulesAndSubjectsComeBackOwnOnesStay) {
  const auto put = [&](std::string_view path, const std::string& name, schema::Document object) {
    const auto response = c.call(c.admin, "update", path, "", name, schema::to_json(object));
    EXPECT_FALSE(response.error) << response.error->message;
  };
  schema::Document role = c.get("rbac.authorization.k8s.io/clusterroles", "", "system:kube-scheduler");
  rbac_v1::ClusterRole(role).clear_rules();
  const auto own = rbac_v1::ClusterRole(role).add_rules();
  own.add_verbs("get");
  own.add_apiGroups("mine");
  own.add_resources("things");
  put("rbac.authorization.k8s.io/clusterroles", "system:kube-scheduler", std::move(role));
  schema::Document binding = c.get("rbac.authorization.k8s.io/clusterrolebindings", "", "cluster-admin");
  rbac_v1::ClusterRoleBinding(binding).clear_subjects();
  put("rbac.authorization.k8s.io/clusterrolebindings", "cluster-admin", std::move(binding));
  schema::Document frozen = c.get("rbac.authorization.k8s.io/clusterrolebindings", "", "system:discovery");
  rbac_v1::ClusterRoleBinding(frozen).clear_subjects();
  rbac_v1::ClusterRoleBinding(frozen).mutable_metadata().set_annotations("rbac.authorization.kubernetes.io/autoupdate",
                                                                         "false");
  put("rbac.authorization.k8s.io/clusterrolebindings", "system:discovery", std::move(frozen));
  ASSERT_TRUE(ensure_bootstrap_objects(c.api));
  const schema::Document mended = c.get("rbac.authorization.k8s.io/clusterroles", "", "system:kube-scheduler");
  EXPECT_GT(rbac_v1::ClusterRole(mended).rules().size(), 5u);
  EXPECT_EQ(rbac_v1::ClusterRole(mended).rules().front().apiGroups().front(), "mine");
  EXPECT_EQ(rbac_v1::ClusterRoleBinding(c.get("rbac.authorization.k8s.io/clusterrolebindings", "", "cluster-admin"))
                .subjects()
                .size(),
            1u);
  EXPECT_EQ(rbac_v1::ClusterRoleBinding(c.get("rbac.authorization.k8s.io/clusterrolebindings", "", "system:discovery"))
                .subjects()
                .size(),
            0u);
}

TEST_F(AuthTest, RightsFollowWrites) {
  const UserHandle ann = TestCluster::user("ann");
  EXPECT_EQ(TestCluster::message(c.call(ann, "list", "pods", "default", "")),
            R"(pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default")");
  c.make(
      "rbac.authorization.k8s.io/rolebindings", "default",
      R"({"metadata":{"name":"v"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},
             "subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"ann"}]})");
  EXPECT_EQ(TestCluster::message(c.call(ann, "list", "pods", "default", "")), "good");
  c.call(c.admin, "delete", "rbac.authorization.k8s.io/rolebindings", "default", "v");
  EXPECT_NE(TestCluster::message(c.call(ann, "list", "pods", "default", "")), "good");
}

}  // namespace
}  // namespace dure::apiserver
