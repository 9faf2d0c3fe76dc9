// Admission: what the server adds to or refuses in a write, beyond rights and validation. One plain
// function per plugin of upstream, each looking at the write it cares about and leaving all others
// alone; `run` calls them in upstream's order.
//
// Thread: any. Nothing blocks; what a plugin needs of the cluster comes from ClusterState.
#pragma once

#include <functional>

#include "apiserver/auth/cluster_state.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/request.h"
#include "base/result.h"

namespace dure::apiserver::admission {

struct Context {
  const ClusterState& cluster;
  const Rbac& rbac;
  const Authorize& authorize;
  const std::function<uint64_t()>& random;
};

// NamespaceLifecycle: the namespaces that cannot be deleted. (That a namespace exists and lives is
// checked by the resource path.)
Status keep_system_namespaces(AdmissionRequest& request);
// LimitRanger: defaults for requests and limits of containers, and their bounds.
Status apply_limit_ranges(AdmissionRequest& request, const ClusterState& cluster);
// ServiceAccount: the default account, its pull secrets, and the volume with its token.
Status add_service_account(AdmissionRequest& request, const ClusterState& cluster,
                           const std::function<uint64_t()>& random);
// NodeRestriction: a node writes its own Node, Lease and CSINode, and pods that are bound to it;
// labels that steer pods are not its own to set.
Status restrict_node(AdmissionRequest& request, const ClusterState& cluster);
// Priority: priorityClassName to priority and preemption policy.
Status resolve_priority(AdmissionRequest& request, const ClusterState& cluster);
// DefaultTolerationSeconds: pods stay 300 seconds on a node that is not ready or not reachable.
Status add_default_tolerations(AdmissionRequest& request);
// DefaultStorageClass, DefaultIngressClass, TaintNodesByCondition.
Status fill_class_defaults(AdmissionRequest& request, const ClusterState& cluster);
// CertificateApproval, CertificateSigning, CertificateSubjectRestriction.
Status guard_certificates(AdmissionRequest& request, const Authorize& authorize);
// RBAC's own check: nobody hands out rights that they do not hold.
Status guard_escalation(AdmissionRequest& request, const Rbac& rbac, const Authorize& authorize);

Status run(AdmissionRequest& request, const Context& context);

// --- for the plugins

// Is this the write: create of a pod, and not of one of its subresources?
bool is_write_of(const AdmissionRequest& request, std::string_view operation, std::string_view group,
                 std::string_view resource, std::string_view subresource = {});
// 403 for the object of the request.
std::unexpected<Error> refuse(const AdmissionRequest& request, std::string_view why);

}  // namespace dure::apiserver::admission
