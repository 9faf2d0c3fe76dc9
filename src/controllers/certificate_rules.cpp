#include <algorithm>
#include <set>

#include "controllers/certificates.h"

namespace dure::controllers {
namespace {

constexpr std::string_view node_prefix = "system:node:";

bool is_node_name(std::string_view common_name) {
  return common_name.starts_with(node_prefix) && common_name.size() > node_prefix.size();
}

bool is_nodes_only(const std::vector<std::string>& organizations) {
  return organizations.size() == 1 && organizations.front() == "system:nodes";
}

// `wanted` in any order, with or without "key encipherment" (an ECDSA key has none).
bool usages_are(const std::vector<std::string>& usages, std::set<std::string> wanted) {
  std::set<std::string> have(usages.begin(), usages.end());
  have.erase("key encipherment");
  return have == wanted;
}

}  // namespace

std::string client_kubelet_problem(const RequestFacts& facts, const std::vector<std::string>& usages) {
  if (!is_nodes_only(facts.organizations)) return "subject organization is not system:nodes";
  if (!facts.dns_names.empty()) return "DNS subjectAltNames are not allowed";
  if (!facts.email_addresses.empty()) return "email subjectAltNames are not allowed";
  if (!facts.ip_addresses.empty()) return "IP subjectAltNames are not allowed";
  if (!facts.uris.empty()) return "URI subjectAltNames are not allowed";
  if (!is_node_name(facts.common_name)) return "subject common name does not begin with system:node: ";
  if (!usages_are(usages, {"digital signature", "client auth"})) return "usages did not match";
  return {};
}

std::string kubelet_serving_problem(const RequestFacts& facts, const std::vector<std::string>& usages,
                                    std::string_view username, const std::vector<std::string>& groups) {
  if (!is_nodes_only(facts.organizations)) return "subject organization is not system:nodes";
  if (facts.dns_names.empty() && facts.ip_addresses.empty()) return "DNS or IP subjectAltName is required";
  if (!facts.email_addresses.empty()) return "email subjectAltNames are not allowed";
  if (!facts.uris.empty()) return "URI subjectAltNames are not allowed";
  if (!is_node_name(facts.common_name)) return "subject common name does not begin with system:node: ";
  if (!usages_are(usages, {"digital signature", "server auth"})) return "usages did not match";
  if (facts.common_name != username) return "the requestor is not the node in the subject";
  if (std::find(groups.begin(), groups.end(), "system:nodes") == groups.end()) return "the requestor is not a node";
  return {};
}

std::string node_name_problem(const NameClaim& claim) {
  if (!claim.node_exists) return {};
  if (claim.silent_for < node_alive_for)
    return "node \"" + claim.node +
           "\" is alive: a bootstrap token cannot have its name (gone for good: kubectl delete node " + claim.node +
           ")";
  if (!claim.known_machine.empty() && claim.known_machine != claim.claimed_machine)
    return "node \"" + claim.node +
           "\" is another machine: a bootstrap token cannot have its name (gone for good: kubectl " + "delete node " +
           claim.node + ")";
  return {};
}

std::string api_client_problem(const std::vector<std::string>& usages) {
  const std::set<std::string> allowed{"digital signature", "key encipherment", "client auth"};
  bool client_auth = false;
  for (const std::string& usage : usages) {
    if (!allowed.contains(usage)) return "usages did not match";
    client_auth |= usage == "client auth";
  }
  return client_auth ? std::string() : "usages did not match";
}

}  // namespace dure::controllers
