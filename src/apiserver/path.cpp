#include "apiserver/path.h"

#include <algorithm>

#include <fmt/format.h>

#include "apiserver/status.h"
#include "base/text.h"

namespace dure::apiserver {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Segments are decoded one by one, so that %2F inside a name does not split it.
Result<std::string> decode_segment(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return fail(bad_request("invalid URL escape in the path"));
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  if (out.find('\0') != std::string::npos) return fail(bad_request("the path holds a NUL byte"));
  return out;
}

Result<std::vector<std::string>> segments_of(std::string_view path) {
  std::vector<std::string> segments;
  for (const std::string_view part : split(path, '/')) {
    if (part.empty()) continue;
    DURE_TRY(std::string decoded, decode_segment(part));
    segments.push_back(std::move(decoded));
  }
  return segments;
}

std::string verb_of(std::string_view method) {
  if (method == "POST") return "create";
  if (method == "GET" || method == "HEAD") return "get";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return lower(method);
}

// As upstream reads booleans: a parameter that is there is true unless it says otherwise.
bool is_true(const Query& query, std::string_view name) {
  const std::string_view text = query_value(query, name);
  return query_has(query, name) && text != "0" && !equal_ignore_case(text, "false");
}

void collection_verb(Route& route, const Query& query) {
  if (!route.name.empty()) return;
  if (route.verb == "get") route.verb = is_true(query, "watch") ? "watch" : "list";
  if (route.verb == "delete") route.verb = "deletecollection";
}

void fill_parts(Route& route, std::vector<std::string> parts) {
  size_t at = 0;
  if (parts.size() > 1 && parts[0] == "namespaces") {
    route.namespace_ = parts[1];
    // namespaces/x, namespaces/x/status and /finalize are the object itself
    const bool itself = parts.size() == 2 || (parts.size() == 3 && (parts[2] == "status" || parts[2] == "finalize"));
    if (!itself) at = 2;
  }
  if (at < parts.size()) route.resource = parts[at++];
  if (at < parts.size()) route.name = parts[at++];
  if (at < parts.size()) route.subresource = parts[at++];
  for (; at < parts.size(); ++at) route.sub_path += "/" + parts[at];
}

Result<int64_t> integer_option(const Query& query, std::string_view name, int64_t otherwise) {
  if (!query_has(query, name)) return otherwise;
  const std::string_view text = query_value(query, name);
  if (text.empty()) return otherwise;
  if (const auto value = parse_int(text)) return *value;
  return fail(bad_request(fmt::format("strconv.ParseInt: parsing \"{}\": invalid syntax", text)));
}

Status check_dry_run(const Query& query, ApiRequest& request) {
  for (const auto& [name, value] : query) {
    if (name != "dryRun") continue;
    if (value == "All") {
      request.dry_run = true;
    } else if (!value.empty()) {
      return fail(invalid("meta.k8s.io", request.verb == "create" ? "CreateOptions" : "UpdateOptions", "",
                          {{"FieldValueNotSupported",
                            fmt::format("Unsupported value: \"{}\": supported values: \"All\"", value), "dryRun"}}));
    }
  }
  return {};
}

Status check_field_validation(const Query& query, ApiRequest& request) {
  const std::string_view text = query_value(query, "fieldValidation");
  if (text.empty() || text == "Warn")
    request.field_validation = FieldValidation::warn;
  else if (text == "Ignore")
    request.field_validation = FieldValidation::ignore;
  else if (text == "Strict")
    request.field_validation = FieldValidation::strict;
  else
    return fail(
        invalid("meta.k8s.io", "CreateOptions", "",
                {{"FieldValueNotSupported",
                  fmt::format("Unsupported value: \"{}\": supported values: \"Ignore\", \"Strict\", \"Warn\"", text),
                  "fieldValidation"}}));
  return {};
}

Status check_list_options(const ListOptions& list, bool watch) {
  const auto refuse = [](std::string reason, std::string message, std::string field) {
    return fail(invalid("meta.k8s.io", "ListOptions", "", {{std::move(reason), std::move(message), std::move(field)}}));
  };
  const std::string_view match = list.resource_version_match;
  const bool has_version = list.resource_version && !list.resource_version->empty();
  if (watch && list.send_initial_events) {
    if (match.empty())
      return refuse("FieldValueForbidden",
                    "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    "resourceVersionMatch");
    if (match != "NotOlderThan")
      return refuse("FieldValueNotSupported",
                    fmt::format("Unsupported value: \"{}\": supported values: \"NotOlderThan\"", match),
                    "resourceVersionMatch");
    return {};
  }
  if (!watch && list.send_initial_events)
    return refuse("FieldValueForbidden", "Forbidden: sendInitialEvents is forbidden for list", "sendInitialEvents");
  if (match.empty()) return {};
  if (watch)
    return refuse("FieldValueForbidden",
                  "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                  "resourceVersionMatch");
  if (!has_version)
    return refuse("FieldValueForbidden",
                  "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
                  "resourceVersionMatch");
  if (!list.continue_token.empty())
    return refuse("FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden when continue is provided",
                  "resourceVersionMatch");
  if (match != "Exact" && match != "NotOlderThan")
    return refuse("FieldValueNotSupported",
                  fmt::format("Unsupported value: \"{}\": supported values: \"Exact\", \"NotOlderThan\"", match),
                  "resourceVersionMatch");
  if (match == "Exact" && *list.resource_version == "0")
    return refuse("FieldValueForbidden",
                  "Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
                  "resourceVersionMatch");
  return {};
}

Status parse_list_options(const Query& query, ApiRequest& request) {
  ListOptions& list = request.list;
  list.label_selector = query_value(query, "labelSelector");
  list.field_selector = query_value(query, "fieldSelector");
  if (query_has(query, "resourceVersion")) list.resource_version = query_value(query, "resourceVersion");
  list.resource_version_match = query_value(query, "resourceVersionMatch");
  list.continue_token = query_value(query, "continue");
  DURE_TRY(list.limit, integer_option(query, "limit", 0));
  if (list.limit < 0) list.limit = 0;
  list.allow_watch_bookmarks = is_true(query, "allowWatchBookmarks");
  if (query_has(query, "sendInitialEvents"))
    list.send_initial_events = is_true(query, "sendInitialEvents");
  if (query_has(query, "timeoutSeconds")) {
    DURE_TRY(list.timeout_seconds, integer_option(query, "timeoutSeconds", 0));
  }
  return check_list_options(list, request.verb == "watch");
}

Status parse_delete_options(const Query& query, ApiRequest& request) {
  if (query_has(query, "gracePeriodSeconds")) {
    DURE_TRY(request.remove.grace_period_seconds, integer_option(query, "gracePeriodSeconds", 0));
  }
  if (query_has(query, "propagationPolicy"))
    request.remove.propagation_policy = query_value(query, "propagationPolicy");
  if (query_has(query, "orphanDependents"))
    request.remove.orphan_dependents = is_true(query, "orphanDependents");
  return {};
}

}  // namespace

std::string_view selected_name(std::string_view field_selector) {
  for (const std::string_view term : split(field_selector, ',')) {
    if (!term.starts_with("metadata.name=")) continue;
    std::string_view value = term.substr(14);
    if (value.starts_with('=')) value.remove_prefix(1);
    if (value.find('\\') == std::string_view::npos) return value;
  }
  return {};
}

std::string_view query_value(const Query& query, std::string_view name) {
  for (const auto& [key, value] : query)
    if (key == name) return value;
  return {};
}

bool query_has(const Query& query, std::string_view name) {
  return std::any_of(query.begin(), query.end(), [&](const auto& item) { return item.first == name; });
}

Result<Route> parse_route(std::string_view method, std::string_view path, const Query& query) {
  if (!path.starts_with('/')) return fail(bad_request("the request target is not an absolute path"));
  DURE_TRY(std::vector<std::string> parts, segments_of(path));
  Route route;
  DURE_TRY(route.path, decode_segment(path));
  route.verb = lower(method);
  const size_t group_parts = !parts.empty() && parts[0] == "api" ? 2 : 3;
  if (parts.size() <= group_parts || (parts[0] != "api" && parts[0] != "apis")) return route;
  route.is_resource = true;
  route.prefix = parts[0];
  if (group_parts == 3) route.group = parts[1];
  route.version = parts[group_parts - 1];
  parts.erase(parts.begin(), parts.begin() + static_cast<long>(group_parts));
  route.verb = verb_of(method);
  const bool old_watch = parts[0] == "watch" && parts.size() > 1;  // /api/v1/watch/pods
  if (old_watch) parts.erase(parts.begin());
  fill_parts(route, std::move(parts));
  collection_verb(route, query);
  if (old_watch && (route.verb == "get" || route.verb == "list")) route.verb = "watch";
  if (route.name.empty() && (route.verb == "list" || route.verb == "watch" || route.verb == "deletecollection"))
    route.name = selected_name(query_value(query, "fieldSelector"));
  return route;
}

Status parse_options(const Query& query, ApiRequest& request) {
  DURE_CHECK(check_dry_run(query, request));
  DURE_CHECK(check_field_validation(query, request));
  request.field_manager = query_value(query, "fieldManager");
  if (request.field_manager.size() > 128)
    return fail(invalid("meta.k8s.io", "PatchOptions", "",
                        {{"FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager"}}));
  request.force = is_true(query, "force");
  if (request.verb == "delete" || request.verb == "deletecollection") DURE_CHECK(parse_delete_options(query, request));
  return parse_list_options(query, request);
}

}  // namespace dure::apiserver
