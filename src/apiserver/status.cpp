#include "apiserver/status.h"

#include <fmt/format.h>

#include "apiserver/peek.h"

namespace dure::apiserver {

namespace {

void member(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  if (out.back() != '{') out += ',';
  append_json_string(out, name);
  out += ':';
  append_json_string(out, value);
}

void append_causes(std::string& out, const std::vector<Cause>& causes) {
  if (causes.empty()) return;
  if (out.back() != '{') out += ',';
  out += "\"causes\":[";
  for (const Cause& cause : causes) {
    if (out.back() != '[') out += ',';
    out += '{';
    member(out, "reason", cause.reason);
    member(out, "message", cause.message);
    member(out, "field", cause.field);
    out += '}';
  }
  out += ']';
}

std::string details_json(const Error& error) {
  std::string out = "{";
  member(out, "name", error.details_name);
  member(out, "group", error.details_group);
  member(out, "kind", error.details_kind);
  member(out, "uid", error.details_uid);
  append_causes(out, error.causes);
  if (error.retry_after_seconds > 0) {
    if (out.back() != '{') out += ',';
    out += fmt::format("\"retryAfterSeconds\":{}", error.retry_after_seconds);
  }
  return out + "}";
}

std::string sentence(const Cause& cause) {
  if (cause.field.empty() || cause.field == "<nil>") return cause.message;
  return cause.field + ": " + cause.message;
}

}  // namespace

Error invalid(std::string_view group, std::string_view kind, std::string_view name, std::vector<Cause> causes) {
  std::string list;
  for (const Cause& cause : causes) {
    if (!list.empty()) list += ", ";
    list += sentence(cause);
  }
  if (causes.size() > 1) list = "[" + list + "]";
  const std::string qualified = group.empty() ? std::string(kind) : fmt::format("{}.{}", kind, group);
  Error error{422, "Invalid", fmt::format("{} \"{}\" is invalid{}{}", qualified, name, list.empty() ? "" : ": ", list)};
  error.causes = std::move(causes);
  error.details_group = group;
  error.details_kind = kind;
  error.details_name = name;
  return error;
}

Error invalid(const schema::Resource& resource, std::string_view name, std::vector<Cause> causes) {
  return invalid(resource.group, resource.kind, name, std::move(causes));
}

Error method_not_allowed(std::string_view verb, const schema::Resource& resource) {
  Error error{405, "MethodNotAllowed",
              fmt::format("{} is not supported on resources of kind \"{}\"", verb, resource.qualified())};
  error.details_group = resource.group;
  error.details_kind = resource.plural;
  return error;
}

Error no_such_resource() { return {404, "NotFound", "the server could not find the requested resource"}; }

Error not_acceptable(std::string_view offered) {
  return {406, "NotAcceptable", fmt::format("only the following media types are accepted: {}", offered)};
}

Error unsupported_media_type(std::string_view offered) {
  return {415, "UnsupportedMediaType",
          fmt::format("the body of the request was in an unknown format - accepted media types include: {}", offered)};
}

Error forbidden(const schema::Resource& resource, std::string_view name, std::string_view why) {
  Error error = dure::forbidden(fmt::format("{} \"{}\" is forbidden: {}", resource.qualified(), name, why));
  error.details_group = resource.group;
  error.details_kind = resource.plural;
  error.details_name = name;
  return error;
}

Error too_large_resource_version(int64_t asked, int64_t current) {
  Error error{504, "Timeout", fmt::format("Too large resource version: {}, current: {}", asked, current)};
  error.causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  error.retry_after_seconds = 1;
  return error;
}

Error about(Error error, const schema::Resource& resource, std::string_view name) {
  if (!error.details_kind.empty()) return error;
  error.details_group = resource.group;
  error.details_kind = resource.plural;
  error.details_name = name;
  return error;
}

std::string status_json(const Error& error) {
  std::string out = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":)";
  append_json_string(out, error.message);
  member(out, "reason", error.reason);
  if (const std::string details = details_json(error); details != "{}") out += ",\"details\":" + details;
  out += fmt::format(",\"code\":{}}}", error.code);
  return out;
}

std::string success_json(const Success& success, int code) {
  std::string out = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success")";
  std::string details = "{";
  member(details, "name", success.name);
  member(details, "group", success.group);
  member(details, "kind", success.kind);
  member(details, "uid", success.uid);
  if (details != "{") out += ",\"details\":" + details + "}";
  if (code != 0) out += fmt::format(",\"code\":{}", code);
  return out + "}";
}

}  // namespace dure::apiserver
