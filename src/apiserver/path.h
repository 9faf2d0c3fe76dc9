// What a URL asks for, before anything is looked up: upstream's RequestInfo rules.
//
// Pure; any bytes are allowed as input. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apiserver/request.h"
#include "base/result.h"

namespace dure::apiserver {

using Query = std::vector<std::pair<std::string, std::string>>;

struct Route {
  bool is_resource = false;
  std::string path;    // decoded, without the query
  std::string prefix;  // "api" or "apis"
  std::string group, version, resource, subresource, namespace_, name, sub_path;
  std::string verb;  // of resources: get list watch create ...; otherwise the lower-case method
};

// Fails with 400 on a target that is no absolute path or holds a broken escape or a NUL byte.
Result<Route> parse_route(std::string_view method, std::string_view path, const Query& query);

// The name that a field selector asks for with metadata.name=x, or empty: authorizers may grant a list or watch of one
// object.
std::string_view selected_name(std::string_view field_selector);

// First value of a parameter, or empty.
std::string_view query_value(const Query& query, std::string_view name);
bool query_has(const Query& query, std::string_view name);

// Fills the options of `request` (list, delete, dryRun, fieldValidation, ...) from the query: 400 for malformed and 422
// for contradicting ones, in upstream's words.
Status parse_options(const Query& query, ApiRequest& request);

}  // namespace dure::apiserver
