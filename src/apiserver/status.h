// Errors as the API's Status objects, and the sentences that need more than base/error.h offers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "schema/resource.h"

namespace dure::apiserver {

// 422 "Invalid": `Pod "x" is invalid: spec.a: Required value`. Cause messages come without the field.
Error invalid(std::string_view group, std::string_view kind, std::string_view name, std::vector<Cause> causes);
Error invalid(const schema::Resource& resource, std::string_view name, std::vector<Cause> causes);
Error method_not_allowed(std::string_view verb, const schema::Resource& resource);
Error no_such_resource();  // 404: the server could not find the requested resource
Error not_acceptable(std::string_view offered);
Error unsupported_media_type(std::string_view offered);
Error forbidden(const schema::Resource& resource, std::string_view name, std::string_view why);
Error too_large_resource_version(int64_t asked, int64_t current);

// Fills Status.details from the resource where the error does not say.
Error about(Error error, const schema::Resource& resource, std::string_view name);

// The Status object; one line, no line end.
std::string status_json(const Error& error);
struct Success {
  std::string_view group, kind, name, uid;  // kind: the plural, as Status.details spells it
};
std::string success_json(const Success& success, int code = 0);

}  // namespace dure::apiserver
