#include "apiserver/auth/rbac.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/auth/user.h"

namespace dure::apiserver {
namespace {

using testing::HasSubstr;

User user(std::string name, std::vector<std::string> groups = {}) {
  return {.name = std::move(name), .uid = {}, .groups = std::move(groups), .extra = {}};
}
Attributes on(std::string_view verb, std::string_view group, std::string_view resource, std::string_view ns = "",
              std::string_view name = "", std::string_view sub = "") {
  return {.verb = verb,
          .group = group,
          .version = "v1",
          .resource = resource,
          .subresource = sub,
          .namespace_ = ns,
          .name = name};
}

struct RuleCase {
  const char* what;
  PolicyRule rule;
  Attributes asked;
  bool allowed;
};

TEST(RbacRule, Table) {
  const PolicyRule pods{.verbs = {"get", "list"}, .api_groups = {""}, .resources = {"pods"}};
  const PolicyRule logs{.verbs = {"get"}, .api_groups = {""}, .resources = {"pods/log"}};
  const PolicyRule scales{.verbs = {"*"}, .api_groups = {"*"}, .resources = {"*/scale"}};
  const PolicyRule named{.verbs = {"get"}, .api_groups = {""}, .resources = {"secrets"}, .resource_names = {"a", "b"}};
  const PolicyRule all{.verbs = {"*"}, .api_groups = {"*"}, .resources = {"*"}};
  const PolicyRule health{.verbs = {"get"}, .non_resource_urls = {"/healthz", "/healthz/*", "/api*"}};
  const RuleCase cases[] = {
      {"verb and resource", pods, on("get", "", "pods", "x"), true},
      {"other verb", pods, on("delete", "", "pods", "x"), false},
      {"other group", pods, on("get", "metrics.k8s.io", "pods", "x"), false},
      {"a resource does not include its subresources", pods, on("get", "", "pods", "x", "p", "log"), false},
      {"subresource", logs, on("get", "", "pods", "x", "p", "log"), true},
      {"a subresource does not include its resource", logs, on("get", "", "pods", "x", "p"), false},
      {"any scale", scales, on("update", "apps", "deployments", "x", "d", "scale"), true},
      {"only scale", scales, on("update", "apps", "deployments", "x", "d", "status"), false},
      {"not the parent", scales, on("update", "apps", "deployments", "x", "d"), false},
      {"one of the names", named, on("get", "", "secrets", "x", "b"), true},
      {"another name", named, on("get", "", "secrets", "x", "c"), false},
      {"names do not match a list", named, on("get", "", "secrets", "x"), false},
      {"stars match everything", all, on("use", "any.io", "things", "x", "t", "sub"), true},
      {"resources are not paths", all, {.verb = "get", .path = "/healthz"}, false},
      {"path", health, {.verb = "get", .path = "/healthz"}, true},
      {"below a path", health, {.verb = "get", .path = "/healthz/etcd"}, true},
      {"star inside a word", health, {.verb = "get", .path = "/apis/apps"}, true},
      {"another path", health, {.verb = "get", .path = "/metrics"}, false},
      {"paths are not resources", health, on("get", "", "pods"), false},
  };
  for (const RuleCase& c : cases) EXPECT_EQ(rule_allows(c.rule, c.asked), c.allowed) << c.what;
}

TEST(RbacRule, CoveringIsRightByRight) {
  const PolicyRules held{{.verbs = {"get", "list"}, .api_groups = {""}, .resources = {"pods", "*/scale"}},
                         {.verbs = {"get"}, .api_groups = {""}, .resources = {"secrets"}, .resource_names = {"a"}},
                         {.verbs = {"get"}, .non_resource_urls = {"/logs/*"}}};
  EXPECT_TRUE(not_covered(held, {{.verbs = {"get"}, .api_groups = {""}, .resources = {"pods"}}}).empty());
  EXPECT_TRUE(
      not_covered(held, {{.verbs = {"get"}, .api_groups = {""}, .resources = {"secrets"}, .resource_names = {"a"}}})
          .empty());
  EXPECT_TRUE(not_covered(held, {{.verbs = {"get"}, .non_resource_urls = {"/logs/x"}}}).empty());
  EXPECT_TRUE(not_covered(held, {{.verbs = {"get"}, .api_groups = {""}, .resources = {"replicationcontrollers/scale"}}})
                  .empty());
  // All names is more than one name; one star is more than two verbs.
  EXPECT_EQ(not_covered(held, {{.verbs = {"get"}, .api_groups = {""}, .resources = {"secrets"}}}).size(), 1u);
  EXPECT_EQ(not_covered(held, {{.verbs = {"*"}, .api_groups = {""}, .resources = {"pods"}}}).size(), 1u);
  EXPECT_EQ(not_covered(held, {{.verbs = {"get"}, .non_resource_urls = {"*"}}}).size(), 1u);
  EXPECT_EQ(
      not_covered(held, {{.verbs = {"get", "delete", "watch"}, .api_groups = {"", "apps"}, .resources = {"pods"}}})
          .size(),
      5u);
}

TEST(RbacRule, TextIsUpstreams) {
  EXPECT_EQ(rule_text({.verbs = {"get", "list"}, .api_groups = {""}, .resources = {"pods"}, .resource_names = {"a"}}),
            R"({APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get" "list"]})");
  EXPECT_EQ(rule_text({.verbs = {"get"}, .non_resource_urls = {"/x"}}), R"({NonResourceURLs:["/x"], Verbs:["get"]})");
}

