#include <algorithm>
#include <set>

#include "apiserver/admission/admission.h"
#include "apiserver/auth/decision.h"
#include "apiserver/auth/user.h"
#include "base/text.h"
#include "kinds/hooks/pod_references.h"
#include "kinds/views/certificates_v1.h"
#include "kinds/views/coordination_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/storage_v1.h"
#include "pki/signing_request.h"

namespace dure::apiserver::admission {
namespace {

using namespace kinds;

// Labels under kubernetes.io and k8s.io that a node may set on itself.
constexpr std::string_view own_labels[] = {"kubernetes.io/hostname",
                                           "kubernetes.io/os",
                                           "kubernetes.io/arch",
                                           "beta.kubernetes.io/os",
                                           "beta.kubernetes.io/arch",
                                           "beta.kubernetes.io/instance-type",
                                           "node.kubernetes.io/instance-type",
                                           "topology.kubernetes.io/zone",
                                           "topology.kubernetes.io/region",
                                           "failure-domain.beta.kubernetes.io/zone",
                                           "failure-domain.beta.kubernetes.io/region",
                                           "node.kubernetes.io/windows-build"};

bool is_within(std::string_view domain, std::string_view parent) {
  return domain == parent || (domain.ends_with(parent) && domain[domain.size() - parent.size() - 1] == '.');
}

bool may_set_label(std::string_view key) {
  const size_t slash = key.find('/');
  if (slash == std::string_view::npos) return true;
  const std::string_view domain = key.substr(0, slash);
  if (is_within(domain, "node-restriction.kubernetes.io")) return false;
  if (!is_within(domain, "kubernetes.io") && !is_within(domain, "k8s.io")) return true;
  return std::find(std::begin(own_labels), std::end(own_labels), key) != std::end(own_labels) ||
         is_within(domain, "kubelet.kubernetes.io") || is_within(domain, "node.kubernetes.io");
}

// Keys that were added, removed or changed.
std::set<std::string> changed_labels(const schema::Map<std::string_view>& now,
                                     const schema::Map<std::string_view>& before) {
  std::set<std::string> keys;
  for (const auto& [key, value] : now)
    if (!before.contains(key) || before.get(key) != value) keys.emplace(key);
  for (const auto& [key, value] : before)
    if (!now.contains(key)) keys.emplace(key);
  return keys;
}

std::string forbidden_labels(const std::set<std::string>& keys) {
  std::vector<std::string> refused;
  for (const std::string& key : keys)
    if (!may_set_label(key)) refused.push_back(key);
  return join(refused, ", ");
}

class Restriction {
 public:
  Restriction(AdmissionRequest& request, const ClusterState& cluster, std::string_view node)
      : request_(request), cluster_(cluster), node_(node), who_("node " + quoted(node)) {}

  Status judge() {
    const ApiRequest& asked = *request_.request;
    const std::string_view group = asked.resource->group, resource = asked.resource->plural;
    if (group.empty() && resource == "pods") return judge_pod();
    if (group.empty() && resource == "nodes") return judge_node();
    if (group == "coordination.k8s.io" && resource == "leases") return judge_lease();
    if (group == "storage.k8s.io" && resource == "csinodes") return judge_csi_node();
    if (group == "certificates.k8s.io" && resource == "certificatesigningrequests") return judge_signing_request();
    return {};
  }

 private:
  bool creates() const { return request_.operation == "CREATE"; }
  bool updates() const { return request_.operation == "UPDATE"; }
  bool deletes() const { return request_.operation == "DELETE"; }
  std::unexpected<Error> no(std::string_view why) const { return refuse(request_, why); }
  core_v1::Pod old_pod() const { return request_.old ? core_v1::Pod(*request_.old) : core_v1::Pod(); }

  // --- pods

  Status judge_pod() {
    const std::string& subresource = request_.request->subresource;
    if (subresource == "status") return judge_pod_status();
    if (subresource == "eviction") return judge_eviction();
    if (!subresource.empty()) return no("unexpected pod subresource " + quoted(subresource));
    if (creates()) return judge_new_pod(core_v1::Pod(*request_.object));
    if (!deletes())
      return no("unexpected operation " + quoted(request_.operation) + ", " + who_ +
                " can only create and delete mirror pods");
    if (old_pod().spec().nodeName() != node_)
      return no(who_ + " can only delete pods with spec.nodeName set to itself");
    return {};
  }

  Status judge_new_pod(const core_v1::Pod& pod) {
    if (!is_mirror_pod(pod))
      return no("pod does not have " + quoted(mirror_annotation) + " annotation, " + who_ +
                " can only create mirror pods");
    if (pod.spec().nodeName() != node_) return no(who_ + " can only create pods with spec.nodeName set to itself");
    DURE_CHECK(judge_owner(pod));
    const PodReferences refs = references_of(pod);
    if (!refs.service_account.empty()) return no(who_ + " can not create pods that reference a service account");
    if (!refs.secrets.empty()) return no(who_ + " can not create pods that reference secrets");
    if (!refs.config_maps.empty()) return no(who_ + " can not create pods that reference configmaps");
    if (!refs.claims.empty()) return no(who_ + " can not create pods that reference persistentvolumeclaims");
    return {};
  }

