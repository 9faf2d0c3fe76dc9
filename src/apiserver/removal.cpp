#include "apiserver/removal.h"

#include <algorithm>

#include <fmt/format.h>

#include "apiserver/codec.h"
#include "apiserver/metadata.h"
#include "apiserver/status.h"
#include "base/text.h"
#include "kinds/kinds.h"

namespace dure::apiserver {

using schema::Document;
using schema::Node;

namespace {

constexpr std::string_view orphan = "orphan", foreground = "foregroundDeletion";

std::optional<std::string> text_of(const Node* node) {
  if (!node || !node->is_string()) return std::nullopt;
  return std::string(node->string());
}

void take_options(const Document& body, ApiRequest& request) {
  DeleteOptions& options = request.remove;
  const Node* root = body.root();
  if (const Node* grace = root->find("gracePeriodSeconds"); grace && !grace->is_null())
    options.grace_period_seconds = grace->integer();
  if (auto policy = text_of(root->find("propagationPolicy"))) options.propagation_policy = policy;
  if (const Node* old = root->find("orphanDependents"); old && !old->is_null())
    options.orphan_dependents = old->boolean();
  if (auto uid = text_of(root->find("preconditions", "uid"))) options.precondition_uid = uid;
  if (auto version = text_of(root->find("preconditions", "resourceVersion")))
    options.precondition_resource_version = version;
  const Node* dry = root->find("dryRun");
  for (const Node* d = dry ? dry->first() : nullptr; d; d = d->next()) request.dry_run |= d->string() == "All";
}

Error bad_option(std::string reason, std::string message, std::string field) {
  return invalid("meta.k8s.io", "DeleteOptions", "", {{std::move(reason), std::move(message), std::move(field)}});
}

Status check_options(const DeleteOptions& options) {
  if (options.orphan_dependents && options.propagation_policy)
    return fail(
        bad_option("FieldValueInvalid",
                   fmt::format("Invalid value: \"{}\": orphanDependents and deletionPropagation cannot be both set",
                               *options.propagation_policy),
                   "propagationPolicy"));
  if (!options.propagation_policy) return {};
  const std::string& policy = *options.propagation_policy;
  if (policy == "Foreground" || policy == "Background" || policy == "Orphan") return {};
  return fail(bad_option(
      "FieldValueNotSupported",
      fmt::format("Unsupported value: \"{}\": supported values: \"Background\", \"Foreground\", \"Orphan\"", policy),
      "propagationPolicy"));
}

void set_finalizer(Document& object, std::string_view finalizer, bool wanted) {
  const bool there = has_finalizer(object, finalizer);
  if (there == wanted) return;
  Node* metadata = object.member(object.root(), "metadata");
  if (wanted) {
    Node* list = object.member(metadata, "finalizers");
    if (list->is_null()) object.make_list(list);
    object.set(object.append(list), finalizer);
    return;
  }
  Node* list = metadata->find("finalizers");
  for (Node* f = list->first(); f; f = f->next()) {
    if (f->string() != finalizer) continue;
    object.erase(list, f);
    break;
  }
  if (list->size() == 0) object.erase(metadata, "finalizers");
}

// Which of the collector's finalizers the delete asks for; without a wish those that are there stay.
void apply_propagation(Document& object, const DeleteOptions& options) {
  if (options.orphan_dependents) {
    set_finalizer(object, orphan, *options.orphan_dependents);
    set_finalizer(object, foreground, false);
  } else if (options.propagation_policy) {
    set_finalizer(object, orphan, *options.propagation_policy == "Orphan");
    set_finalizer(object, foreground, *options.propagation_policy == "Foreground");
  }
}

constexpr int64_t grace_max = 1 << 30;  // 34 years: no sum of times overflows

int64_t grace_of(const Document& object) {
  const Node* grace = object.root()->find("metadata", "deletionGracePeriodSeconds");
  return grace ? grace->integer() : 0;
}

void mark(Document& object, WallTime now, int64_t grace, bool keeps_generation) {
  Node* metadata = object.member(object.root(), "metadata");
  object.set(object.member(metadata, "deletionTimestamp"), format_time(now + std::chrono::seconds(grace)));
  object.set(object.member(metadata, "deletionGracePeriodSeconds"), grace);
  if (!keeps_generation) return;
  const Node* generation = metadata->find("generation");
  const int64_t before = generation ? generation->integer() : 0;
  if (before > 0) object.set(object.member(metadata, "generation"), before + 1);
}

}  // namespace

Status read_delete_options(ApiRequest& request) {
  if (request.object) {
    take_options(*request.object, request);
  } else if (!request.body.empty()) {
    DURE_TRY(const MediaType media, media_type(request.content_type));
    DURE_TRY(Decoded decoded,
             decode_body(kinds::find_type("v1", "DeleteOptions"), request.body, media, FieldValidation::ignore));
    take_options(decoded.document, request);
  }
  return check_options(request.remove);
}

Status check_preconditions(const schema::Resource& resource, const ApiRequest& request, const Document& object) {
  const auto check = [&](const std::optional<std::string>& wanted, std::string_view key,
                         std::string_view words) -> Status {
    const std::string_view have = metadata_text(object, key);
    if (!wanted || *wanted == have) return {};
    return fail(about(conflict(resource.qualified(), request.name,
                               fmt::format("Precondition failed: {0} in precondition: {1}, {0} in object meta: {2}",
                                           words, *wanted, have)),
                      resource, request.name));
  };
  DURE_CHECK(check(request.remove.precondition_uid, "uid", "UID"));
  return check(request.remove.precondition_resource_version, "resourceVersion", "ResourceVersion");
}

Result<Removal> plan_removal(const Served& served, const DeleteOptions& options, kinds::WriteWorld& world,
                             const Document& current) {
  Removal removal{current.clone()};
  Document& object = removal.object;
  apply_propagation(object, options);
  int64_t grace = served.hooks->grace_seconds ? served.hooks->grace_seconds(object, options.grace_period_seconds) : 0;
  grace = std::clamp<int64_t>(grace, 0, grace_max);
  const bool marked = is_being_deleted(object);
  if (!marked) {
    mark(object, world.now(), grace, served.keeps_generation);
    if (served.hooks->mark_deleted) served.hooks->mark_deleted(world, object);
  } else if (grace < grace_of(object)) {  // only ever shortened
    const auto due = parse_time(metadata_text(object, "deletionTimestamp"));
    const WallTime started = due ? *due - std::chrono::seconds(grace_of(object)) : world.now();
    mark(object, grace == 0 ? world.now() : started, grace, served.keeps_generation);
  }
  removal.vanishes = may_vanish_now(served, object);
  removal.changed = !schema::equal(object.root(), current.root());
  return removal;
}

bool may_vanish_now(const Served& served, const Document& object) {
  return is_being_deleted(object) && grace_of(object) == 0 && finalizer_count(object) == 0 &&
         (!served.hooks->may_vanish || served.hooks->may_vanish(object));
}

}  // namespace dure::apiserver