class RbacTest : public testing::Test {
 protected:
  RbacTest() {
    rbac.put_role({.namespace_ = "",
                   .name = "reader",
                   .rules = {{.verbs = {"get", "list"}, .api_groups = {""}, .resources = {"pods"}}}});
    rbac.put_role({.namespace_ = "dev",
                   .name = "writer",
                   .rules = {{.verbs = {"create"}, .api_groups = {""}, .resources = {"pods"}}}});
  }
  bool allowed(const User& who, const Attributes& what) { return rbac.decide(who, what).allowed(); }
  Rbac rbac;
};

TEST_F(RbacTest, NobodyMayAnythingAtFirst) {
  EXPECT_FALSE(allowed(user("ann", {"system:authenticated"}), on("get", "", "pods", "dev")));
}

TEST_F(RbacTest, ClusterBindingsHoldEverywhereAndRoleBindingsInTheirNamespace) {
  rbac.put_binding(
      {.namespace_ = "", .name = "b", .role = "reader", .subjects = {{.kind = Subject::Kind::group, .name = "team"}}});
  rbac.put_binding(
      {.namespace_ = "dev", .name = "b", .to_cluster_role = false, .role = "writer", .subjects = {{.name = "ann"}}});
  const User ann = user("ann", {"team"});
  EXPECT_TRUE(allowed(ann, on("list", "", "pods")));
  EXPECT_TRUE(allowed(ann, on("list", "", "pods", "prod")));
  EXPECT_TRUE(allowed(ann, on("create", "", "pods", "dev")));
  EXPECT_FALSE(allowed(ann, on("create", "", "pods", "prod")));
  EXPECT_FALSE(allowed(ann, on("create", "", "pods")));
  EXPECT_FALSE(allowed(user("bob"), on("list", "", "pods")));
}

TEST_F(RbacTest, AClusterRoleBoundInANamespaceHoldsOnlyThere) {
  rbac.put_binding({.namespace_ = "dev", .name = "r", .role = "reader", .subjects = {{.name = "ann"}}});
  EXPECT_TRUE(allowed(user("ann"), on("get", "", "pods", "dev", "p")));
  EXPECT_FALSE(allowed(user("ann"), on("get", "", "pods", "prod", "p")));
  EXPECT_FALSE(allowed(user("ann"), on("list", "", "pods")));
}

TEST_F(RbacTest, ServiceAccountsAreSubjects) {
  rbac.put_binding({.namespace_ = "dev",
                    .name = "s",
                    .role = "reader",
                    .subjects = {{.kind = Subject::Kind::service_account, .name = "web"},
                                 {.kind = Subject::Kind::service_account, .name = "ci", .namespace_ = "tools"}}});
  EXPECT_TRUE(allowed(user("system:serviceaccount:dev:web"), on("get", "", "pods", "dev")));
  EXPECT_TRUE(allowed(user("system:serviceaccount:tools:ci"), on("get", "", "pods", "dev")));
  EXPECT_FALSE(allowed(user("system:serviceaccount:dev:ci"), on("get", "", "pods", "dev")));
}

TEST_F(RbacTest, ChangesTakeEffectAtOnce) {
  const User ann = user("ann");
  const Attributes get = on("get", "", "pods", "dev");
  rbac.put_binding({.namespace_ = "", .name = "b", .role = "later", .subjects = {{.name = "ann"}}});
  EXPECT_EQ(rbac.decide(ann, get).reason, "RBAC: clusterrole.rbac.authorization.k8s.io \"later\" not found");
  rbac.put_role(
      {.namespace_ = "", .name = "later", .rules = {{.verbs = {"get"}, .api_groups = {""}, .resources = {"pods"}}}});
  EXPECT_TRUE(allowed(ann, get));
  rbac.put_role({.namespace_ = "", .name = "later", .rules = {}});
  EXPECT_FALSE(allowed(ann, get));
  rbac.put_role(
      {.namespace_ = "", .name = "later", .rules = {{.verbs = {"*"}, .api_groups = {""}, .resources = {"*"}}}});
  EXPECT_TRUE(allowed(ann, get));
  rbac.remove_role("", "later");
  EXPECT_FALSE(allowed(ann, get));
  rbac.put_binding({.namespace_ = "", .name = "b", .role = "reader", .subjects = {{.name = "bob"}, {.name = "bob"}}});
  EXPECT_FALSE(allowed(ann, get));
  EXPECT_TRUE(allowed(user("bob"), get));
  rbac.remove_binding("", "b");
  EXPECT_FALSE(allowed(user("bob"), get));
  rbac.remove_binding("", "b");
}

