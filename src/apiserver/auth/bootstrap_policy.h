// Bootstrap policy: the objects a new cluster has so that anybody may do anything, and how they are
// kept.
//
// RBAC objects stand in rows (bootstrap_policy_rows.cpp):
//
//   clusterrole <name> [+<label>=<value>] [<<label>=<value>]
//     <verbs> <groups> <resources> [<names>]
//     <verbs> path <paths>
//   role <namespace>/<name>
//   clusterbinding <name> ClusterRole/<name> <subject>...
//   binding <namespace>/<name> Role/<name> <subject>...
//
// Lists have commas; the core group is "core"; "+" gives the role a label, "<" makes it take in the
// roles with that label; a subject is user=x, group=x or account=<namespace>/<name>.
// A row that is indented by six continues the one before.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/auth/rbac.h"
#include "base/result.h"
#include "schema/document.h"
#include "schema/resource.h"

namespace dure::apiserver {

extern const std::string_view bootstrap_policy_rows, joining_policy_rows;

struct PolicyText {
  std::vector<Role> roles;
  std::vector<Binding> bindings;
};
// Errors name the row. The built-in texts always parse: a test says so.
Result<PolicyText> parse_policy(std::string_view rows);

// The rules of ClusterRole system:node, which the node authorizer applies to nodes without any
// binding.
const PolicyRules& node_rules();

struct BootstrapObject {
  const schema::Resource* resource = nullptr;
  std::string namespace_;
  schema::Document object;
};
// Namespaces, priority classes, RBAC: what a server makes sure of when it starts, in an order in
// which it can be created.
std::vector<BootstrapObject> bootstrap_objects();

class Catalog;
// One Local APIService per served group and version, as upstream's aggregator registers them. Pure.
std::vector<BootstrapObject> local_services(const Catalog& catalog);

// What `existing` lacks of `wanted`, as upstream's reconciliation has it: missing rules and
// subjects are added, nothing is taken away; an object whose annotation
// rbac.authorization.kubernetes.io/autoupdate is not "true" is left alone. Null: nothing to do.
std::optional<schema::Document> reconciled(const BootstrapObject& wanted, const schema::Document& existing);

class Api;
// Creates and repairs all of both as the server's own user; all writes are under way at once, so
// that they share disk syncs. Blocks: not on a thread that the store or the executor needs.
Status ensure_bootstrap_objects(Api& api);

}  // namespace dure::apiserver
