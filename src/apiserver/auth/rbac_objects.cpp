#include "apiserver/auth/rbac_objects.h"

namespace dure::apiserver {
namespace {

using namespace kinds;

std::vector<std::string> texts(const schema::List<std::string_view>& list) {
  std::vector<std::string> out;
  for (const std::string_view text : list) out.emplace_back(text);
  return out;
}

LabelRule::Operator read_operator(std::string_view text) {
  if (text == "NotIn") return LabelRule::Operator::not_in;
  if (text == "Exists") return LabelRule::Operator::exists;
  if (text == "DoesNotExist") return LabelRule::Operator::does_not_exist;
  return LabelRule::Operator::in;
}

std::vector<LabelRule> read_selector(const meta_v1::LabelSelector& selector) {
  std::vector<LabelRule> rules;
  for (const auto& [key, value] : selector.matchLabels())
    rules.push_back({std::string(key), LabelRule::Operator::in, {std::string(value)}});
  for (const auto& expression : selector.matchExpressions())
    rules.push_back({std::string(expression.key()), read_operator(expression.operator_()), texts(expression.values())});
  return rules;
}

Subject read_subject(const rbac_v1::Subject& subject) {
  Subject out{.name = std::string(subject.name()), .namespace_ = std::string(subject.namespace_())};
  if (subject.kind() == "Group") out.kind = Subject::Kind::group;
  if (subject.kind() == "ServiceAccount") out.kind = Subject::Kind::service_account;
  return out;
}

}  // namespace

PolicyRules read_rules(const schema::List<rbac_v1::PolicyRule>& rules) {
  PolicyRules out;
  for (const auto& rule : rules)
    out.push_back({.verbs = texts(rule.verbs()),
                   .api_groups = texts(rule.apiGroups()),
                   .resources = texts(rule.resources()),
                   .resource_names = texts(rule.resourceNames()),
                   .non_resource_urls = texts(rule.nonResourceURLs())});
  return out;
}

Role read_role(const schema::Document& document) {
  const rbac_v1::ClusterRole role(document);  // a Role is the same with a namespace and without aggregation
  Role out{.namespace_ = std::string(role.metadata().namespace_()),
           .name = std::string(role.metadata().name()),
           .rules = read_rules(role.rules())};
  for (const auto& [key, value] : role.metadata().labels()) out.labels.emplace(key, value);
  if (!role.has_aggregationRule()) return out;
  out.aggregation.emplace();
  for (const auto& selector : role.aggregationRule().clusterRoleSelectors())
    out.aggregation->push_back(read_selector(selector));
  return out;
}

Binding read_binding(const schema::Document& document) {
  const rbac_v1::RoleBinding binding(document);
  Binding out{.namespace_ = std::string(binding.metadata().namespace_()),
              .name = std::string(binding.metadata().name()),
              .to_cluster_role = binding.roleRef().kind() == "ClusterRole",
              .role = std::string(binding.roleRef().name())};
  for (const auto& subject : binding.subjects()) out.subjects.push_back(read_subject(subject));
  return out;
}

}  // namespace dure::apiserver