TEST_F(RbacTest, ReasonsNameTheBinding) {
  rbac.put_binding({.namespace_ = "",
                    .name = "all",
                    .role = "reader",
                    .subjects = {{.kind = Subject::Kind::group, .name = "team"}}});
  rbac.put_binding({.namespace_ = "dev",
                    .name = "b",
                    .to_cluster_role = false,
                    .role = "writer",
                    .subjects = {{.kind = Subject::Kind::service_account, .name = "web", .namespace_ = "dev"}}});
  EXPECT_EQ(rbac.decide(user("ann", {"team"}), on("get", "", "pods"), true).reason,
            R"(RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "team")");
  EXPECT_EQ(rbac.decide(user("system:serviceaccount:dev:web"), on("create", "", "pods", "dev"), true).reason,
            R"(RBAC: allowed by RoleBinding "b/dev" of Role "writer" to ServiceAccount "web/dev")");
}

TEST_F(RbacTest, AggregationFollowsLabels) {
  const LabelRule to_edit{"aggregate-to-edit", LabelRule::Operator::in, {"true"}};
  const LabelRule to_admin{"aggregate-to-admin", LabelRule::Operator::in, {"true"}};
  rbac.put_role({.namespace_ = "",
                 .name = "edit",
                 .rules = {{.verbs = {"*"}, .api_groups = {"*"}, .resources = {"*"}}},
                 .labels = {{"aggregate-to-admin", "true"}},
                 .aggregation = {{{to_edit}}}});
  rbac.put_role({.namespace_ = "", .name = "admin", .rules = {}, .aggregation = {{{to_admin}}}});
  rbac.put_binding({.namespace_ = "", .name = "b", .role = "admin", .subjects = {{.name = "ann"}}});
  const Attributes get = on("get", "x.io", "things", "dev");
  EXPECT_FALSE(allowed(user("ann"), get)) << "rules of an aggregated role itself do not count";
  rbac.put_role({.namespace_ = "",
                 .name = "things",
                 .rules = {{.verbs = {"get"}, .api_groups = {"x.io"}, .resources = {"things"}}},
                 .labels = {{"aggregate-to-edit", "true"}}});
  EXPECT_TRUE(allowed(user("ann"), get)) << "through edit into admin";
  rbac.remove_role("", "things");
  EXPECT_FALSE(allowed(user("ann"), get));
}

TEST_F(RbacTest, AggregationMayRunInCircles) {
  const LabelRule circle{"c", LabelRule::Operator::exists, {}};
  rbac.put_role({.namespace_ = "", .name = "a", .rules = {}, .labels = {{"c", ""}}, .aggregation = {{{circle}}}});
  rbac.put_role({.namespace_ = "", .name = "b", .rules = {}, .labels = {{"c", ""}}, .aggregation = {{{circle}}}});
  EXPECT_TRUE(rbac.role_rules("", "a")->empty());
}

TEST(RbacSentence, IsUpstreams) {
  const User who = user("x");
  EXPECT_EQ(refused_request(who, on("list", "", "pods", "default")).message,
            R"(pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default")");
  EXPECT_EQ(refused_request(who, on("get", "apps", "deployments", "default", "d", "scale")).message,
            R"(deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API )"
            R"(group "apps" in the namespace "default")");
  EXPECT_EQ(
      refused_request(who, on("list", "", "nodes"), "because").message,
      R"(nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope: because)");
  EXPECT_EQ(refused_request(user("a\"<b>"), {.verb = "get", .path = "/metrics"}).message,
            R"(forbidden: User "a\"&lt;b&gt;" cannot get path "/metrics")");
  const Error error = refused_request(who, on("get", "apps", "deployments", "default", "d"));
  EXPECT_EQ(error.code, 403);
  EXPECT_EQ(error.details_group, "apps");
  EXPECT_EQ(error.details_kind, "deployments");
  EXPECT_EQ(error.details_name, "d");
}

