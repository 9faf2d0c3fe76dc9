// Error: why something failed, in a form that a person can act on and a client can parse.
//
// For API errors `code` and `reason` are those of a Kubernetes Status (metav1.StatusReason): 404 "NotFound",
// 409 "Conflict" or "AlreadyExists", 422 "Invalid" with one Cause per field. For the machine's own errors `reason` is
// a stable PascalCase code ("StoreCorrupt") and `remedy` the command that fixes it.
//
// The leaf says why; the caller says what: `with_context` puts "what" before the message.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dure {

struct Cause {
  std::string reason;   // "FieldValueRequired", "FieldValueInvalid", ... (metav1.CauseType)
  std::string message;  // without the field path
  std::string field;    // "spec.containers[0].name"
};

struct Error {
  int code = 500;
  std::string reason = "InternalError";
  std::string message;
  std::string remedy = {};
  std::vector<Cause> causes = {};
  // Status.details: which object; filled by the resource path.
  std::string details_group = {}, details_kind = {}, details_name = {}, details_uid = {};
  int retry_after_seconds = 0;

  bool is(std::string_view wanted) const { return reason == wanted; }
  Error with_context(std::string_view what) &&;
};

// Constructors for upstream's reasons. `resource` is the plural ("pods"), as upstream's sentences use it
// ("pods \"x\" not found"; with a group "deployments.apps \"x\" not found").
Error not_found(std::string_view resource, std::string_view name);
Error already_exists(std::string_view resource, std::string_view name);
Error conflict(std::string_view resource, std::string_view name, std::string_view why);
Error bad_request(std::string_view why);
Error unauthorized();
Error forbidden(std::string_view why);
Error gone(std::string_view why);  // 410 "Expired"
Error internal(std::string_view why);
Error unavailable(std::string_view why);  // 503 "ServiceUnavailable"
Error timed_out(std::string_view why);    // 504 "Timeout"
Error unsupported(std::string_view why);  // 501 "NotImplemented": not built yet, says so
// A failed system call: "open /x: No such file or directory".
Error from_errno(std::string_view what, int errno_value);

}  // namespace dure
