// /openapi/v3, its documents, and /openapi/v2.
#include <fmt/format.h>

#include "apiserver/front_state.h"
#include "apiserver/peek.h"
#include "kinds/kinds.h"
#include "schema/openapi.h"

namespace dure::apiserver {

namespace {

std::vector<const schema::Resource*> resources_of(const Catalog& catalog, std::string_view group,
                                                  std::string_view version) {
  std::vector<const schema::Resource*> resources;
  for (const Served& served : catalog.all())
    if (served.resource->group == group && served.resource->version == version) resources.push_back(served.resource);
  return resources;
}

schema::OpenApiInput input_of(const Front::State& state, const std::vector<const schema::Resource*>& resources) {
  return {.resources = resources,
          .server_version = state.api.options().git_version,
          .status = kinds::find_type("v1", "Status"),
          .delete_options = kinds::find_type("v1", "DeleteOptions")};
}

std::string path_of(std::string_view group, std::string_view version) {
  return group.empty() ? fmt::format("api/{}", version) : fmt::format("apis/{}/{}", group, version);
}

std::string index_json(const Front::State& state) {
  std::string paths;
  for (const Catalog::Group& group : state.api.catalog().groups())
    for (const std::string_view version : group.versions) {
      const auto resources = resources_of(state.api.catalog(), group.name, version);
      const std::string path = path_of(group.name, version);
      if (!paths.empty()) paths += ',';
      paths += fmt::format(R"("{0}":{{"serverRelativeURL":"/openapi/v3/{0}?hash={1:016X}"}})", path,
                           schema::openapi_fingerprint(input_of(state, resources)));
    }
  return "{\"paths\":{" + paths + "}}\n";
}

// Made on first use; 2 KB.
const std::string& index_of(const Front::State& state) {
  std::call_once(state.openapi_once, [&] { state.openapi_index = index_json(state); });
  return state.openapi_index;
}

bool takes_json(std::string_view accept) {
  return accept.empty() || accept.find("json") != std::string_view::npos ||
         accept.find("*/*") != std::string_view::npos;
}

// OpenAPI v2 as gnostic's protobuf (Document: 1 swagger, 2 info{1 title, 2 version}): kubectl asks for it about what v3
// does not hold, `kind: List` and kinds that nobody serves. Nothing in it means: nothing to check on the client's side;
// the server's own strict validation finds more.
constexpr std::string_view v2_protobuf_asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
// What is answered: "@" is no letter of a media type, clients cannot read their own word.
constexpr std::string_view v2_protobuf_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

std::string v2_protobuf(std::string_view version) {
  const auto field = [](char number, std::string_view text) {
    return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(text.size())} + std::string(text);
  };
  return field(1, "2.0") + field(2, field(1, "Kubernetes") + field(2, version.substr(0, 64)));
}

void answer_document(wire::Exchange& exchange, std::string body, std::string_view type = "application/json") {
  wire::Response response;
  response.headers.add("content-type", type);
  response.headers.add("vary", "Accept");
  // documents are asked for with the hash of their content
  response.headers.add("cache-control",
                       exchange.request().query().starts_with("hash=") ? "public, immutable" : "no-cache, private");
  response.body = std::move(body);
  exchange.respond(std::move(response));
}

}  // namespace

bool serve_openapi(const Front::State& state, wire::Exchange& exchange, std::string_view path) {
  constexpr std::string_view v3 = "/openapi/v3", v2 = "/openapi/v2";
  if (!path.starts_with(v3) && path != v2) return false;
  if (path == v2 && exchange.request().headers.get("accept").find(v2_protobuf_asked) != std::string_view::npos)
    return answer_document(exchange, v2_protobuf(state.api.options().git_version), v2_protobuf_type), true;
  if (!takes_json(exchange.request().headers.get("accept")))
    return answer_error(exchange, {}, not_acceptable("application/json")), true;
  if (path == v2) {
    std::vector<const schema::Resource*> all;
    for (const Served& served : state.api.catalog().all()) all.push_back(served.resource);
    answer_document(exchange, schema::openapi_document(schema::OpenApiVersion::v2, input_of(state, all)));
    return true;
  }
  if (path == v3 || path == "/openapi/v3/") return answer_document(exchange, index_of(state)), true;
  for (const Catalog::Group& group : state.api.catalog().groups())
    for (const std::string_view version : group.versions) {
      if (path.substr(v3.size() + 1) != path_of(group.name, version)) continue;
      const auto resources = resources_of(state.api.catalog(), group.name, version);
      answer_document(exchange, schema::openapi_document(schema::OpenApiVersion::v3, input_of(state, resources)));
      return true;
    }
  return false;
}

}  // namespace dure::apiserver
