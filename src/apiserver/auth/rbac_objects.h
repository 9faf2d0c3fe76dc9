// RBAC objects of the API read into the evaluator's values. Pure.
#pragma once

#include "apiserver/auth/rbac.h"
#include "kinds/views/rbac_v1.h"
#include "schema/document.h"

namespace dure::apiserver {

PolicyRules read_rules(const schema::List<kinds::rbac_v1::PolicyRule>& rules);
Role read_role(const schema::Document& role);           // Role or ClusterRole
Binding read_binding(const schema::Document& binding);  // RoleBinding or ClusterRoleBinding

}  // namespace dure::apiserver
