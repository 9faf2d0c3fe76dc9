#include "schema/openapi.h"

#include <map>

#include "base/text.h"
#include "schema/openapi_schema.h"

namespace dure::schema {

namespace {

constexpr std::string_view media_types[] = {"application/json", "application/yaml",
                                            "application/vnd.kubernetes.protobuf"};
constexpr std::string_view patch_types[] = {"application/json-patch+json", "application/merge-patch+json",
                                            "application/strategic-merge-patch+json",
                                            "application/apply-patch+yaml"};

std::string text(std::string_view value) {
  std::string out;
  append_json_text(out, value);
  return out;
}

struct Parameter {
  std::string_view name, type, description;
};
constexpr Parameter pretty{"pretty", "string", "If 'true', the output is indented."};
constexpr Parameter write_parameters[] = {
    {"dryRun", "string", "All: the request is judged and answered, nothing is written."},
    {"fieldManager", "string", "Who makes this change."},
    {"fieldValidation", "string", "Ignore, Warn or Strict: what happens to unknown and duplicate fields."},
};
constexpr Parameter list_parameters[] = {
    {"allowWatchBookmarks", "boolean", "A watch may send bookmarks."},
    {"continue", "string", "The token of the page before."},
    {"fieldSelector", "string", "Only objects whose fields have these values."},
    {"labelSelector", "string", "Only objects whose labels match."},
    {"limit", "integer", "Objects per page."},
    {"resourceVersion", "string", "How new the answer must be."},
    {"resourceVersionMatch", "string", "How resourceVersion is meant."},
    {"sendInitialEvents", "boolean", "A watch begins with the present state."},
    {"timeoutSeconds", "integer", "How long the answer may take."},
    {"watch", "boolean", "Changes as they happen instead of a list."},
};
constexpr Parameter delete_parameters[] = {
    {"dryRun", "string", "All: the request is judged and answered, nothing is written."},
    {"gracePeriodSeconds", "integer", "How long the object may take to end."},
    {"propagationPolicy", "string", "Orphan, Background or Foreground: what happens to dependents."},
};
constexpr Parameter force{"force", "boolean", "Apply takes fields over from other managers."};

class Paths {
 public:
  Paths(OpenApiVersion version, OpenApiSchemas& schemas, const OpenApiInput& input)
      : v3_(version == OpenApiVersion::v3), schemas_(schemas), input_(input) {}

  void add(const Resource& resource) {
    resource_ = &resource;
    const std::string root =
        resource.group.empty() ? "/api/" + std::string(resource.version)
                               : "/apis/" + std::string(resource.group) + "/" + std::string(resource.version);
    const std::string scope = resource.namespaced ? "/namespaces/{namespace}/" : "/";
    const std::string collection = root + scope + std::string(resource.plural),
                      object = collection + "/{name}";
    if (resource.namespaced && resource.has_verb("list"))
      paths_[root + "/" + std::string(resource.plural)] = item({get_list()}, {});
    std::vector<std::string> on_collection, on_object;
    if (resource.has_verb("list")) on_collection.push_back(get_list());
    if (resource.has_verb("create")) on_collection.push_back(write("post", "post", resource.type));
    if (resource.has_verb("deletecollection")) on_collection.push_back(removal("deletecollection"));
    if (resource.has_verb("get")) on_object.push_back(operation("get", "get", resource.type, {}, nullptr));
    if (resource.has_verb("update")) on_object.push_back(write("put", "put", resource.type));
    if (resource.has_verb("patch")) on_object.push_back(patch(resource.type));
    if (resource.has_verb("delete")) on_object.push_back(removal("delete"));
    if (!on_collection.empty()) paths_[collection] = item(on_collection, resource.namespaced ? "n" : "");
    if (!on_object.empty()) paths_[object] = item(on_object, resource.namespaced ? "nN" : "N");
    for (const Subresource& sub : resource.subresources)
      if (sub.type && !sub.connect) add_subresource(object + "/" + std::string(sub.name), sub);
  }

  std::string write_all() const {
    std::string out;
    for (const auto& [path, item] : paths_) {
      if (!out.empty()) out += ',';
      out += text(path) + ":" + item;
    }
    return out;
  }

 private:
  void add_subresource(const std::string& path, const Subresource& sub) {
    std::vector<std::string> operations;
    for (const std::string_view verb : sub.verbs) {
      if (verb == "get") operations.push_back(operation("get", "get", sub.type, {}, nullptr));
      if (verb == "create") operations.push_back(write("post", "post", sub.type));
      if (verb == "update") operations.push_back(write("put", "put", sub.type));
      if (verb == "patch") operations.push_back(patch(sub.type));
    }
    if (!operations.empty()) paths_[path] = item(operations, resource_->namespaced ? "nN" : "N");
  }

  std::string parameter(const Parameter& p, std::string_view in = "query") const {
    const std::string type = "\"type\":" + text(p.type);
    std::string out =
        "{\"name\":" + text(p.name) + ",\"in\":" + text(in) + ",\"description\":" + text(p.description);
    if (in == "path") out += ",\"required\":true";
    out += ",\"uniqueItems\":true,";
    return out + (v3_ ? "\"schema\":{" + type + ",\"uniqueItems\":true}" : type) + "}";
  }

  template <class Range>
  std::string parameters(const Range& range) const {
    std::string out;
    for (const Parameter& p : range) {
      if (!out.empty()) out += ',';
      out += parameter(p);
    }
    return out;
  }

