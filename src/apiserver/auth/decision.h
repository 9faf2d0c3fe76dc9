// Decision: what one authorizer of the chain says, and the sentences of refusals.
#pragma once

#include <string>
#include <string_view>

#include "apiserver/request.h"
#include "base/error.h"

namespace dure::apiserver {

struct Decision {
  enum class Kind { allow, deny, no_opinion };
  Kind kind = Kind::no_opinion;
  std::string reason = {};

  bool allowed() const { return kind == Kind::allow; }
  static Decision allow(std::string why = {}) { return {Kind::allow, std::move(why)}; }
  static Decision none(std::string why = {}) { return {Kind::no_opinion, std::move(why)}; }
};

// 403 in upstream's words: pods is forbidden: User "x" cannot list resource "pods" in API group ""
// in the namespace "default"
Error refused_request(const User& user, const Attributes& attributes, std::string_view reason = {});
// 403 for an object that admission or another policy refuses: pods "x" is forbidden: <why>
Error refused_object(std::string_view group, std::string_view resource, std::string_view name, std::string_view why);

// A text as Go's %q writes it.
std::string quoted(std::string_view text);

}  // namespace dure::apiserver
