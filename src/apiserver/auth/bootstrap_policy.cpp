#include "apiserver/auth/bootstrap_policy.h"

#include <algorithm>

#include "apiserver/auth/rbac_objects.h"
#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/rbac_v1.h"
#include "kinds/views/scheduling_v1.h"

namespace dure::apiserver {
namespace {

using namespace kinds;

constexpr std::string_view rbac_api_group = "rbac.authorization.k8s.io";
constexpr std::string_view autoupdate = "rbac.authorization.kubernetes.io/autoupdate";

// --- reading rows

std::vector<std::string> joined_rows(std::string_view text) {
  std::vector<std::string> rows;
  for (const std::string_view line : split(text, '\n')) {
    if (trim(line).empty()) continue;
    if (!line.starts_with("      ") || rows.empty()) {
      rows.emplace_back(line);
      continue;
    }
    if (!rows.back().ends_with(',')) rows.back() += ' ';
    rows.back() += trim(line);
  }
  return rows;
}

std::vector<std::string> list_of(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view part : split(text, ',')) out.emplace_back(part == "core" ? "" : part);
  return out;
}

bool read_rule(const std::vector<std::string_view>& words, PolicyRule& rule) {
  if (words.size() < 3 || words.size() > 4) return false;
  rule.verbs = list_of(words[0]);
  if (words[1] == "path") {
    rule.non_resource_urls = list_of(words[2]);
    return words.size() == 3;
  }
  rule.api_groups = list_of(words[1]);
  rule.resources = list_of(words[2]);
  if (words.size() == 4) rule.resource_names = list_of(words[3]);
  return true;
}

bool read_mark(std::string_view word, Role& role) {
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos) return false;
  std::string key(word.substr(1, equals - 1)), value(word.substr(equals + 1));
  if (word[0] == '+') {
    role.labels.emplace(std::move(key), std::move(value));
    return true;
  }
  if (word[0] != '<') return false;
  if (!role.aggregation) role.aggregation.emplace();
  role.aggregation->push_back({LabelRule{std::move(key), LabelRule::Operator::in, {std::move(value)}}});
  return true;
}

bool read_subject_word(std::string_view word, Subject& subject) {
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view kind = word.substr(0, equals), name = word.substr(equals + 1);
  const size_t slash = name.find('/');
  subject.name = name;
  if (kind == "user")
    subject.kind = Subject::Kind::user;
  else if (kind == "group")
    subject.kind = Subject::Kind::group;
  else if (kind == "account" && slash != std::string_view::npos)
    subject = {Subject::Kind::service_account, std::string(name.substr(slash + 1)), std::string(name.substr(0, slash))};
  else
    return false;
  return true;
}

void split_name(std::string_view text, bool namespaced, std::string& namespace_, std::string& name) {
  const size_t slash = namespaced ? text.find('/') : std::string_view::npos;
  if (slash != std::string_view::npos) namespace_ = text.substr(0, slash);
  name = slash == std::string_view::npos ? text : text.substr(slash + 1);
}

bool read_binding_row(const std::vector<std::string_view>& words, Binding& binding) {
  if (words.size() < 3) return false;
  split_name(words[1], words[0] == "binding", binding.namespace_, binding.name);
  binding.to_cluster_role = words[2].starts_with("ClusterRole/");
  binding.role = words[2].substr(words[2].find('/') + 1);
  for (size_t i = 3; i < words.size(); ++i)
    if (!read_subject_word(words[i], binding.subjects.emplace_back())) return false;
  return true;
}

bool read_role_row(const std::vector<std::string_view>& words, Role& role) {
  if (words.size() < 2) return false;
  split_name(words[1], words[0] == "role", role.namespace_, role.name);
  for (size_t i = 2; i < words.size(); ++i)
    if (!read_mark(words[i], role)) return false;
  return true;
}

bool read_row(std::string_view row, PolicyText& out) {
  std::vector<std::string_view> words;
  for (const std::string_view word : split(trim(row), ' '))
    if (!word.empty()) words.push_back(word);
  if (row.starts_with("  ")) return !out.roles.empty() && read_rule(words, out.roles.back().rules.emplace_back());
  if (words[0] == "clusterrole" || words[0] == "role") return read_role_row(words, out.roles.emplace_back());
  if (words[0] == "clusterbinding" || words[0] == "binding")
    return read_binding_row(words, out.bindings.emplace_back());
  return false;
}

