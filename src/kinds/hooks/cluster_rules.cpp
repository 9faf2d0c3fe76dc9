// Namespaces, nodes, configuration, roles, limits, selectors, custom kinds: defaults and validation
// across rows.
#include "base/text.h"
#include "kinds/hooks/rules.h"
#include "kinds/views/apiextensions_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/policy_v1.h"
#include "kinds/views/rbac_v1.h"
#include "schema/text_rules.h"

namespace dure::kinds {

namespace {

using namespace rules;

constexpr int64_t kConfigBytesMax = 1 << 20;

// Selectors over namespaces can then name one.
void namespace_defaults(Document& document, Node* node) {
  const core_v1::Namespace space(&document, node);
  if (!space.metadata().name().empty())
    space.mutable_metadata().set_labels("kubernetes.io/metadata.name", space.metadata().name());
}

void node_status_defaults(Document& document, Node* node) {
  const core_v1::NodeStatus status(&document, node);
  if (status.has_allocatable()) return;
  for (const auto [name, amount] : status.capacity()) status.set_allocatable(name, amount);
}

void limit_range_item_defaults(Document& document, Node* node) {
  const core_v1::LimitRangeItem item(&document, node);
  if (item.type() != "Container") return;
  for (const auto [name, amount] : item.max())
    if (!item.default_().contains(name)) item.set_default(name, amount);
  for (const auto [name, amount] : item.default_())
    if (!item.defaultRequest().contains(name)) item.set_defaultRequest(name, amount);
  for (const auto [name, amount] : item.min())
    if (!item.defaultRequest().contains(name)) item.set_defaultRequest(name, amount);
}

// What may never change again once `immutable` is set.
void validate_frozen(const Node* object, const Node* old, std::initializer_list<std::string_view> parts,
                     const Path& path, Causes& causes) {
  if (!old || !flag(old, "immutable")) return;
  if (!flag(object, "immutable"))
    causes.push_back(schema::forbidden(path.child("immutable"), "field is immutable when `immutable` is set"));
  for (const std::string_view part : parts)
    if (!schema::equal(object->find(part), old->find(part)))
      causes.push_back(schema::forbidden(path.child(part), "field is immutable when `immutable` is set"));
}

int64_t bytes_in(const Node* map, bool base64) {
  int64_t total = 0;
  for (const Node* child = map ? map->first() : nullptr; child; child = child->next()) {
    const auto size = static_cast<int64_t>(child->string().size());
    total += base64 ? size / 4 * 3 : size;
  }
  return total;
}

void validate_config_map(const Node* object, const Node* old, const Path& path, Causes& causes) {
  validate_frozen(object, old, {"data", "binaryData"}, path, causes);
  const Node *data = object->find("data"), *binary = object->find("binaryData");
  for (const Node* child = binary ? binary->first() : nullptr; child; child = child->next())
    if (data && data->find(child->key())) {
      const Path data_path = path.child("data");
      causes.push_back(
          schema::invalid(data_path.key(child->key()), child->key(), "duplicate of key present in binaryData"));
    }
  if (bytes_in(data, false) + bytes_in(binary, true) > kConfigBytesMax)
    causes.push_back(schema::too_long(Path(), kConfigBytesMax));
}

void validate_secret(const Node* object, const Node* old, const Path& path, Causes& causes) {
  validate_frozen(object, old, {"data"}, path, causes);
  if (old && text(object, "type") != text(old, "type"))
    causes.push_back(schema::invalid(path.child("type"), text(object, "type"), "field is immutable"));
  if (bytes_in(object->find("data"), true) > kConfigBytesMax)
    causes.push_back(schema::too_long(path.child("data"), kConfigBytesMax));
  const auto needs = [&](std::string_view type, std::string_view key) {
    const Node* data = object->find("data");
    const Path at = path.child("data");
    if (text(object, "type") == type && !(data && data->find(key))) causes.push_back(schema::required(at.key(key)));
  };
  needs("kubernetes.io/tls", "tls.crt");
  needs("kubernetes.io/tls", "tls.key");
  needs("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
}

void validate_label_selector_requirement(const Node* object, const Node*, const Path& path, Causes& causes) {
  const std::string_view how = text(object, "operator");
  const Path values = path.child("values");
  if (how == "In" || how == "NotIn") {
    if (!is_set(object, "values"))
      causes.push_back(schema::required(values, "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (how == "Exists" || how == "DoesNotExist") {
    if (is_set(object, "values"))
      causes.push_back(schema::forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
  } else {
    causes.push_back(schema::invalid(path.child("operator"), how, "not a valid selector operator"));
  }
  uint32_t index = 0;
  const Node* list = object->find("values");
  for (const Node* value = list ? list->first() : nullptr; value; value = value->next(), ++index)
    if (const std::string wrong = schema::check_label_value(value->string()); !wrong.empty())
      causes.push_back(schema::invalid(values.index(index), value->string(), wrong));
}

void validate_role_ref(const Node* object, const Node*, const Path& path, Causes& causes) {
  constexpr std::string_view kGroups[] = {"rbac.authorization.k8s.io"}, kKinds[] = {"Role", "ClusterRole"};
  if (text(object, "apiGroup") != kGroups[0])
    causes.push_back(schema::not_supported(path.child("apiGroup"), text(object, "apiGroup"), kGroups));
  if (text(object, "kind") != "Role" && text(object, "kind") != "ClusterRole")
    causes.push_back(schema::not_supported(path.child("kind"), text(object, "kind"), kKinds));
}

void validate_subject(const Node* object, const Node*, const Path& path, Causes& causes) {
  constexpr std::string_view kKinds[] = {"ServiceAccount", "User", "Group"};
  const std::string_view kind = text(object, "kind");
  if (kind != "ServiceAccount" && kind != "User" && kind != "Group") {
    causes.push_back(schema::not_supported(path.child("kind"), kind, kKinds));
    return;
  }
  if (kind == "ServiceAccount" && !is_set(object, "namespace"))
    causes.push_back(schema::required(path.child("namespace")));
}

void validate_policy_rule(const Node* object, const Node*, const Path& path, Causes& causes) {
  if (is_set(object, "nonResourceURLs")) {
    if (is_set(object, "apiGroups") || is_set(object, "resources") || is_set(object, "resourceNames"))
      causes.push_back(schema::invalid(path.child("nonResourceURLs"), object->find("nonResourceURLs"),
                                       "rules cannot apply to both regular resources and non-resource URLs"));
    return;
  }
  if (!is_set(object, "apiGroups"))
    causes.push_back(schema::required(path.child("apiGroups"), "resource rules must supply at least one api group"));
  if (!is_set(object, "resources"))
    causes.push_back(schema::required(path.child("resources"), "resource rules must supply at least one resource"));
}

void validate_disruption_spec(const Node* object, const Node*, const Path& path, Causes& causes) {
  const Node *least = object->find("minAvailable"), *most = object->find("maxUnavailable");
  if (least && most)
    causes.push_back(schema::invalid(path, object, "minAvailable and maxUnavailable cannot be both set"));
  check_count_or_percent(least, path.child("minAvailable"), causes);
  check_count_or_percent(most, path.child("maxUnavailable"), causes);
}

void custom_names_defaults(Document& document, Node* node) {
  const apiextensions_v1::CustomResourceDefinitionNames names(&document, node);
  if (names.kind().empty()) return;
  if (names.singular().empty()) names.set_singular(lower(names.kind()));
  if (names.listKind().empty()) names.set_listKind(std::string(names.kind()) + "List");
}

void custom_definition_defaults(Document& document, Node* node) {
  const apiextensions_v1::CustomResourceDefinition definition(&document, node);
  if (!definition.status().storedVersions().empty()) return;
  for (const auto version : definition.spec().versions())
    if (version.storage()) {
      definition.mutable_status().add_storedVersions(version.name());
      return;
    }
}

}  // namespace

namespace core_v1::hooks {
extern const schema::Hooks Namespace, NodeStatus, LimitRangeItem, ConfigMap, Secret;
constinit const schema::Hooks Namespace{.apply_defaults = namespace_defaults};
constinit const schema::Hooks NodeStatus{.apply_defaults = node_status_defaults};
constinit const schema::Hooks LimitRangeItem{.apply_defaults = limit_range_item_defaults};
constinit const schema::Hooks ConfigMap{.validate = validate_config_map};
constinit const schema::Hooks Secret{.validate = validate_secret};
}  // namespace core_v1::hooks

namespace meta_v1::hooks {
extern const schema::Hooks LabelSelectorRequirement;
constinit const schema::Hooks LabelSelectorRequirement{.validate = validate_label_selector_requirement};
}  // namespace meta_v1::hooks

namespace rbac_v1::hooks {
extern const schema::Hooks RoleRef, Subject, PolicyRule;
constinit const schema::Hooks RoleRef{.validate = validate_role_ref};
constinit const schema::Hooks Subject{.validate = validate_subject};
constinit const schema::Hooks PolicyRule{.validate = validate_policy_rule};
}  // namespace rbac_v1::hooks

namespace policy_v1::hooks {
extern const schema::Hooks PodDisruptionBudgetSpec;
constinit const schema::Hooks PodDisruptionBudgetSpec{.validate = validate_disruption_spec};
}  // namespace policy_v1::hooks

namespace apiextensions_v1::hooks {
extern const schema::Hooks CustomResourceDefinition, CustomResourceDefinitionNames;
constinit const schema::Hooks CustomResourceDefinition{.apply_defaults = custom_definition_defaults};
constinit const schema::Hooks CustomResourceDefinitionNames{.apply_defaults = custom_names_defaults};
}  // namespace apiextensions_v1::hooks

}  // namespace dure::kinds