  // `which`: n for the namespace, N for the name in the path.
  std::string item(const std::vector<std::string>& operations, std::string_view which) const {
    std::string out = "{" + join(operations, ",");
    std::string list = parameter(pretty);
    if (which.find('n') != std::string_view::npos)
      list += "," +
              parameter({"namespace", "string", "object name and auth scope, such as for teams and projects"},
                        "path");
    if (which.find('N') != std::string_view::npos)
      list += "," + parameter({"name", "string", "name of the " + std::string(resource_->kind)}, "path");
    return out + ",\"parameters\":[" + list + "]}";
  }

  std::string body(const Type& type, std::span<const std::string_view> types, bool is_patch) {
    const std::string schema = is_patch ? std::string(R"({"type":"object"})") : schemas_.reference(type);
    if (!v3_) return R"({"name":"body","in":"body","required":true,"schema":)" + schema + "}";
    std::string content;
    for (const std::string_view media : types) {
      if (!content.empty()) content += ',';
      content += text(media) + ":{\"schema\":" + schema + "}";
    }
    return "\"requestBody\":{\"content\":{" + content + "},\"required\":true}";
  }

  std::string response(const Type& type) {
    const std::string schema = schemas_.reference(type);
    if (!v3_)
      return R"("responses":{"200":{"description":"OK","schema":)" + schema +
             R"(},"401":{"description":"Unauthorized"}})";
    std::string content;
    for (const std::string_view media : media_types) {
      if (!content.empty()) content += ',';
      content += text(media) + ":{\"schema\":" + schema + "}";
    }
    return R"("responses":{"200":{"description":"OK","content":{)" + content +
           R"(}},"401":{"description":"Unauthorized"}})";
  }

  // `query`: ready-made parameters. `sent`: the body's type.
  std::string operation(std::string_view method, std::string_view action, const Type* answered,
                        std::string query, const Type* sent, bool is_patch = false) {
    std::string out =
        text(method) + ":{\"tags\":[" + text(tag()) + "],\"operationId\":" + text(operation_id(action));
    std::string request;
    if (sent)
      request = body(*sent,
                     is_patch ? std::span<const std::string_view>(patch_types)
                              : std::span<const std::string_view>(media_types),
                     is_patch);
    if (!v3_ && !request.empty()) query = request + (query.empty() ? "" : ",") + query;
    if (!query.empty()) out += ",\"parameters\":[" + query + "]";
    if (v3_ && !request.empty()) out += "," + request;
    if (!v3_) {
      out +=
          ",\"produces\":[\"application/json\",\"application/yaml\",\"application/vnd.kubernetes.protobuf\"]";
      if (is_patch)
        out +=
            ",\"consumes\":[\"application/json-patch+json\",\"application/merge-patch+json\",\"application/"
            "strategic-merge-patch+json\"]";
    }
    if (answered) out += "," + response(*answered);
    out += ",\"x-kubernetes-action\":" + text(action);
    out += ",\"x-kubernetes-group-version-kind\":{\"group\":" + text(resource_->group) +
           ",\"version\":" + text(resource_->version) + ",\"kind\":" + text(resource_->kind) + "}";
    return out + "}";
  }

  std::string get_list() {
    return operation("get", "list", resource_->list_type ? resource_->list_type : resource_->type,
                     parameters(list_parameters), nullptr);
  }
  std::string write(std::string_view method, std::string_view action, const Type* type) {
    return operation(method, action, type, parameters(write_parameters), type);
  }
  std::string patch(const Type* type) {
    return operation("patch", "patch", type, parameters(write_parameters) + "," + parameter(force), type,
                     true);
  }
  std::string removal(std::string_view action) {
    const std::string query = action == "delete"
                                  ? parameters(delete_parameters)
                                  : parameters(delete_parameters) + "," + parameters(list_parameters);
    return operation("delete", action, input_.status, query, input_.delete_options);
  }

  std::string tag() const {
    std::string out(resource_->group.empty() ? std::string_view("core")
                                             : resource_->group.substr(0, resource_->group.find('.')));
    return out + "_" + std::string(resource_->version);
  }
  std::string operation_id(std::string_view action) {
    std::string id = std::string(action) + "_" + tag() + "_" + std::string(resource_->kind);
    int& times = operation_ids_[id];
    return ++times == 1 ? id : id + "_" + std::to_string(times);
  }

  const bool v3_;
  OpenApiSchemas& schemas_;
  const OpenApiInput& input_;
  const Resource* resource_ = nullptr;
  std::map<std::string, std::string> paths_;
  std::map<std::string, int> operation_ids_;
};

}  // namespace

std::string openapi_document(OpenApiVersion version, const OpenApiInput& input) {
  OpenApiSchemas schemas(version);
  Paths paths(version, schemas, input);
  for (const Resource* resource : input.resources)
    if (resource->type && resource->plural.find('/') == std::string_view::npos) paths.add(*resource);
  const std::string info = R"("info":{"title":"Kubernetes","version":)" + text(input.server_version) + "}";
  const std::string path_text = paths.write_all(), schema_text = schemas.write_all();
  if (version == OpenApiVersion::v2)
    return R"({"swagger":"2.0",)" + info + ",\"paths\":{" + path_text + "},\"definitions\":{" + schema_text +
           "}}";
  return R"({"openapi":"3.0.0",)" + info + ",\"paths\":{" + path_text + "},\"components\":{\"schemas\":{" +
         schema_text + "}}}";
}

uint64_t openapi_fingerprint(const OpenApiInput& input) {
  return fnv1a_64(openapi_document(OpenApiVersion::v3, input));
}

}  // namespace dure::schema
