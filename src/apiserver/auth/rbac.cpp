#include "apiserver/auth/rbac.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "apiserver/auth/user.h"

namespace dure::apiserver {
namespace {

bool label_matches(const LabelRule& rule, const Labels& labels) {
  const auto found = labels.find(rule.key);
  const bool present = found != labels.end();
  const auto listed = [&] {
    return std::find(rule.values.begin(), rule.values.end(), found->second) != rule.values.end();
  };
  switch (rule.op) {
    case LabelRule::Operator::in:
      return present && listed();
    case LabelRule::Operator::not_in:
      return !present || !listed();
    case LabelRule::Operator::exists:
      return present;
    case LabelRule::Operator::does_not_exist:
      return !present;
  }
  return false;
}

// How a subject of a binding is called as a user.
std::string user_name(const Subject& subject, const Binding& binding) {
  if (subject.kind != Subject::Kind::service_account) return subject.name;
  const std::string& ns = subject.namespace_.empty() ? binding.namespace_ : subject.namespace_;
  return std::string(names::service_account_prefix) + ns + ":" + subject.name;
}

std::string_view kind_text(Subject::Kind kind) {
  switch (kind) {
    case Subject::Kind::user:
      return "User";
    case Subject::Kind::group:
      return "Group";
    case Subject::Kind::service_account:
      return "ServiceAccount";
  }
  return "";
}

std::string subject_text(const Subject& subject) {
  const std::string name =
      subject.kind == Subject::Kind::service_account ? subject.name + "/" + subject.namespace_ : subject.name;
  return std::string(kind_text(subject.kind)) + " " + quoted(name);
}

std::string allowed_by(const Binding& binding, const Subject& subject) {
  const bool cluster = binding.namespace_.empty();
  return "RBAC: allowed by " +
         (cluster ? "ClusterRoleBinding " + quoted(binding.name)
                  : "RoleBinding " + quoted(binding.name + "/" + binding.namespace_)) +
         " of " + (binding.to_cluster_role ? "ClusterRole " : "Role ") + quoted(binding.role) + " to " +
         subject_text(subject);
}

std::string missing_role(const Binding& binding) {
  return std::string(binding.to_cluster_role ? "clusterrole" : "role") + ".rbac.authorization.k8s.io " +
         quoted(binding.role) + " not found";
}

void add_once(std::vector<std::string>& list, std::string text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(std::move(text));
}

// As an aggregate of errors prints itself.
std::string aggregate_text(const std::vector<std::string>& errors) {
  if (errors.size() == 1) return errors[0];
  std::string out = "[";
  for (size_t i = 0; i < errors.size(); ++i) out.append(i ? ", " : "").append(errors[i]);
  return out + "]";
}

}  // namespace

bool labels_match(const std::vector<LabelRule>& rules, const Labels& labels) {
  return std::all_of(rules.begin(), rules.end(), [&](const LabelRule& rule) { return label_matches(rule, labels); });
}

void Rbac::put_role(Role role) {
  const std::unique_lock lock(mutex_);
  Slot& slot = roles_[{role.namespace_, role.name}];
  if (!role.aggregation) slot.effective = role.rules;
  if (role.namespace_.empty()) aggregation_stale_ = true;
  slot.role = std::move(role);
}

void Rbac::remove_role(std::string_view namespace_, std::string_view name) {
  const std::unique_lock lock(mutex_);
  const auto found = roles_.find({std::string(namespace_), std::string(name)});
  if (found == roles_.end()) return;
  found->second.role.reset();
  found->second.effective.clear();
  if (found->second.references == 0) roles_.erase(found);
  if (namespace_.empty()) aggregation_stale_ = true;
}

Rbac::Slot& Rbac::slot_of(const Binding& binding) {
  return roles_[{binding.to_cluster_role ? std::string() : binding.namespace_, binding.role}];
}

void Rbac::link(const Binding& binding, Slot& slot) {
  if (binding.subjects.empty()) return;  // no empty scope is left behind
  Scope& scope = binding.namespace_.empty() ? cluster_ : namespaces_[binding.namespace_];
  for (const Subject& subject : binding.subjects) {
    auto& map = subject.kind == Subject::Kind::group ? scope.groups : scope.users;
    map[user_name(subject, binding)].push_back({&binding, &subject, &slot});
  }
}

void Rbac::unlink(const Binding& binding) {
  const auto found = binding.namespace_.empty() ? namespaces_.end() : namespaces_.find(binding.namespace_);
  Scope& scope = binding.namespace_.empty() ? cluster_ : found->second;
  for (const Subject& subject : binding.subjects) {
    auto& map = subject.kind == Subject::Kind::group ? scope.groups : scope.users;
    const auto grants = map.find(user_name(subject, binding));
    if (grants == map.end()) continue;
    std::erase_if(grants->second, [&](const Grant& grant) { return grant.binding == &binding; });
    if (grants->second.empty()) map.erase(grants);
  }
  if (found != namespaces_.end() && scope.users.empty() && scope.groups.empty()) namespaces_.erase(found);
}

void Rbac::drop_binding(const Name& name) {
  const auto found = bindings_.find(name);
  if (found == bindings_.end()) return;
  const Binding& binding = *found->second;
  if (!binding.subjects.empty()) unlink(binding);
  Slot& slot = slot_of(binding);
  if (--slot.references == 0 && !slot.role)
    roles_.erase({binding.to_cluster_role ? std::string() : binding.namespace_, binding.role});
  bindings_.erase(found);
}

void Rbac::put_binding(Binding binding) {
  const std::unique_lock lock(mutex_);
  const Name name{binding.namespace_, binding.name};
  drop_binding(name);
  const auto kept = bindings_.emplace(name, std::make_unique<const Binding>(std::move(binding))).first;
  Slot& slot = slot_of(*kept->second);
  ++slot.references;
  link(*kept->second, slot);
}

void Rbac::remove_binding(std::string_view namespace_, std::string_view name) {
  const std::unique_lock lock(mutex_);
  drop_binding({std::string(namespace_), std::string(name)});
}

// --- aggregation

void Rbac::collect(const Slot& slot, std::vector<const Slot*>& seen, PolicyRules& out) const {
  if (std::find(seen.begin(), seen.end(), &slot) != seen.end()) return;
  seen.push_back(&slot);
  if (!slot.role->aggregation) {
    for (const PolicyRule& rule : slot.role->rules)
      if (std::find(out.begin(), out.end(), rule) == out.end()) out.push_back(rule);
    return;
  }
  // Cluster roles come first in the map: their namespace is empty.
  for (const auto& [name, other] : roles_) {
    if (!name.first.empty()) break;
    if (!other.role) continue;
    const auto& selectors = *slot.role->aggregation;
    if (std::any_of(selectors.begin(), selectors.end(),
                    [&](const auto& rules) { return labels_match(rules, other.role->labels); }))
      collect(other, seen, out);
  }
}

void Rbac::aggregate() const {
  for (auto& [name, slot] : roles_) {
    if (!name.first.empty()) break;
    if (!slot.role || !slot.role->aggregation) continue;
    std::vector<const Slot*> seen;
    PolicyRules rules;
    collect(slot, seen, rules);
    slot.effective = std::move(rules);
  }
}

std::shared_lock<std::shared_mutex> Rbac::reading() const {
  if (aggregation_stale_.load(std::memory_order_acquire)) {
    const std::unique_lock lock(mutex_);
    if (aggregation_stale_.exchange(false)) aggregate();
  }
  return std::shared_lock(mutex_);
}

// --- decisions

template <class Visit>
bool Rbac::visit_scope(const Scope& scope, const User& user, Visit& visit) {
  const auto each = [&](const TextMap<std::vector<Grant>>& map, const std::string& name) {
    const auto found = map.find(name);
    return found == map.end() || std::all_of(found->second.begin(), found->second.end(), visit);
  };
  return each(scope.users, user.name) &&
         std::all_of(user.groups.begin(), user.groups.end(),
                     [&](const std::string& group) { return each(scope.groups, group); });
}

template <class Visit>
void Rbac::visit(const User& user, std::string_view namespace_, Visit&& visit) const {
  if (!visit_scope(cluster_, user, visit) || namespace_.empty()) return;
  const auto found = namespaces_.find(namespace_);
  if (found != namespaces_.end()) visit_scope(found->second, user, visit);
}

Decision Rbac::decide(const User& user, const Attributes& attributes, bool explain) const {
  const auto lock = reading();
  Decision decision;
  std::vector<std::string> errors;
  const std::string_view scope = attributes.is_resource() ? attributes.namespace_ : std::string_view{};
  visit(user, scope, [&](const Grant& grant) {
    if (!grant.slot->role) add_once(errors, missing_role(*grant.binding));
    if (!rules_allow(grant.slot->effective, attributes)) return true;
    decision = Decision::allow(explain ? allowed_by(*grant.binding, *grant.subject) : std::string());
    return false;
  });
  if (!decision.allowed() && !errors.empty()) decision.reason = "RBAC: " + aggregate_text(errors);
  return decision;
}

RulesOfUser Rbac::rules_of(const User& user, std::string_view namespace_) const {
  const auto lock = reading();
  RulesOfUser out;
  visit(user, namespace_, [&](const Grant& grant) {
    if (!grant.slot->role) add_once(out.errors, missing_role(*grant.binding));
    out.rules.insert(out.rules.end(), grant.slot->effective.begin(), grant.slot->effective.end());
    return true;
  });
  return out;
}

std::optional<PolicyRules> Rbac::role_rules(std::string_view namespace_, std::string_view name) const {
  const auto lock = reading();
  const auto found = roles_.find({std::string(namespace_), std::string(name)});
  if (found == roles_.end() || !found->second.role) return std::nullopt;
  return found->second.effective;
}

Status check_no_escalation(const Rbac& rbac, const User& user, const Attributes& attributes,
                           const PolicyRules& wanted) {
  const RulesOfUser held = rbac.rules_of(user, attributes.namespace_);
  const PolicyRules missing = not_covered(held.rules, wanted);
  if (missing.empty()) return {};
  std::set<std::string> rows;
  for (const PolicyRule& rule : compact(missing)) rows.insert(rule_text(rule));
  std::string groups = "[";
  for (const std::string& group : user.groups) groups.append(groups.size() > 1 ? " " : "").append(quoted(group));
  std::string why = "user " + quoted(user.name) + " (groups=" + groups +
                    "]) is attempting to grant RBAC permissions not currently held:";
  for (const std::string& row : rows) why.append("\n").append(row);
  if (!held.errors.empty()) why.append("; resolution errors: ").append(aggregate_text(held.errors));
  return fail(refused_object(attributes.group, attributes.resource, attributes.name, why));
}

}  // namespace dure::apiserver
