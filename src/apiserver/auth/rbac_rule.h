// Policy rules of RBAC: does a rule allow a request, does a set of rules cover another. Pure.
// Semantics of rbac.authorization.k8s.io/v1: wildcards, "*/scale", resource names, paths with a
// trailing star.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/request.h"

namespace dure::apiserver {

struct PolicyRule {
  std::vector<std::string> verbs, api_groups = {}, resources = {}, resource_names = {}, non_resource_urls = {};
  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};
using PolicyRules = std::vector<PolicyRule>;

bool rule_allows(const PolicyRule& rule, const Attributes& attributes);
bool rules_allow(const PolicyRules& rules, const Attributes& attributes);

// Single rights in `wanted` that `held` does not contain; empty: covered. Each answer names one
// verb, group, resource and name.
PolicyRules not_covered(const PolicyRules& held, const PolicyRules& wanted);
// Rules that differ only in their verbs become one.
PolicyRules compact(PolicyRules rules);
// {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}
std::string rule_text(const PolicyRule& rule);

}  // namespace dure::apiserver
