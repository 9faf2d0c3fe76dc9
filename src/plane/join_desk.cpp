#include "plane/join_desk.h"

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/log.h"
#include "base/text.h"
#include "bootstrap/checks/checks.h"
#include "bootstrap/node_identity.h"
#include "controllers/bootstrap_tokens.h"
#include "kinds/views/coordination_v1.h"
#include "kinds/views/core_v1.h"
#include "pki/bootstrap_token.h"
#include "pki/key.h"

namespace dure::plane {
namespace {

using bootstrap::Finding;
namespace core = kinds::core_v1;
namespace coordination = kinds::coordination_v1;

constexpr std::string_view new_token = "on the server: dure token create --print-join-command";
constexpr std::string_view bootstrappers = "system:bootstrappers";

void answer(wire::Exchange& exchange, int status, std::string body) {
  wire::Response response{status, {}, std::move(body)};
  response.headers.set("content-type", "application/json");
  exchange.respond(std::move(response));
}

std::string bearer_of(const wire::Request& request) {
  const std::string_view value = trim(request.headers.get("authorization"));
  constexpr std::string_view scheme = "bearer ";
  if (value.size() <= scheme.size() || !equal_ignore_case(value.substr(0, scheme.size()), scheme)) return {};
  return std::string(trim(value.substr(scheme.size())));
}

std::string value_of(const schema::Object& secret, std::string_view key) {
  return base64_decode(core::Secret(secret).data().get(key)).value_or(std::string());
}

// When the token ended: of a Secret that is still there, or as the cleaner remembers it. Told only to who has the
// whole token.
std::optional<WallTime> end_of(const apiserver::ClusterState& cluster, const pki::BootstrapToken& token) {
  const auto secret_named = [&](std::string_view name) {
    return cluster.get("", "secrets", pki::bootstrap_token_namespace, name);
  };
  if (const schema::Object secret = secret_named(token.secret_name()))
    return pki::equal_in_constant_time(value_of(secret, "token-secret"), token.secret)
               ? parse_time(value_of(secret, "expiration"))
               : std::nullopt;
  const schema::Object memory = secret_named(controllers::expired_tokens_name);
  if (!memory) return std::nullopt;
  const std::string row = value_of(memory, token.id);
  const size_t space = row.find(' ');
  if (space == std::string::npos ||
      !pki::equal_in_constant_time(std::string_view(row).substr(space + 1), pki::token_digest(token)))
    return std::nullopt;
  return parse_time(std::string_view(row).substr(0, space));
}

}  // namespace

void JoinDesk::serve_hello(wire::Exchange& exchange) const {
  answer(exchange, 200, fmt::format("{{\"version\":\"{}\",\"time\":\"{}\"}}\n", version_, format_time(cluster_.now())));
}

void JoinDesk::serve_join(wire::Exchange& exchange) {
  const wire::Request& request = exchange.request();
  if (request.method != "POST") return answer(exchange, 405, R"({"findings":[]})");
  const std::vector<Finding> findings = judge(request);
  for (const Finding& finding : findings)
    if (finding.severity == Finding::Severity::refuse)
      log(LogLevel::warn, "plane", "a machine that wants to join is refused",
          {{"code", finding.code}, {"why", finding.sentence}, {"from", request.peer ? request.peer->address : ""}});
  answer(exchange, 200, bootstrap::findings_json(findings) + "\n");
}

std::vector<Finding> JoinDesk::judge(const wire::Request& request) {
  auto findings = judge_token(bearer_of(request));
  if (!findings.empty()) return findings;  // a stranger learns no more
  const auto newcomer = bootstrap::parse_newcomer(request.body);
  if (!newcomer)
    return {
        {"VersionSkew", Finding::Severity::refuse,
         fmt::format("the server ({}) does not understand this machine's dure: {}", version_, newcomer.error().message),
         "install the server's version here"}};
  return bootstrap::join_verdicts(*newcomer, view());
}

std::vector<Finding> JoinDesk::judge_token(std::string_view text) {
  const auto answer = authenticator_.authenticate_token(text);
  if (answer && answer->user->in_group(bootstrappers)) return {};
  const auto token = pki::parse_bootstrap_token(text);
  if (const auto end = token ? end_of(cluster_, *token) : std::nullopt; end && *end <= cluster_.now())
    return {{"TokenExpired", Finding::Severity::refuse,
             fmt::format("the token {} expired {} ago ({})", token->id, human_duration(cluster_.now() - *end),
                         format_time(*end)),
             std::string(new_token)}};
  return {{"TokenRefused", Finding::Severity::refuse,
           token ? fmt::format("the cluster does not know the token {}: it was deleted, or made for another cluster",
                               token->id)
                 : "this is no bootstrap token",
           std::string(new_token)}};
}

bootstrap::ClusterView JoinDesk::view() const {
  const WallTime now = cluster_.now();
  bootstrap::ClusterView out{version_,
                             now,
                             settings_.pod_cidr,
                             settings_.service_cidr,
                             settings_.network == "wireguard" ? settings_.node_cidr : std::string(),
                             {}};
  std::map<std::string, WallTime, std::less<>> heard;
  for (const schema::Object& lease : cluster_.list("coordination.k8s.io", "leases", "kube-node-lease")) {
    const coordination::Lease one(lease);
    if (const auto renewed = parse_time(one.spec().renewTime())) heard[std::string(one.metadata().name())] = *renewed;
  }
  for (const schema::Object& node : cluster_.list("", "nodes", "")) {
    const core::Node one(node);
    bootstrap::Member member;
    member.node = one.metadata().name();
    member.machine = bootstrap::parse_fingerprint(one.metadata().annotations().get(bootstrap::machine_annotation))
                         .value_or(bootstrap::Fingerprint{});
    member.wireguard_key = one.metadata().annotations().get(bootstrap::wireguard_key_annotation);
    const auto last = heard.find(member.node);
    const auto made = parse_time(one.metadata().creationTimestamp()).value_or(now);
    // A node that was reset took its Lease with it.
    member.silent_for = last == heard.end() ? std::max<Duration>(now - made, bootstrap::member_alive_for)
                                            : std::max<Duration>(now - last->second, Duration::zero());
    out.members.push_back(std::move(member));
  }
  return out;
}

}  // namespace dure::plane
