#include "apiserver/admission/admission.h"
#include "apiserver/auth/decision.h"
#include "apiserver/metadata.h"
#include "kinds/hooks/pod_references.h"
#include "kinds/views/core_v1.h"

namespace dure::apiserver::admission {
namespace {

using namespace kinds;

constexpr std::string_view token_path = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::string_view volume_prefix = "kube-api-access-";
constexpr int64_t token_seconds = 3607, file_mode = 0644;

Status check_mirror_pod(const AdmissionRequest& request, const core_v1::Pod& pod) {
  const PodReferences refs = references_of(pod);
  if (!refs.service_account.empty()) return refuse(request, "a mirror pod may not reference service accounts");
  if (!refs.secrets.empty()) return refuse(request, "a mirror pod may not reference secrets");
  for (const auto& volume : pod.spec().volumes())
    for (const auto& source : volume.projected().sources())
      if (source.has_serviceAccountToken())
        return refuse(request, "a mirror pod may not use ServiceAccountToken volume projections");
  return {};
}

bool wants_token(const core_v1::PodSpec& spec, const core_v1::ServiceAccount& account) {
  if (spec.has_automountServiceAccountToken()) return spec.automountServiceAccountToken();
  if (account.has_automountServiceAccountToken()) return account.automountServiceAccountToken();
  return true;
}

// The volume as upstream builds it: the token, the cluster's CA and the namespace, side by side.
void add_token_volume(const core_v1::PodSpec& spec, std::string_view name) {
  const auto volume = spec.add_volumes();
  volume.set_name(name);
  const auto projected = volume.mutable_projected();
  projected.set_defaultMode(file_mode);
  const auto token = projected.add_sources().mutable_serviceAccountToken();
  token.set_expirationSeconds(token_seconds);
  token.set_path("token");
  const auto config_map = projected.add_sources().mutable_configMap();
  config_map.set_name("kube-root-ca.crt");
  const auto item = config_map.add_items();
  item.set_key("ca.crt");
  item.set_path("ca.crt");
  const auto file = projected.add_sources().mutable_downwardAPI().add_items();
  file.set_path("namespace");
  file.mutable_fieldRef().set_apiVersion("v1");
  file.mutable_fieldRef().set_fieldPath("metadata.namespace");
}

std::string existing_token_volume(const core_v1::PodSpec& spec) {
  for (const auto& volume : spec.volumes())
    if (volume.name().starts_with(volume_prefix) && volume.has_projected()) return std::string(volume.name());
  return {};
}

template <class Container>
bool mount_token(const Container& container, std::string_view volume) {
  for (const auto& mount : container.volumeMounts())
    if (mount.mountPath() == token_path) return false;
  const auto mount = container.add_volumeMounts();
  mount.set_name(volume);
  mount.set_readOnly(true);
  mount.set_mountPath(token_path);
  return true;
}

void mount_token_volume(const core_v1::PodSpec& spec, const std::function<uint64_t()>& random) {
  std::string name = existing_token_volume(spec);
  const bool exists = !name.empty();
  if (!exists) name = std::string(volume_prefix) + random_suffix(random);
  bool used = false;
  for (const auto& container : spec.mutable_initContainers()) used |= mount_token(container, name);
  for (const auto& container : spec.mutable_containers()) used |= mount_token(container, name);
  if (used && !exists) add_token_volume(spec, name);
}

}  // namespace

Status add_service_account(AdmissionRequest& request, const ClusterState& cluster,
                           const std::function<uint64_t()>& random) {
  if (!is_write_of(request, "CREATE", "", "pods")) return {};
  const core_v1::Pod pod(*request.object);
  if (is_mirror_pod(pod)) return check_mirror_pod(request, pod);
  const auto spec = pod.mutable_spec();
  if (spec.serviceAccountName().empty())
    spec.set_serviceAccountName(spec.serviceAccount().empty() ? std::string("default")
                                                              : std::string(spec.serviceAccount()));
  const std::string name(spec.serviceAccountName());
  spec.set_serviceAccount(name);
  const std::string& ns = request.request->namespace_;
  const schema::Object object = cluster.get("", "serviceaccounts", ns, name);
  if (!object)
    return refuse(request, "error looking up service account " + ns + "/" + name + ": serviceaccount " + quoted(name) +
                               " not found");
  const core_v1::ServiceAccount account(object);
  if (wants_token(spec, account)) mount_token_volume(spec, random);
  if (spec.imagePullSecrets().empty())
    for (const auto& secret : account.imagePullSecrets()) spec.add_imagePullSecrets().set_name(secret.name());
  return {};
}

}  // namespace dure::apiserver::admission
