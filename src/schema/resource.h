// Resource: one collection of the API as its rows describe it. Built-in resources are constants
// that rowc generates
// (`kinds::core_v1::pods`); a CRD is the same struct filled at run time. Immutable; lives as long
// as its schema.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace dure::schema {

struct Type;

struct Column {
  std::string_view name, type,
      format;        // OpenAPI type and format as Table shows them: string, integer, date; "name"
  int priority = 0;  // 1: only with -o wide
  // A JSON path (".spec.replicas"; ".metadata.creationTimestamp" prints an age, also where upstream
  // calls the column a string), or empty when kinds/hooks computes the cell.
  std::string_view path;
  std::string_view absent = {};  // shown when the path leads nowhere: "<none>", "<unknown>", "N/A"
};

struct Subresource {
  std::string_view name;                  // "status", "scale", "binding", "exec", ...
  std::string_view group, version, kind;  // of the object it reads or takes
  const Type* type = nullptr;
  std::span<const std::string_view> verbs;
  bool connect = false;  // a stream or proxy, not an object
};

struct Resource {
  std::string_view group, version, plural, singular, kind, list_kind;
  bool namespaced = true;
  const Type* type = nullptr;
  const Type* list_type = nullptr;
  std::span<const std::string_view> verbs, short_names, categories;
  std::span<const Subresource> subresources;
  std::span<const Column> columns;
  std::span<const std::string_view> field_selectors;  // beyond metadata.name and metadata.namespace

  // "v1", "apps/v1"
  std::string api_version() const {
    return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
  }
  // "pods", "deployments.apps": how messages name it
  std::string qualified() const {
    return group.empty() ? std::string(plural) : std::string(plural) + "." + std::string(group);
  }
  bool has_verb(std::string_view verb) const {
    for (std::string_view v : verbs)
      if (v == verb) return true;
    return false;
  }
  const Subresource* subresource(std::string_view name) const {
    for (const Subresource& s : subresources)
      if (s.name == name) return &s;
    return nullptr;
  }
};

// Method: one call of a gRPC service that rows describe (CRI).
struct Method {
  std::string_view service, name;  // "runtime.v1.RuntimeService", "RunPodSandbox"
  const Type* request = nullptr;
  const Type* response = nullptr;
  bool stream = false;  // the server answers with a stream
};

}  // namespace dure::schema
