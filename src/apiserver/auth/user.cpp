#include "apiserver/auth/user.h"

namespace dure::apiserver {

UserHandle anonymous_user() {
  static const UserHandle user = std::make_shared<const User>(User{
      .name = std::string(names::anonymous), .uid = {}, .groups = {std::string(names::unauthenticated)}, .extra = {}});
  return user;
}

UserHandle internal_user(std::string_view name) {
  return std::make_shared<const User>(User{.name = std::string(name),
                                           .uid = {},
                                           .groups = {std::string(names::masters), std::string(names::authenticated)},
                                           .extra = {}});
}

bool split_service_account(std::string_view user_name, std::string_view& namespace_, std::string_view& name) {
  if (!user_name.starts_with(names::service_account_prefix)) return false;
  const std::string_view rest = user_name.substr(names::service_account_prefix.size());
  const size_t colon = rest.find(':');
  if (colon == std::string_view::npos) return false;
  namespace_ = rest.substr(0, colon);
  name = rest.substr(colon + 1);
  return !namespace_.empty() && !name.empty() && name.find(':') == std::string_view::npos;
}

std::vector<std::string> service_account_groups(std::string_view namespace_) {
  const std::string all(names::service_accounts);
  return {all, all + ":" + std::string(namespace_)};
}

std::string_view node_of(const User& user) {
  const std::string_view name = user.name;
  if (!name.starts_with(names::node_prefix) || !user.in_group(names::nodes)) return {};
  return name.substr(names::node_prefix.size());
}

}  // namespace dure::apiserver
