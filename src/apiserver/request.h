// One request to the API as every part of the server sees it: who asks, what for, and with which body. HTTP and
// in-process callers fill the same struct; authentication, authorization, admission and the resource path only know
// this one.
//
// Values; no thread rules. `resource` points to the catalog's row and lives as long as the Api.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "schema/document.h"
#include "schema/resource.h"

namespace dure::run {
class Executor;
}
namespace dure::wire {
struct Request;
}

namespace dure::apiserver {

// Who asks: authentication.k8s.io UserInfo.
struct User {
  std::string name, uid;
  std::vector<std::string> groups;
  std::vector<std::pair<std::string, std::vector<std::string>>> extra;
  bool in_group(std::string_view group) const {
    for (const std::string& g : groups)
      if (g == group) return true;
    return false;
  }
};

// What an authorizer judges: a resource request, or a plain path such as /healthz.
struct Attributes {
  std::string_view verb;  // get list watch create update patch delete deletecollection; for paths the lower-case method
  std::string_view group, version, resource, subresource, namespace_, name;
  std::string_view path;  // of a request that is not for a resource; then `resource` is empty
  std::string_view label_selector, field_selector;
  bool is_resource() const { return !resource.empty(); }
};

// What the authorizers decided. `reason` goes into the 403's sentence after a colon when it is not empty.
struct Verdict {
  bool allowed = false;
  std::string reason;
};

enum class PatchType { json, merge, strategic, apply };
enum class FieldValidation { ignore, warn, strict };

struct DeleteOptions {
  std::optional<int64_t> grace_period_seconds;
  std::optional<std::string> propagation_policy;  // Orphan, Background, Foreground
  std::optional<bool> orphan_dependents;          // the older spelling
  std::optional<std::string> precondition_uid, precondition_resource_version;
};

struct ListOptions {
  std::string label_selector, field_selector;
  std::optional<std::string> resource_version;
  std::string resource_version_match, continue_token;
  int64_t limit = 0;
  bool allow_watch_bookmarks = false;
  std::optional<bool> send_initial_events;
  std::optional<int64_t> timeout_seconds;
};

struct ApiRequest {
  std::shared_ptr<const User> user;
  std::string verb;  // as in Attributes
  const schema::Resource* resource = nullptr;
  std::string subresource, namespace_, name;
  std::string sub_path;  // what follows a proxy subresource, with its leading slash

  // Body of a write: bytes with a media type (HTTP), or an already decoded object (in process).
  std::string body, content_type;
  schema::Object object;
  PatchType patch_type = PatchType::merge;

  run::Executor* lane = nullptr;  // of a request that is handled on its connection's loop (store::Transaction::lane)
  bool dry_run = false, force = false;
  FieldValidation field_validation = FieldValidation::warn;
  std::string field_manager;
  DeleteOptions remove;
  ListOptions list;
  std::vector<std::pair<std::string, std::string>> query;  // as sent, for streaming subresources
};

// The write that admission may look at and change, before validation. `object` is null for delete, `old` for create.
struct AdmissionRequest {
  const ApiRequest* request = nullptr;
  std::string_view operation;  // CREATE UPDATE DELETE CONNECT
  schema::Document* object = nullptr;
  const schema::Document* old = nullptr;
};

using Authenticate = std::function<Result<std::shared_ptr<const User>>(const wire::Request&)>;
using Authorize = std::function<Verdict(const User&, const Attributes&)>;
using Admit = std::function<Status(AdmissionRequest&)>;
// A resource or subresource that is computed instead of stored (TokenReview, SubjectAccessReview,
// serviceaccounts/token): gets the decoded body and answers the object to return.
using Compute = std::function<Result<schema::Document>(const ApiRequest&, schema::Document body)>;

}  // namespace dure::apiserver