// --- writing objects

void mark_default(const meta_v1::ObjectMeta& metadata, bool defaults) {
  if (!defaults) return;
  metadata.set_annotations(autoupdate, "true");
  metadata.set_labels("kubernetes.io/bootstrapping", "rbac-defaults");
}

void write_rule(const rbac_v1::PolicyRule& out, const PolicyRule& rule) {
  for (const auto& text : rule.verbs) out.add_verbs(text);
  for (const auto& text : rule.api_groups) out.add_apiGroups(text);
  for (const auto& text : rule.resources) out.add_resources(text);
  for (const auto& text : rule.resource_names) out.add_resourceNames(text);
  for (const auto& text : rule.non_resource_urls) out.add_nonResourceURLs(text);
}

template <class View>
schema::Document start(const schema::Resource& resource, std::string_view namespace_, std::string_view name) {
  schema::Document document(View::type());
  const View object(document);
  object.set_kind(resource.kind);
  object.set_apiVersion(resource.api_version());
  object.mutable_metadata().set_name(name);
  if (!namespace_.empty()) object.mutable_metadata().set_namespace(namespace_);
  return document;
}

BootstrapObject role_object(const Role& role, bool defaults) {
  const bool cluster = role.namespace_.empty();
  const schema::Resource& resource = cluster ? rbac_v1::clusterroles : rbac_v1::roles;
  schema::Document document = cluster ? start<rbac_v1::ClusterRole>(resource, "", role.name)
                                      : start<rbac_v1::Role>(resource, role.namespace_, role.name);
  const rbac_v1::ClusterRole object(document);
  mark_default(object.mutable_metadata(), defaults);
  for (const auto& [key, value] : role.labels) object.mutable_metadata().set_labels(key, value);
  for (const PolicyRule& rule : role.rules) write_rule(object.add_rules(), rule);
  if (role.aggregation)
    for (const auto& selector : *role.aggregation) {
      const auto out = object.mutable_aggregationRule().add_clusterRoleSelectors();
      for (const LabelRule& rule : selector) out.set_matchLabels(rule.key, rule.values[0]);
    }
  return {&resource, role.namespace_, std::move(document)};
}

void write_subject(const rbac_v1::Subject& out, const Subject& subject) {
  if (subject.kind == Subject::Kind::service_account) {
    out.set_kind("ServiceAccount");
    out.set_namespace(subject.namespace_);
  } else {
    out.set_kind(subject.kind == Subject::Kind::group ? "Group" : "User");
    out.set_apiGroup(rbac_api_group);
  }
  out.set_name(subject.name);
}

BootstrapObject binding_object(const Binding& binding, bool defaults) {
  const bool cluster = binding.namespace_.empty();
  const schema::Resource& resource = cluster ? rbac_v1::clusterrolebindings : rbac_v1::rolebindings;
  schema::Document document = cluster ? start<rbac_v1::ClusterRoleBinding>(resource, "", binding.name)
                                      : start<rbac_v1::RoleBinding>(resource, binding.namespace_, binding.name);
  const rbac_v1::RoleBinding object(document);
  mark_default(object.mutable_metadata(), defaults);
  for (const Subject& subject : binding.subjects) write_subject(object.add_subjects(), subject);
  const auto ref = object.mutable_roleRef();
  ref.set_apiGroup(rbac_api_group);
  ref.set_kind(binding.to_cluster_role ? "ClusterRole" : "Role");
  ref.set_name(binding.role);
  return {&resource, binding.namespace_, std::move(document)};
}

BootstrapObject namespace_object(std::string_view name) {
  return {&core_v1::namespaces, "", start<core_v1::Namespace>(core_v1::namespaces, "", name)};
}

BootstrapObject priority_object(std::string_view name, int64_t value, std::string_view why) {
  schema::Document document = start<scheduling_v1::PriorityClass>(scheduling_v1::priorityclasses, "", name);
  const scheduling_v1::PriorityClass object(document);
  object.set_value(value);
  object.set_description(why);
  object.set_preemptionPolicy("PreemptLowerPriority");
  return {&scheduling_v1::priorityclasses, "", std::move(document)};
}