TEST_F(RbacTest, NobodyGrantsWhatTheyDoNotHold) {
  rbac.put_binding({.namespace_ = "dev", .name = "b", .role = "reader", .subjects = {{.name = "ann"}}});
  const Attributes write = on("create", "rbac.authorization.k8s.io", "roles", "dev", "new");
  EXPECT_TRUE(
      check_no_escalation(rbac, user("ann"), write, {{.verbs = {"get"}, .api_groups = {""}, .resources = {"pods"}}}));
  const Status status =
      check_no_escalation(rbac, user("ann", {"g", "h"}), write,
                          {{.verbs = {"get", "delete"}, .api_groups = {""}, .resources = {"pods", "secrets"}}});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "roles.rbac.authorization.k8s.io \"new\" is forbidden: user \"ann\" (groups=[\"g\" "
            "\"h\"]) is attempting to grant RBAC "
            "permissions not currently held:\n"
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}\n"
            "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\"]}");
}

// --- the policy of a new cluster

class BootstrapPolicyTest : public testing::Test {
 protected:
  BootstrapPolicyTest() {
    for (const std::string_view rows : {bootstrap_policy_rows, joining_policy_rows}) {
      auto text = parse_policy(rows);
      EXPECT_TRUE(text) << text.error().message;
      for (Role& role : text->roles) rbac.put_role(std::move(role)), ++roles;
      for (Binding& binding : text->bindings) rbac.put_binding(std::move(binding)), ++bindings;
    }
  }
  bool may(const User& who, const Attributes& what) { return rbac.decide(who, what).allowed(); }
  Rbac rbac;
  int roles = 0, bindings = 0;
};

TEST_F(BootstrapPolicyTest, HasAllOfIt) {
  EXPECT_GE(roles, 80);
  EXPECT_GE(bindings, 60);
}

TEST_F(BootstrapPolicyTest, AdministratorsMayEverything) {
  const User admin = user("kubernetes-admin", {"kubeadm:cluster-admins", "system:authenticated"});
  EXPECT_TRUE(may(admin, on("delete", "any.io", "things", "x", "y", "z")));
  EXPECT_TRUE(may(admin, {.verb = "get", .path = "/anything"}));
}

TEST_F(BootstrapPolicyTest, EverybodyMayLookAround) {
  const User ann = user("ann", {"system:authenticated"});
  EXPECT_TRUE(may(ann, {.verb = "get", .path = "/apis/apps/v1"}));
  EXPECT_TRUE(may(ann, {.verb = "get", .path = "/version"}));
  EXPECT_TRUE(may(ann, on("create", "authorization.k8s.io", "selfsubjectaccessreviews")));
  EXPECT_TRUE(may(ann, on("create", "authentication.k8s.io", "selfsubjectreviews")));
  EXPECT_FALSE(may(ann, on("list", "", "pods", "default")));
  EXPECT_TRUE(may(*anonymous_user(), {.verb = "get", .path = "/healthz"}));
  EXPECT_FALSE(may(*anonymous_user(), {.verb = "get", .path = "/apis"}));
  EXPECT_TRUE(may(*anonymous_user(), on("get", "", "configmaps", "kube-public", "cluster-info")));
  EXPECT_FALSE(may(*anonymous_user(), on("get", "", "configmaps", "kube-public", "other")));
}

TEST_F(BootstrapPolicyTest, EditIsEditAndNotMore) {
  rbac.put_binding({.namespace_ = "dev", .name = "e", .role = "edit", .subjects = {{.name = "ann"}}});
  EXPECT_TRUE(may(user("ann"), on("update", "apps", "deployments", "dev", "d", "scale")));
  EXPECT_TRUE(may(user("ann"), on("get", "", "pods", "dev", "p", "log"))) << "view flows into edit";
  EXPECT_FALSE(may(user("ann"), on("create", "rbac.authorization.k8s.io", "rolebindings", "dev")));
}

TEST_F(BootstrapPolicyTest, AMachineMayJoin) {
  const User newcomer =
      user("system:bootstrap:abcdef", {"system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"});
  EXPECT_TRUE(may(newcomer, on("create", "certificates.k8s.io", "certificatesigningrequests")));
  EXPECT_TRUE(may(newcomer, on("create", "certificates.k8s.io", "certificatesigningrequests", "", "", "nodeclient")));
  EXPECT_TRUE(may(newcomer, on("get", "", "nodes", "", "n1")));
  EXPECT_TRUE(may(newcomer, on("get", "", "configmaps", "kube-system", "kubeadm-config")));
  EXPECT_FALSE(may(newcomer, on("list", "", "secrets", "kube-system")));
  EXPECT_TRUE(may(user("system:node:n1", {"system:nodes"}),
                  on("create", "certificates.k8s.io", "certificatesigningrequests", "", "", "selfnodeclient")));
}

TEST(BootstrapPolicy, RefusesRowsItDoesNotUnderstand) {
  for (const char* bad : {"nonsense", "clusterrole", "clusterrole a b=c", "  get core pods",
                          "clusterbinding a ClusterRole/b who=x", "clusterrole a\n  get core", "binding a/b"})
    EXPECT_FALSE(parse_policy(bad)) << bad;
}

}  // namespace
}  // namespace dure::apiserver