  Status judge_owner(const core_v1::Pod& pod) {
    const auto owners = pod.metadata().ownerReferences();
    if (owners.empty()) return {};
    const auto owner = owners.front();
    if (owners.size() > 1 || owner.apiVersion() != "v1" || owner.kind() != "Node" || owner.name() != node_)
      return no(who_ + " can only create pods with an owner reference set to itself");
    if (!owner.controller()) return no(who_ + " can only create pods with a controller owner reference set to itself");
    if (owner.blockOwnerDeletion()) return no(who_ + " must not set blockOwnerDeletion on an owner reference");
    const schema::Object node = cluster_.get("", "nodes", "", node_);
    if (!node || core_v1::Node(node).metadata().uid() != owner.uid())
      return no(who_ + " UID mismatch: expected " + std::string(node ? core_v1::Node(node).metadata().uid() : "") +
                " got " + std::string(owner.uid()));
    return {};
  }

  Status judge_pod_status() {
    if (!updates()) return no("unexpected operation " + quoted(request_.operation));
    if (old_pod().spec().nodeName() != node_)
      return no(who_ + " can only update pod status for pods with spec.nodeName set to itself");
    const auto now = core_v1::Pod(*request_.object).metadata().labels(), before = old_pod().metadata().labels();
    if (!changed_labels(now, before).empty()) return no(who_ + " cannot update labels through pod status");
    return {};
  }

  Status judge_eviction() {
    const ApiRequest& asked = *request_.request;
    const schema::Object pod = cluster_.get("", "pods", asked.namespace_, asked.name);
    if (!pod || core_v1::Pod(pod).spec().nodeName() == node_) return {};
    return no(who_ + " can only evict pods with spec.nodeName set to itself");
  }

  // --- nodes

  Status judge_node() {
    const std::string& name = request_.request->name;
    if (name != node_) return no(who_ + " is not allowed to modify node " + quoted(name));
    if (deletes()) return no(who_ + " is not allowed to delete nodes");
    const core_v1::Node node(*request_.object);
    if (creates()) {
      const std::string refused = forbidden_labels(changed_labels(node.metadata().labels(), {}));
      return refused.empty() ? Status{} : no(who_ + " is not allowed to set the following labels: " + refused);
    }
    const core_v1::Node old(*request_.old);
    if (!schema::equal(node.spec().taints().node(), old.spec().taints().node()))
      return no(who_ + " is not allowed to modify taints");
    if (!schema::equal(node.metadata().ownerReferences().node(), old.metadata().ownerReferences().node()))
      return no(who_ + " is not allowed to modify ownerReferences");
    const std::string refused = forbidden_labels(changed_labels(node.metadata().labels(), old.metadata().labels()));
    return refused.empty() ? Status{} : no(who_ + " is not allowed to modify labels: " + refused);
  }

  Status judge_lease() {
    if (request_.request->namespace_ != "kube-node-lease")
      return no("can only access leases in the \"kube-node-lease\" system namespace");
    if (request_.request->name != node_)
      return no("can only access node lease with the same name as the requesting node");
    return {};
  }

  Status judge_csi_node() {
    if (request_.request->name != node_) return no("can only access CSINode with the same name as the requesting node");
    return {};
  }

  Status judge_signing_request() {
    if (!creates()) return {};
    const auto spec = certificates_v1::CertificateSigningRequest(*request_.object).spec();
    if (spec.signerName() != "kubernetes.io/kube-apiserver-client-kubelet" &&
        spec.signerName() != "kubernetes.io/kubelet-serving")
      return {};
    const Result<std::string> pem = base64_decode(spec.request());
    const auto asked = pem ? pki::SigningRequest::from_pem(*pem) : fail(pem.error());
    if (!asked) return no("unable to parse csr: " + asked.error().message);
    if (asked->subject().common_name == std::string(names::node_prefix) + std::string(node_)) return {};
    return no("can only create a node CSR with CN=system:node:" + std::string(node_));
  }

  AdmissionRequest& request_;
  const ClusterState& cluster_;
  const std::string_view node_;
  const std::string who_;
};

}  // namespace

Status restrict_node(AdmissionRequest& request, const ClusterState& cluster) {
  if (!request.request->user || !request.request->user->in_group(names::nodes)) return {};
  const std::string_view node = node_of(*request.request->user);
  if (node.empty()) return refuse(request, "could not determine node from user " + quoted(request.request->user->name));
  return Restriction(request, cluster, node).judge();
}

}  // namespace dure::apiserver::admission