void add_policy(std::vector<BootstrapObject>& out, std::string_view rows, bool defaults) {
  const Result<PolicyText> text = parse_policy(rows);
  DURE_ASSERT(text.has_value());
  for (const Role& role : text->roles) out.push_back(role_object(role, defaults));
  for (const Binding& binding : text->bindings) out.push_back(binding_object(binding, defaults));
}

// --- reconciling

bool same_subject(const rbac_v1::Subject& a, const rbac_v1::Subject& b) {
  return a.kind() == b.kind() && a.name() == b.name() && a.namespace_() == b.namespace_();
}

template <class Map>
bool lacks(const Map& have, const Map& want) {
  for (const auto& [key, value] : want)
    if (!have.contains(key)) return true;
  return false;
}

bool add_rules(const schema::Document& wanted, const schema::Document& existing, schema::Document& out) {
  if (rbac_v1::ClusterRole(wanted).has_aggregationRule()) return false;  // its rules are computed
  const PolicyRules have = read_role(existing).rules, want = read_role(wanted).rules;
  const PolicyRules missing = compact(not_covered(have, want));
  for (const PolicyRule& rule : missing) write_rule(rbac_v1::ClusterRole(out).add_rules(), rule);
  return !missing.empty();
}

bool add_subjects(const schema::Document& wanted, const schema::Document& existing, schema::Document& out) {
  bool changed = false;
  const rbac_v1::RoleBinding have(existing), target(out);
  for (const auto& subject : rbac_v1::RoleBinding(wanted).subjects()) {
    const auto list = have.subjects();
    if (std::any_of(list.begin(), list.end(), [&](const auto& other) { return same_subject(subject, other); }))
      continue;
    const auto added = target.add_subjects();
    out.copy(added.mutable_node(), subject.node());
    changed = true;
  }
  return changed;
}

bool add_labels(const schema::Document& wanted, const schema::Document& existing, schema::Document& out) {
  const auto want = rbac_v1::Role(wanted).metadata(), have = rbac_v1::Role(existing).metadata();
  if (!lacks(have.labels(), want.labels())) return false;
  for (const auto& [key, value] : want.labels())
    if (!have.labels().contains(key)) rbac_v1::Role(out).mutable_metadata().set_labels(key, value);
  return true;
}

}  // namespace

Result<PolicyText> parse_policy(std::string_view text) {
  PolicyText out;
  for (const std::string& row : joined_rows(text))
    if (!read_row(row, out)) return fail(bad_request("not a policy row: " + row));
  return out;
}

const PolicyRules& node_rules() {
  static const PolicyRules rules = [] {
    const Result<PolicyText> text = parse_policy(bootstrap_policy_rows);
    DURE_ASSERT(text.has_value());
    for (const Role& role : text->roles)
      if (role.name == "system:node") return role.rules;
    return PolicyRules{};
  }();
  return rules;
}

std::vector<BootstrapObject> bootstrap_objects() {
  std::vector<BootstrapObject> out;
  for (const char* name : {"kube-system", "kube-public", "kube-node-lease", "default"})
    out.push_back(namespace_object(name));
  out.push_back(priority_object("system-node-critical", 2000001000, "For pods that a node cannot do without."));
  out.push_back(priority_object("system-cluster-critical", 2000000000,
                                "For pods that the cluster cannot do without; they may move to another node."));
  add_policy(out, bootstrap_policy_rows, true);
  add_policy(out, joining_policy_rows, false);
  return out;
}

std::optional<schema::Document> reconciled(const BootstrapObject& wanted, const schema::Document& existing) {
  if (wanted.resource->group != rbac_api_group) return std::nullopt;
  if (rbac_v1::Role(existing).metadata().annotations().get(autoupdate) != "true") return std::nullopt;
  schema::Document out = existing.clone();
  const bool role = wanted.resource == &rbac_v1::roles || wanted.resource == &rbac_v1::clusterroles;
  const bool parts = role ? add_rules(wanted.object, existing, out) : add_subjects(wanted.object, existing, out);
  const bool labels = add_labels(wanted.object, existing, out);
  if (!parts && !labels) return std::nullopt;
  return out;
}

}  // namespace dure::apiserver
