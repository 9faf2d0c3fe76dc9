// Node authorizer: what a node (user system:node:<name>, group system:nodes) may do: its own Node,
// Lease and CSINode, pods bound to it, and of secrets, config maps, claims, volumes and account
// tokens only those that pods bound to it refer to.
// https://kubernetes.io/docs/reference/access-authn-authz/node/ ; pure apart from the graph it
// asks. Thread: any.
#pragma once

#include "apiserver/auth/decision.h"
#include "apiserver/auth/node_graph.h"

namespace dure::apiserver {

Decision authorize_node(const NodeGraph& graph, const User& user, const Attributes& attributes);

}  // namespace dure::apiserver
