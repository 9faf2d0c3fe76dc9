#include "kinds/hooks/pod_references.h"

namespace dure::kinds {
namespace {

void add(std::vector<std::string>& names, std::string_view name) {
  if (!name.empty()) names.emplace_back(name);
}

std::string_view text_at(const schema::Node* node) { return node ? node->string() : std::string_view{}; }

template <class Container>
void add_container(PodReferences& out, const Container& container) {
  for (const auto& source : container.envFrom()) {
    add(out.config_maps, source.configMapRef().name());
    add(out.secrets, source.secretRef().name());
  }
  for (const auto& variable : container.env()) {
    add(out.config_maps, variable.valueFrom().configMapKeyRef().name());
    add(out.secrets, variable.valueFrom().secretKeyRef().name());
  }
}

void add_volume(PodReferences& out, const core_v1::Volume& volume, std::string_view pod_name) {
  add(out.config_maps, volume.configMap().name());
  add(out.claims, volume.persistentVolumeClaim().claimName());
  if (volume.has_ephemeral()) add(out.claims, std::string(pod_name) + "-" + std::string(volume.name()));
  for (const auto& source : volume.projected().sources()) {
    add(out.secrets, source.secret().name());
    add(out.config_maps, source.configMap().name());
  }
  // All kinds of volumes that need a secret spell it in one of three ways.
  for (const schema::Node* source = volume.node()->first(); source; source = source->next()) {
    if (source->kind() != schema::Kind::object) continue;
    add(out.secrets, text_at(source->find("secretName")));
    add(out.secrets, text_at(source->find("secretRef", "name")));
    add(out.secrets, text_at(source->find("nodePublishSecretRef", "name")));
  }
}

}  // namespace

PodReferences references_of(const core_v1::Pod& pod) {
  PodReferences out;
  const core_v1::PodSpec spec = pod.spec();
  out.service_account = spec.serviceAccountName();
  for (const auto& secret : spec.imagePullSecrets()) add(out.secrets, secret.name());
  for (const auto& container : spec.initContainers()) add_container(out, container);
  for (const auto& container : spec.containers()) add_container(out, container);
  for (const auto& container : spec.ephemeralContainers()) add_container(out, container);
  for (const auto& volume : spec.volumes()) add_volume(out, volume, pod.metadata().name());
  return out;
}

bool is_mirror_pod(const core_v1::Pod& pod) { return pod.metadata().annotations().contains(mirror_annotation); }

std::vector<NamespacedName> secrets_of(const core_v1::PersistentVolume& volume) {
  std::vector<NamespacedName> out;
  const std::string_view claim_namespace = volume.spec().claimRef().namespace_();
  const auto take = [&](std::string_view namespace_, std::string_view name) {
    if (!name.empty())
      out.push_back({std::string(namespace_.empty() ? claim_namespace : namespace_), std::string(name)});
  };
  if (!volume.spec()) return out;
  for (const schema::Node* source = volume.spec().node()->first(); source; source = source->next()) {
    if (source->kind() != schema::Kind::object) continue;
    take(text_at(source->find("secretNamespace")), text_at(source->find("secretName")));
    for (const char* key : {"secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"})
      take(text_at(source->find(key, "namespace")), text_at(source->find(key, "name")));
  }
  return out;
}

}  // namespace dure::kinds
