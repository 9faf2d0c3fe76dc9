// What it costs to say who asks and whether they may: every request pays it.
#include <benchmark/benchmark.h>

#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/auth/node_authorizer.h"
#include "apiserver/auth/rbac.h"
#include "kinds/views/core_v1.h"
#include "os/clock.h"
#include "pki/certificate.h"
#include "schema/json.h"

namespace dure::apiserver {
namespace {

// The policy of a new cluster, and `extra` namespaces with a role binding for a team each.
Rbac& policy(int extra) {
  static std::map<int, std::unique_ptr<Rbac>> made;
  auto& rbac = made[extra];
  if (rbac) return *rbac;
  rbac = std::make_unique<Rbac>();
  for (const std::string_view rows : {bootstrap_policy_rows, joining_policy_rows}) {
    auto text = parse_policy(rows);
    for (Role& role : text->roles) rbac->put_role(std::move(role));
    for (Binding& binding : text->bindings) rbac->put_binding(std::move(binding));
  }
  for (int i = 0; i < extra; ++i)
    rbac->put_binding(
        {.namespace_ = "team-" + std::to_string(i),
         .name = "edit",
         .role = "edit",
         .subjects = {{.kind = Subject::Kind::group, .name = "team-" + std::to_string(i)}, {.name = "ann"}}});
  return *rbac;
}

User user(std::string name, std::vector<std::string> groups) {
  return {.name = std::move(name), .uid = {}, .groups = std::move(groups), .extra = {}};
}

void decide(benchmark::State& state, const User& who, const Attributes& what, bool expected) {
  const Rbac& rbac = policy(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    const Decision decision = rbac.decide(who, what);
    if (decision.allowed() != expected) state.SkipWithError("wrong decision");
    benchmark::DoNotOptimize(decision);
  }
}

void authorize_admin(benchmark::State& state) {
  decide(state, user("kubernetes-admin", {"kubeadm:cluster-admins", "system:authenticated"}),
         {.verb = "get", .version = "v1", .resource = "pods", .namespace_ = "team-3", .name = "p"}, true);
}
void authorize_editor(benchmark::State& state) {
  decide(state, user("ann", {"team-3", "system:authenticated"}),
         {.verb = "get", .version = "v1", .resource = "pods", .namespace_ = "team-3", .name = "p"}, true);
}
void refuse_stranger(benchmark::State& state) {
  decide(state, user("eve", {"a", "b", "c", "system:authenticated"}),
         {.verb = "get", .version = "v1", .resource = "pods", .namespace_ = "team-3", .name = "p"}, false);
}
BENCHMARK(authorize_admin)->Arg(0)->Arg(10000);
BENCHMARK(authorize_editor)->Arg(10)->Arg(10000);
BENCHMARK(refuse_stranger)->Arg(10)->Arg(10000);

void authorize_a_node(benchmark::State& state) {
  NodeGraph graph;
  for (int i = 0; i < 1000; ++i) {
    const std::string json = R"({"metadata":{"namespace":"d","name":"p)" + std::to_string(i) +
                             R"("},"spec":{"nodeName":"n1","imagePullSecrets":[{"name":"s)" + std::to_string(i) +
                             "\"}]}}";
    graph.put_pod(*schema::decode_json(SharedBytes(json), kinds::core_v1::Pod::type()));
  }
  const User node = user("system:node:n1", {"system:nodes", "system:authenticated"});
  for (auto _ : state)
    benchmark::DoNotOptimize(
        authorize_node(graph, node, {.verb = "get", .resource = "secrets", .namespace_ = "d", .name = "s77"}));
}
BENCHMARK(authorize_a_node);

void change_a_binding(benchmark::State& state) {
  Rbac& rbac = policy(10000);
  for (auto _ : state)
    rbac.put_binding({.namespace_ = "team-3", .name = "extra", .role = "view", .subjects = {{.name = "ann"}}});
}
BENCHMARK(change_a_binding);

struct Credentials {
  std::unique_ptr<os::Random> random = os::make_seeded_random(1);
  WallTime now{1'700'000'000'000'000'000};
  pki::PrivateKey key = *pki::PrivateKey::generate();
  schema::Object account = schema::share(
      *schema::decode_json(SharedBytes(std::string(R"({"metadata":{"namespace":"d","name":"web","uid":"u"}})")),
                           kinds::core_v1::ServiceAccount::type()));
  Authenticator authenticator{
      {.get = [this](auto, auto, auto, auto) { return account; }, .list = {}, .now = [this] { return now; }},
      pki::TokenVerifier({key.public_key()}, {"i"}),
      {.audiences = {"i"}}};
};

void authenticate_certificate(benchmark::State& state) {
  Credentials c;
  const auto authority = *pki::Authority::create("ca", c.now, c.now + 24h, *c.random);
  pki::CertificateSpec spec{.subject = {"ann", {"team"}}, .not_before = c.now, .not_after = c.now + 1h};
  spec.usages.client_auth = true;
  wire::Request request;
  auto peer = std::make_shared<wire::Peer>();
  peer->certificate_der = pki::issue_pair(authority, spec, *c.random)->certificate.der();
  peer->certificate_verified = true;
  request.peer = peer;
  for (auto _ : state) {
    const auto user = c.authenticator.authenticate(request);
    if (!user) state.SkipWithError(user.error().message.c_str());
    benchmark::DoNotOptimize(user);
  }
}
BENCHMARK(authenticate_certificate);

void authenticate_token(benchmark::State& state) {
  Credentials c;
  const std::string token = *pki::sign_token(c.key, {.issuer = "i",
                                                     .subject = "system:serviceaccount:d:web",
                                                     .audiences = {"i"},
                                                     .issued_at = c.now,
                                                     .not_before = c.now,
                                                     .expires_at = c.now + 1h,
                                                     .id = "j",
                                                     .namespace_ = "d",
                                                     .service_account = {"web", "u"}});
  wire::Request request;
  request.headers.items = {{"authorization", "Bearer " + token}};
  const bool forget = state.range(0) != 0;
  pki::TokenVerifier verifier({c.key.public_key()}, {"i"});
  for (auto _ : state) {
    if (forget) benchmark::DoNotOptimize(verifier.verify(token, c.now));
    const auto user = c.authenticator.authenticate(request);
    if (!user) state.SkipWithError(user.error().message.c_str());
  }
  state.SetLabel(forget ? "a token never seen before" : "known");
}
BENCHMARK(authenticate_token)->Arg(0)->Arg(1);

}  // namespace
}  // namespace dure::apiserver

BENCHMARK_MAIN();
