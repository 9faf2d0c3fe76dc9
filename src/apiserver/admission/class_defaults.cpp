// DefaultStorageClass, DefaultIngressClass and TaintNodesByCondition: what a new object gets when
// its author left it open.
#include "apiserver/admission/admission.h"
#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/networking_v1.h"
#include "kinds/views/storage_v1.h"

namespace dure::apiserver::admission {
namespace {

using namespace kinds;

// The class marked as default; of several the newest (storage) counts, then the first by name.
template <class View>
std::string default_class(const ClusterState& cluster, std::string_view group, std::string_view resource,
                          std::string_view annotation, bool only_one, size_t& count) {
  std::string best, best_time;
  count = 0;
  for (const schema::Object& object : cluster.list(group, resource, "")) {
    const auto metadata = View(object).metadata();
    if (metadata.annotations().get(annotation) != "true") continue;
    ++count;
    const std::string time(metadata.creationTimestamp());
    const bool better = best.empty() || time > best_time || (time == best_time && metadata.name() < best);
    if (!better) continue;
    best = metadata.name();
    best_time = time;
  }
  return only_one && count > 1 ? std::string() : best;
}

void default_storage_class(AdmissionRequest& request, const ClusterState& cluster) {
  const auto spec = core_v1::PersistentVolumeClaim(*request.object).mutable_spec();
  // An empty text is an answer: no class.
  if (spec.has_storageClassName()) return;
  size_t count = 0;
  const std::string name = default_class<storage_v1::StorageClass>(
      cluster, "storage.k8s.io", "storageclasses", "storageclass.kubernetes.io/is-default-class", false, count);
  if (!name.empty()) spec.set_storageClassName(name);
}

Status default_ingress_class(AdmissionRequest& request, const ClusterState& cluster) {
  const networking_v1::Ingress ingress(*request.object);
  if (ingress.spec().has_ingressClassName() || ingress.metadata().annotations().contains("kubernetes.io/ingress.class"))
    return {};
  size_t count = 0;
  const std::string name = default_class<networking_v1::IngressClass>(
      cluster, "networking.k8s.io", "ingressclasses", "ingressclass.kubernetes.io/is-default-class", true, count);
  if (count > 1) return refuse(request, std::to_string(count) + " default IngressClasses were found, only 1 allowed");
  if (!name.empty()) ingress.mutable_spec().set_ingressClassName(name);
  return {};
}

// Nothing is placed on a node before somebody saw it ready.
void taint_new_node(AdmissionRequest& request) {
  constexpr std::string_view key = "node.kubernetes.io/not-ready";
  const core_v1::Node node(*request.object);
  for (const auto& taint : node.spec().taints())
    if (taint.key() == key && taint.effect() == "NoSchedule") return;
  const auto taint = node.mutable_spec().add_taints();
  taint.set_key(key);
  taint.set_effect("NoSchedule");
}

}  // namespace

Status fill_class_defaults(AdmissionRequest& request, const ClusterState& cluster) {
  if (is_write_of(request, "CREATE", "", "persistentvolumeclaims")) default_storage_class(request, cluster);
  if (is_write_of(request, "CREATE", "", "nodes")) taint_new_node(request);
  if (is_write_of(request, "CREATE", "networking.k8s.io", "ingresses")) return default_ingress_class(request, cluster);
  return {};
}

}  // namespace dure::apiserver::admission
