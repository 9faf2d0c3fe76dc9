// Rbac: Roles, ClusterRoles and their bindings as an index by subject, and the decisions drawn from
// it.
//
// Fed object by object (`put_*`, `remove_*`), in the order of commits; a change costs what it
// touches, not the whole index. Thread: any; decisions run in parallel, changes one at a time. A
// decision of a user with ten rules costs well under a microsecond, so nothing is remembered
// between decisions and nothing can be stale.
//
// Semantics: rbac.authorization.k8s.io/v1. Aggregated ClusterRoles are computed here from their
// selectors; what stands in their own `rules` does not count (upstream's controller would overwrite
// it).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "apiserver/auth/decision.h"
#include "apiserver/auth/rbac_rule.h"

namespace dure::apiserver {

// metav1.LabelSelector over plain maps.
struct LabelRule {
  enum class Operator { in, not_in, exists, does_not_exist };
  std::string key;
  Operator op = Operator::in;
  std::vector<std::string> values;
};
using Labels = std::map<std::string, std::string, std::less<>>;
bool labels_match(const std::vector<LabelRule>& rules, const Labels& labels);

struct Role {  // or ClusterRole: then without namespace
  std::string namespace_, name;
  PolicyRules rules;
  Labels labels = {};
  // Of a ClusterRole with an aggregationRule: any of these selectors takes a role in.
  std::optional<std::vector<std::vector<LabelRule>>> aggregation = {};
};

struct Subject {
  enum class Kind { user, group, service_account };
  Kind kind = Kind::user;
  std::string name, namespace_ = {};
};

struct Binding {  // RoleBinding, or ClusterRoleBinding: then without namespace
  std::string namespace_, name;
  bool to_cluster_role = true;
  std::string role;
  std::vector<Subject> subjects;
};

struct RulesOfUser {
  PolicyRules rules;
  std::vector<std::string> errors;  // role references that lead nowhere
};

class Rbac {
 public:
  void put_role(Role role);
  void remove_role(std::string_view namespace_, std::string_view name);
  void put_binding(Binding binding);
  void remove_binding(std::string_view namespace_, std::string_view name);

  // `explain`: an allowing decision says by which binding; costs an allocation.
  Decision decide(const User& user, const Attributes& attributes, bool explain = false) const;
  // Everything a user may do in a namespace (and cluster-wide), for rules reviews and the
  // escalation check.
  RulesOfUser rules_of(const User& user, std::string_view namespace_) const;
  // The rules a role holds, aggregation included; empty when it does not exist.
  std::optional<PolicyRules> role_rules(std::string_view namespace_, std::string_view name) const;

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  template <class T>
  using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;
  using Name = std::pair<std::string, std::string>;

  struct Slot {  // a role that exists or is only referred to
    std::optional<Role> role;
    PolicyRules effective;
    size_t references = 0;
  };
  struct Grant {
    const Binding* binding = nullptr;
    const Subject* subject = nullptr;
    const Slot* slot = nullptr;
  };
  struct Scope {
    TextMap<std::vector<Grant>> users, groups;
  };

  template <class Visit>  // bool(const Grant&): false ends the walk
  void visit(const User& user, std::string_view namespace_, Visit&& visit) const;
  template <class Visit>
  static bool visit_scope(const Scope& scope, const User& user, Visit& visit);

  void drop_binding(const Name& name);
  void link(const Binding& binding, Slot& slot);
  void unlink(const Binding& binding);
  Slot& slot_of(const Binding& binding);
  void aggregate() const;
  void collect(const Slot& slot, std::vector<const Slot*>& seen, PolicyRules& out) const;
  // Holds the lock for reading, with aggregated rules up to date.
  std::shared_lock<std::shared_mutex> reading() const;

  mutable std::shared_mutex mutex_;
  mutable std::map<Name, Slot> roles_;
  std::map<Name, std::unique_ptr<const Binding>> bindings_;
  Scope cluster_;
  TextMap<Scope> namespaces_;
  mutable std::atomic<bool> aggregation_stale_ = false;
};

// May `user` hand out `wanted`? Only what the user holds. The error is the 403 for the object named
// by `attributes`.
Status check_no_escalation(const Rbac& rbac, const User& user, const Attributes& attributes, const PolicyRules& wanted);

}  // namespace dure::apiserver
