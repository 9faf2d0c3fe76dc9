#include "client/api_codec.h"

#include "base/text.h"
#include "client/json_slices.h"
#include "kinds/views/meta_v1.h"
#include "schema/json.h"
#include "schema/rows.h"

namespace dure::client {
namespace {

namespace meta = kinds::meta_v1;

const schema::Type* type_of(const Resource& resource, std::string_view subresource) {
  const schema::Subresource* sub = subresource.empty() ? nullptr : resource.subresource(subresource);
  return sub && sub->type ? sub->type : resource.type;
}

// A subresource may answer with another kind than its own (a binding with a Status): then the body says what it is.
Result<schema::Document> decode(std::string json, const schema::Type* type) {
  SharedBytes bytes{std::move(json)};
  if (!type) return schema::decode_json(std::move(bytes));
  auto typed = schema::decode_json(bytes, *type);
  if (typed || !type->is_kind) return typed;
  return schema::decode_json(std::move(bytes));
}

void fill_kind(schema::Document& object, const Resource& resource) {
  const schema::Node* kind = object.root()->find("kind");
  if (kind && !kind->string().empty()) return;
  object.set(object.member(object.root(), "apiVersion"), std::string_view(resource.api_version()));
  object.set(object.member(object.root(), "kind"), resource.kind);
}

Error from_status(const meta::Status& status, int http_status) {
  Error error;
  error.code = status.code() != 0 ? static_cast<int>(status.code()) : http_status;
  error.reason = std::string(status.reason());
  error.message = std::string(status.message());
  const meta::StatusDetails details = status.details();
  error.details_group = std::string(details.group());
  error.details_kind = std::string(details.kind());
  error.details_name = std::string(details.name());
  error.details_uid = std::string(details.uid());
  error.retry_after_seconds = static_cast<int>(details.retryAfterSeconds());
  for (const meta::StatusCause cause : details.causes())
    error.causes.push_back({std::string(cause.reason()), std::string(cause.message()), std::string(cause.field())});
  return error;
}

std::string_view unquoted(std::string_view raw) {
  return raw.size() >= 2 && raw.front() == '"' ? raw.substr(1, raw.size() - 2) : raw;
}

}  // namespace

Result<schema::Object> decode_object(const Resource& resource, std::string_view subresource, std::string json) {
  DURE_TRY(schema::Document object, decode(std::move(json), type_of(resource, subresource)));
  if (subresource.empty()) fill_kind(object, resource);
  return schema::share(std::move(object));
}

Result<ObjectList> decode_list(const Resource& resource, std::string_view json) {
  const auto members = json_members(json);
  if (!members) return fail(internal("the server's list is no JSON object"));
  ObjectList list;
  for (const auto& [key, raw] : *members) {
    if (key == "metadata") {
      DURE_TRY(schema::Document metadata,
               schema::decode_json(SharedBytes(std::string(raw)), meta::ListMeta::schema_type()));
      list.resource_version = std::string(meta::ListMeta(metadata).resourceVersion());
      list.continue_token = std::string(meta::ListMeta(metadata).continue_());
    }
    if (key != "items" || raw == "null") continue;
    const auto items = json_items(raw);
    if (!items) return fail(internal("the server's list has no items"));
    for (const std::string_view item : *items) {
      // Bytes of its own, so that one object does not keep the whole list in memory.
      DURE_TRY(schema::Document object, schema::decode_json(SharedBytes(std::string(item)), *resource.type));
      fill_kind(object, resource);
      list.items.push_back(schema::share(std::move(object)));
    }
  }
  return list;
}

Result<WatchEvent> decode_event(const Resource& resource, std::string_view line) {
  const auto members = json_members(line);
  if (!members) return fail(internal("a watch event that is no JSON object"));
  std::string_view type, raw;
  for (const auto& [key, value] : *members) {
    if (key == "type") type = unquoted(value);
    if (key == "object") raw = value;
  }
  if (type == "ERROR") return fail(decode_status(500, raw));
  WatchEvent event;
  if (type == "ADDED")
    event.kind = WatchEvent::Kind::added;
  else if (type == "MODIFIED")
    event.kind = WatchEvent::Kind::modified;
  else if (type == "DELETED")
    event.kind = WatchEvent::Kind::deleted;
  else if (type == "BOOKMARK")
    event.kind = WatchEvent::Kind::bookmark;
  else
    return fail(internal("a watch event of unknown type"));
  DURE_TRY(event.object, decode_object(resource, {}, std::string(raw)));
  return event;
}

Error decode_status(int http_status, std::string_view body) {
  auto status = schema::decode_json(SharedBytes(std::string(body)), meta::Status::schema_type());
  if (status) {
    const meta::Status view(*status);
    if (view.status() == "Failure" || !view.reason().empty()) return from_status(view, http_status);
  }
  Error error;
  error.code = http_status;
  error.reason = http_status == 401   ? "Unauthorized"
                 : http_status == 403 ? "Forbidden"
                 : http_status == 404 ? "NotFound"
                 : http_status == 410 ? "Expired"
                 : http_status == 429 ? "TooManyRequests"
                                      : "InternalError";
  error.message = "the server answered " + std::to_string(http_status) +
                  (body.empty() ? std::string() : ": " + std::string(trim(body.substr(0, 200))));
  return error;
}

std::string encode_delete_options(const DeleteOptions& options) {
  schema::Document document(meta::DeleteOptions::schema_type());
  meta::DeleteOptions view(document);
  document.set(document.member(document.root(), "kind"), "DeleteOptions");
  document.set(document.member(document.root(), "apiVersion"), "v1");
  if (options.grace_period_seconds >= 0) view.set_gracePeriodSeconds(options.grace_period_seconds);
  view.set_propagationPolicy(options.propagation == Propagation::orphan       ? "Orphan"
                             : options.propagation == Propagation::foreground ? "Foreground"
                                                                              : "Background");
  if (!options.precondition_uid.empty()) view.mutable_preconditions().set_uid(options.precondition_uid);
  if (!options.precondition_resource_version.empty())
    view.mutable_preconditions().set_resourceVersion(options.precondition_resource_version);
  return schema::to_json(document);
}

}  // namespace dure::client
