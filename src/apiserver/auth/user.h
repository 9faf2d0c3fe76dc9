// Well-known users and groups, and what a user's name says about it. The User itself stands in
// apiserver/request.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/request.h"

namespace dure::apiserver {

using UserHandle = std::shared_ptr<const User>;

namespace names {
inline constexpr std::string_view anonymous = "system:anonymous";
inline constexpr std::string_view masters = "system:masters";
inline constexpr std::string_view nodes = "system:nodes";
inline constexpr std::string_view node_prefix = "system:node:";
inline constexpr std::string_view authenticated = "system:authenticated";
inline constexpr std::string_view unauthenticated = "system:unauthenticated";
inline constexpr std::string_view service_accounts = "system:serviceaccounts";
inline constexpr std::string_view service_account_prefix = "system:serviceaccount:";
inline constexpr std::string_view bootstrappers = "system:bootstrappers";
inline constexpr std::string_view bootstrap_prefix = "system:bootstrap:";
inline constexpr std::string_view rbac_group = "rbac.authorization.k8s.io";
}  // namespace names

UserHandle anonymous_user();
// A part of the server itself: member of system:masters.
UserHandle internal_user(std::string_view name);
// True, with both parts, when the name is system:serviceaccount:<namespace>:<name>.
bool split_service_account(std::string_view user_name, std::string_view& namespace_, std::string_view& name);
std::vector<std::string> service_account_groups(std::string_view namespace_);
// The node's name when the user is a node (its name and its group both say so), else empty.
std::string_view node_of(const User& user);

}  // namespace dure::apiserver
