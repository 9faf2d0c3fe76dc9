#include "kinds/hooks/pod_checks.h"

#include <algorithm>
#include <set>

#include "kinds/views/core_v1.h"
#include "schema/quantity.h"
#include "schema/text_rules.h"

namespace dure::kinds::pods {

using namespace schema;
using core_v1::Container;
using core_v1::PodSpec;
using rules::has;
using rules::is_set;
using rules::text;
using Names = std::set<std::string_view>;

namespace {

// Mounts name volumes of the pod, each at a path of its own.
void check_mounts(const Container& container, const Names& volumes, const Path& path, Causes& causes) {
  const Path mounts = path.child("volumeMounts");
  Names places;
  uint32_t index = 0;
  for (const core_v1::VolumeMount mount : container.volumeMounts()) {
    const Path here = mounts.index(index++);
    if (!mount.name().empty() && !volumes.contains(mount.name()))
      causes.push_back(reference_not_found(here.child("name"), mount.name()));
    if (!mount.mountPath().empty() && !places.insert(mount.mountPath()).second)
      causes.push_back(invalid(here.child("mountPath"), mount.mountPath(), "must be unique"));
  }
}

void check_ports(const Container& container, bool host_network, std::set<std::string>& host_ports, const Path& path,
                 Causes& causes) {
  const Path ports = path.child("ports");
  Names names;
  uint32_t index = 0;
  for (const core_v1::ContainerPort port : container.ports()) {
    const Path here = ports.index(index++);
    if (!port.name().empty() && !names.insert(port.name()).second)
      causes.push_back(duplicate(here.child("name"), port.name()));
    if (port.hostPort() == 0) continue;
    if (host_network && port.hostPort() != port.containerPort())
      causes.push_back(invalid(here.child("containerPort"), port.containerPort(),
                               "must match `hostPort` when `hostNetwork` is true"));
    std::string claim =
        std::string(port.protocol()) + "/" + std::string(port.hostIP()) + "/" + std::to_string(port.hostPort());
    if (!host_ports.insert(claim).second) causes.push_back(duplicate(here.child("hostPort"), claim));
  }
}

bool is_standard_resource(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-");
}

}  // namespace

void validate_pod_spec(const Node* object, const Node*, const Path& path, Causes& causes) {
  const PodSpec spec(object);
  Names volumes, containers;
  for (const core_v1::Volume volume : spec.volumes()) volumes.insert(volume.name());
  std::set<std::string> host_ports, no_ports;
  uint32_t index = 0;
  const Path containers_path = path.child("containers"), init_path = path.child("initContainers");
  for (const Container container : spec.containers()) {
    const Path here = containers_path.index(index++);
    containers.insert(container.name());
    check_mounts(container, volumes, here, causes);
    check_ports(container, spec.hostNetwork(), host_ports, here, causes);
  }
  index = 0;
  for (const Container container : spec.initContainers()) {
    const Path here = init_path.index(index++);
    if (containers.contains(container.name())) causes.push_back(duplicate(here.child("name"), container.name()));
    check_mounts(container, volumes, here, causes);
    no_ports.clear();  // those that run one after another may share a host port
    check_ports(container, spec.hostNetwork(), no_ports, here, causes);
  }
}

void validate_container(const Node* object, const Node*, const Path& path, Causes& causes) {
  const Container container(object);
  for (const std::string_view name : {"livenessProbe", "startupProbe"}) {
    const Node* probe = object->find(name);
    const Node* threshold = probe ? probe->find("successThreshold") : nullptr;
    const Path at = path.child(name);
    if (threshold && threshold->integer() > 1)
      causes.push_back(invalid(at.child("successThreshold"), threshold->integer(), "must be 1"));
  }
  const core_v1::SecurityContext security = container.securityContext();
  if (security.privileged() && security.has_allowPrivilegeEscalation() && !security.allowPrivilegeEscalation())
    causes.push_back(invalid(path.child("securityContext"), security.node(),
                             "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
}

void validate_volume(const Node* object, const Node*, const Path& path, Causes& causes) {
  int sources = 0;
  for (const Node* child = object->first(); child; child = child->next())
    if (child->key() != "name" && ++sources == 2)
      causes.push_back(forbidden(path.child(child->key()), "may not specify more than 1 volume type"));
  if (sources == 0) causes.push_back(required(path, "must specify one volume type"));
}

void validate_env_var(const Node* object, const Node*, const Path& path, Causes& causes) {
  const Node* from = object->find("valueFrom");
  if (!from) return;
  const Path at = path.child("valueFrom");
  if (from->size() == 0)
    causes.push_back(invalid(at, std::string_view(),
                             "must specify one of: `fieldRef`, `resourceFieldRef`, "
                             "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
  else if (is_set(object, "value"))
    causes.push_back(invalid(at, std::string_view(), "may not be specified when `value` is not empty"));
  else if (from->size() > 1)
    causes.push_back(invalid(at, std::string_view(), "may not have more than one field specified at a time"));
}

void validate_probe(const Node* object, const Node*, const Path& path, Causes& causes) {
  int handlers = 0;
  for (const std::string_view name : {"exec", "httpGet", "tcpSocket", "grpc"})
    if (has(object, name) && ++handlers == 2)
      causes.push_back(forbidden(path.child(name), "may not specify more than 1 handler type"));
  if (handlers == 0) causes.push_back(required(path, "must specify a handler type"));
}

void validate_port_of_action(const Node* object, const Node*, const Path& path, Causes& causes) {
  rules::check_port(object->find("port"), path.child("port"), causes);
}

void validate_resources(const Node* object, const Node*, const Path& path, Causes& causes) {
  const core_v1::ResourceRequirements resources(object);
  const Path limits = path.child("limits"), requests = path.child("requests");
  const auto standard = [&](const schema::Map<std::string_view>& map, const Path& at) {
    for (const auto [name, amount] : map)
      if (name.find('/') == name.npos && !is_standard_resource(name) && check_qualified_name(name).empty())
        causes.push_back(invalid(at.key(name), name, "must be a standard resource type or fully qualified"));
  };
  standard(resources.limits(), limits);
  standard(resources.requests(), requests);
  for (const auto [name, amount] : resources.requests()) {
    if (!resources.limits().contains(name)) continue;
    const Quantity request = Quantity::read(amount), limit = Quantity::read(resources.limits().get(name));
    if (request > limit)
      causes.push_back(invalid(requests, amount,
                               "must be less than or equal to " + std::string(name) + " limit of " + limit.text()));
  }
}

void validate_toleration(const Node* object, const Node*, const Path& path, Causes& causes) {
  const core_v1::Toleration toleration(object);
  const Path how = path.child("operator");
  if (toleration.key().empty() && toleration.operator_() != "Exists")
    causes.push_back(invalid(how, toleration.operator_(),
                             "operator must be Exists when `key` is empty, which means \"match all "
                             "values and all keys\""));
  if (toleration.has_tolerationSeconds() && toleration.effect() != "NoExecute")
    causes.push_back(invalid(path.child("effect"), toleration.effect(),
                             "effect must be 'NoExecute' when `tolerationSeconds` is set"));
  if (toleration.operator_() == "Exists") {
    if (!toleration.value().empty())
      causes.push_back(invalid(how, toleration.value(), "value must be empty when `operator` is 'Exists'"));
  } else if (const std::string wrong = check_label_value(toleration.value()); !wrong.empty()) {
    causes.push_back(invalid(how, toleration.value(), wrong));
  }
}

void validate_node_selector_requirement(const Node* object, const Node*, const Path& path, Causes& causes) {
  const std::string_view how = text(object, "operator");
  const Node* values = object->find("values");
  const uint32_t count = values ? values->size() : 0;
  const Path at = path.child("values");
  if ((how == "In" || how == "NotIn") && count == 0)
    causes.push_back(required(at, "must be specified when `operator` is 'In' or 'NotIn'"));
  else if ((how == "Exists" || how == "DoesNotExist") && count > 0)
    causes.push_back(forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
  else if ((how == "Gt" || how == "Lt") && count != 1)
    causes.push_back(required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
  else if (how.empty())
    causes.push_back(invalid(path.child("operator"), how, "not a valid selector operator"));
}

}  // namespace dure::kinds::pods
