#include "apiserver/auth/node_authorizer.h"

#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/auth/user.h"
#include "base/text.h"

namespace dure::apiserver {
namespace {

constexpr std::string_view lease_namespace = "kube-node-lease";

bool is_read(std::string_view verb) { return verb == "get" || verb == "list" || verb == "watch"; }
bool is_change(std::string_view verb) { return verb == "update" || verb == "patch"; }
bool is_single_object_verb(std::string_view verb) {
  return verb == "get" || verb == "create" || is_change(verb) || verb == "delete";
}

Decision related(const NodeGraph& graph, std::string_view node, const Attributes& a) {
  if (a.name.empty()) return Decision::none("No Object name found");
  if (graph.reaches(node, a.resource, a.namespace_, a.name)) return Decision::allow();
  return Decision::none("no relationship found between node '" + std::string(node) + "' and this object");
}

Decision read_related(const NodeGraph& graph, std::string_view node, const Attributes& a) {
  if (!is_read(a.verb)) return Decision::none("can only read resources of this type");
  if (!a.subresource.empty()) return Decision::none("cannot read subresource");
  if (a.namespace_.empty()) return Decision::none("can only read namespaced object of this type");
  return related(graph, node, a);
}

Decision get_related(const NodeGraph& graph, std::string_view node, const Attributes& a) {
  if (a.verb != "get") return Decision::none("can only get individual resources of this type");
  if (!a.subresource.empty()) return Decision::none("cannot get subresource");
  return related(graph, node, a);
}

Decision judge_claim(const NodeGraph& graph, std::string_view node, const Attributes& a) {
  if (a.subresource != "status") return get_related(graph, node, a);
  if (!is_change(a.verb) && a.verb != "get") return Decision::none("can only get, update or patch the status");
  return related(graph, node, a);
}

Decision judge_service_account(const NodeGraph& graph, std::string_view node, const Attributes& a) {
  if (a.subresource.empty()) return get_related(graph, node, a);
  if (a.verb != "create" || a.subresource != "token")
    return Decision::none("can only get a service account or create tokens for individual service accounts");
  return related(graph, node, a);
}

Decision judge_lease(std::string_view node, const Attributes& a) {
  if (!is_single_object_verb(a.verb))
    return Decision::none("can only get, create, update, patch, or delete a node lease");
  if (a.namespace_ != lease_namespace)
    return Decision::none("can only access leases in the \"" + std::string(lease_namespace) + "\" system namespace");
  // The name of a new object may stand in its body only: NodeRestriction looks there.
  if (a.verb != "create" && a.name != node)
    return Decision::none("can only access node lease with the same name as the requesting node");
  return Decision::allow();
}

Decision judge_csi_node(std::string_view node, const Attributes& a) {
  if (!is_single_object_verb(a.verb)) return Decision::none("can only get, create, update, patch, or delete a CSINode");
  if (!a.subresource.empty()) return Decision::none("cannot authorize CSINode subresources");
  if (a.verb != "create" && a.name != node)
    return Decision::none("can only access CSINode with the same name as the requesting node");
  return Decision::allow();
}

Decision judge_node(std::string_view node, const Attributes& a) {
  const std::string who = "node '" + std::string(node) + "' ";
  if (a.subresource == "status" && is_change(a.verb)) return Decision::allow();
  if (!a.subresource.empty()) return Decision::none(who + "cannot access this subresource of nodes");
  // Whose Node is written is for NodeRestriction to say: it sees the object.
  if (a.verb == "create" || is_change(a.verb)) return Decision::allow();
  if (!is_read(a.verb)) return Decision::none(who + "cannot " + std::string(a.verb) + " nodes");
  if (a.name == node) return Decision::allow();
  if (a.name.empty()) return Decision::none(who + "cannot read all nodes, only its own Node object");
  return Decision::none(who + "cannot read '" + std::string(a.name) + "', only its own Node object");
}

bool selects_node(std::string_view field_selector, std::string_view node) {
  for (const std::string_view term : split(field_selector, ',')) {
    const size_t equals = term.find('=');
    if (equals == std::string_view::npos || trim(term.substr(0, equals)) != "spec.nodeName") continue;
    std::string_view value = term.substr(equals + 1);
    if (value.starts_with('=')) value.remove_prefix(1);
    if (trim(value) == node) return true;
  }
  return false;
}

Decision judge_pod(const NodeGraph& graph, std::string_view node, const Attributes& a) {
  const std::string who = "node '" + std::string(node) + "' ";
  if (a.subresource == "status")
    return is_change(a.verb) ? Decision::allow() : Decision::none(who + "can only update or patch the status of pods");
  if (a.subresource == "eviction")
    return a.verb == "create" ? Decision::allow() : Decision::none(who + "can only create evictions of pods");
  if (!a.subresource.empty()) return Decision::none(who + "cannot access this subresource of pods");
  if (a.verb == "create" || a.verb == "delete") return Decision::allow();
  if (a.verb == "get") return related(graph, node, a);
  if (a.verb != "list" && a.verb != "watch") return Decision::none(who + "cannot " + std::string(a.verb) + " pods");
  if (selects_node(a.field_selector, node)) return Decision::allow();
  if (!a.name.empty()) return related(graph, node, a);
  return Decision::none("can only list/watch pods with spec.nodeName field selector");
}

Decision judge_resource(const NodeGraph& graph, std::string_view node, const Attributes& a) {
  if (a.group.empty()) {
    if (a.resource == "secrets" || a.resource == "configmaps") return read_related(graph, node, a);
    if (a.resource == "persistentvolumeclaims") return judge_claim(graph, node, a);
    if (a.resource == "persistentvolumes") return get_related(graph, node, a);
    if (a.resource == "serviceaccounts") return judge_service_account(graph, node, a);
    if (a.resource == "nodes") return judge_node(node, a);
    if (a.resource == "pods") return judge_pod(graph, node, a);
  }
  if (a.group == "coordination.k8s.io" && a.resource == "leases") return judge_lease(node, a);
  if (a.group == "storage.k8s.io" && a.resource == "csinodes") return judge_csi_node(node, a);
  if (a.group == "storage.k8s.io" && a.resource == "volumeattachments") return get_related(graph, node, a);
  return rules_allow(node_rules(), a) ? Decision::allow() : Decision::none();
}

}  // namespace

Decision authorize_node(const NodeGraph& graph, const User& user, const Attributes& a) {
  if (!user.in_group(names::nodes)) return Decision::none();
  const std::string_view node = node_of(user);
  if (node.empty()) return Decision::none("unknown node for user " + quoted(user.name));
  if (!a.is_resource()) return rules_allow(node_rules(), a) ? Decision::allow() : Decision::none();
  return judge_resource(graph, node, a);
}

}  // namespace dure::apiserver
