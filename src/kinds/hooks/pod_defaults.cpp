// Defaults of pods that look at more than their own row.
#include "kinds/hooks/pod_checks.h"
#include "kinds/views/core_v1.h"

namespace dure::kinds::core_v1 {

namespace {

using rules::Document;
using rules::Node;

// An image without a tag and without a digest means :latest, which is always pulled.
std::string_view pull_policy_of(std::string_view image) {
  const size_t at = image.find('@');
  const std::string_view name = image.substr(0, at);
  const size_t slash = name.rfind('/');
  const size_t colon = name.find(':', slash == name.npos ? 0 : slash);
  const std::string_view tag = colon == name.npos ? std::string_view() : name.substr(colon + 1);
  const bool latest = tag == "latest" || (tag.empty() && at == image.npos);
  return latest ? "Always" : "IfNotPresent";
}

void container_defaults(Document& document, Node* node) {
  const Container container(&document, node);
  if (container.imagePullPolicy().empty()) container.set_imagePullPolicy(pull_policy_of(container.image()));
}

void ephemeral_container_defaults(Document& document, Node* node) {
  const EphemeralContainer container(&document, node);
  if (container.imagePullPolicy().empty()) container.set_imagePullPolicy(pull_policy_of(container.image()));
}

void image_volume_defaults(Document& document, Node* node) {
  const ImageVolumeSource image(&document, node);
  if (image.pullPolicy().empty()) image.set_pullPolicy(pull_policy_of(image.reference()));
}

// A volume that names no source is an emptyDir.
void volume_defaults(Document& document, Node* node) {
  const Volume volume(&document, node);
  for (const Node* child = node->first(); child; child = child->next())
    if (child->key() != "name") return;
  volume.mutable_emptyDir();
}

// The old name of serviceAccountName is kept in step with it.
void pod_spec_defaults(Document& document, Node* node) {
  const PodSpec spec(&document, node);
  if (spec.serviceAccountName().empty() && !spec.serviceAccount().empty())
    spec.set_serviceAccountName(spec.serviceAccount());
  if (!spec.serviceAccountName().empty()) spec.set_serviceAccount(spec.serviceAccountName());
}

void fill_requests(const ResourceRequirements& resources) {
  for (const auto [name, limit] : resources.limits())
    if (!resources.requests().contains(name)) resources.set_requests(name, limit);
}

void pod_defaults(Document& document, Node* node) {
  const Pod pod(&document, node);
  const PodSpec spec = pod.mutable_spec();
  if (!spec.has_enableServiceLinks()) spec.set_enableServiceLinks(true);
  const auto each = [&](const schema::List<Container>& containers) {
    for (const Container container : containers) {
      if (container.resources().has_limits()) fill_requests(container.mutable_resources());
      if (!spec.hostNetwork()) continue;
      for (const ContainerPort port : container.ports())
        if (port.hostPort() == 0) port.set_hostPort(port.containerPort());
    }
  };
  each(spec.containers());
  each(spec.initContainers());
}

}  // namespace

namespace hooks {
#define DURE_HOOKS(name)           \
  extern const schema::Hooks name; \
  constinit const schema::Hooks name
DURE_HOOKS(Pod){.apply_defaults = pod_defaults, .validate = pods::validate_pod};
DURE_HOOKS(PodSpec){.apply_defaults = pod_spec_defaults, .validate = pods::validate_pod_spec};
DURE_HOOKS(Container){.apply_defaults = container_defaults, .validate = pods::validate_container};
DURE_HOOKS(EphemeralContainer){.apply_defaults = ephemeral_container_defaults, .validate = pods::validate_container};
DURE_HOOKS(ImageVolumeSource){.apply_defaults = image_volume_defaults};
DURE_HOOKS(Volume){.apply_defaults = volume_defaults, .validate = pods::validate_volume};
DURE_HOOKS(EnvVar){.validate = pods::validate_env_var};
DURE_HOOKS(Probe){.validate = pods::validate_probe};
DURE_HOOKS(HTTPGetAction){.validate = pods::validate_port_of_action};
DURE_HOOKS(TCPSocketAction){.validate = pods::validate_port_of_action};
DURE_HOOKS(ResourceRequirements){.validate = pods::validate_resources};
DURE_HOOKS(Toleration){.validate = pods::validate_toleration};
DURE_HOOKS(NodeSelectorRequirement){.validate = pods::validate_node_selector_requirement};
#undef DURE_HOOKS
}  // namespace hooks

}  // namespace dure::kinds::core_v1
