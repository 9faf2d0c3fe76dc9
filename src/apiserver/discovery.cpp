#include "apiserver/discovery.h"

#include <fmt/format.h>

#include "apiserver/peek.h"
#include "base/text.h"

namespace dure::apiserver {

namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

template <class Range>
std::string text_list(const Range& range) {
  std::string out = "[";
  for (const auto& item : range) {
    if (out.size() > 1) out += ',';
    append_json_string(out, item);
  }
  return out + "]";
}

template <class Range>
void optional_list(std::string& out, std::string_view name, const Range& range) {
  if (std::begin(range) != std::end(range)) out += fmt::format(",\"{}\":{}", name, text_list(range));
}

std::string group_version(std::string_view group, std::string_view version) {
  return group.empty() ? std::string(version) : fmt::format("{}/{}", group, version);
}

// --- plain

std::string resource_entry(const schema::Resource& r) {
  std::string out = fmt::format(R"({{"name":{},"singularName":{},"namespaced":{},"kind":{},"verbs":{})",
                                quoted(r.plural), quoted(r.singular), r.namespaced, quoted(r.kind), text_list(r.verbs));
  optional_list(out, "shortNames", r.short_names);
  optional_list(out, "categories", r.categories);
  return out + "}";
}

std::string subresource_entry(const schema::Resource& r, const schema::Subresource& s) {
  std::string out = fmt::format(R"({{"name":{},"singularName":"","namespaced":{})",
                                quoted(fmt::format("{}/{}", r.plural, s.name)), r.namespaced);
  if (s.group != r.group || s.version != r.version)
    out += fmt::format(R"(,"group":{},"version":{})", quoted(s.group), quoted(s.version));
  return out + fmt::format(R"(,"kind":{},"verbs":{}}})", quoted(s.kind), text_list(s.verbs));
}

std::string resource_list(const Catalog& catalog, std::string_view group, std::string_view version) {
  std::string items;
  for (const Served& served : catalog.all()) {
    const schema::Resource& r = *served.resource;
    if (r.group != group || r.version != version) continue;
    if (!items.empty()) items += ',';
    items += resource_entry(r);
    for (const schema::Subresource& s : r.subresources) items += "," + subresource_entry(r, s);
  }
  return fmt::format(R"({{"kind":"APIResourceList","apiVersion":"v1","groupVersion":{},"resources":[{}]}})"
                     "\n",
                     quoted(group_version(group, version)), items);
}

std::string group_object(const Catalog::Group& group, bool whole) {
  std::string versions;
  for (const std::string_view version : group.versions) {
    if (!versions.empty()) versions += ',';
    versions += fmt::format(R"({{"groupVersion":{},"version":{}}})", quoted(group_version(group.name, version)),
                            quoted(version));
  }
  const std::string_view head = whole ? R"("kind":"APIGroup","apiVersion":"v1",)" : "";
  return fmt::format(R"({{{}"name":{},"versions":[{}],"preferredVersion":{{"groupVersion":{},"version":{}}}}})", head,
                     quoted(group.name), versions, quoted(group_version(group.name, group.versions.front())),
                     quoted(group.versions.front()));
}

// --- aggregated

std::string response_kind(std::string_view group, std::string_view version, std::string_view kind) {
  return fmt::format(R"({{"group":{},"version":{},"kind":{}}})", quoted(group), quoted(version), quoted(kind));
}

std::string aggregated_resource(const schema::Resource& r) {
  std::string out = fmt::format(R"({{"resource":{},"responseKind":{},"scope":"{}","singularResource":{},"verbs":{})",
                                quoted(r.plural), response_kind(r.group, r.version, r.kind),
                                r.namespaced ? "Namespaced" : "Cluster", quoted(r.singular), text_list(r.verbs));
  optional_list(out, "shortNames", r.short_names);
  optional_list(out, "categories", r.categories);
  std::string subs;
  for (const schema::Subresource& s : r.subresources) {
    if (!subs.empty()) subs += ',';
    subs += fmt::format(R"({{"subresource":{},"responseKind":{},"verbs":{}}})", quoted(s.name),
                        response_kind(s.group, s.version, s.kind), text_list(s.verbs));
  }
  if (!subs.empty()) out += ",\"subresources\":[" + subs + "]";
  return out + "}";
}

std::string aggregated_group(const Catalog& catalog, const Catalog::Group& group) {
  std::string versions;
  for (const std::string_view version : group.versions) {
    std::string resources;
    for (const Served& served : catalog.all()) {
      if (served.resource->group != group.name || served.resource->version != version) continue;
      if (!resources.empty()) resources += ',';
      resources += aggregated_resource(*served.resource);
    }
    if (!versions.empty()) versions += ',';
    versions += fmt::format(R"({{"version":{},"resources":[{}],"freshness":"Current"}})", quoted(version), resources);
  }
  const std::string name = group.name.empty() ? "" : fmt::format(R"("name":{},)", quoted(group.name));
  return fmt::format(R"({{"metadata":{{{}"creationTimestamp":null}},"versions":[{}]}})", name, versions);
}

}  // namespace

Discovery::Discovery(const Catalog& catalog) {
  plain_["/api"] = R"({"kind":"APIVersions","apiVersion":"v1","versions":["v1"],)"
                   R"("serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":""}]})"
                   "\n";
  std::string groups, core, named;
  std::vector<std::string> paths{"/api", "/api/v1", "/apis"};
  for (const Catalog::Group& group : catalog.groups()) {
    std::string& aggregated = group.name.empty() ? core : named;
    if (!aggregated.empty()) aggregated += ',';
    aggregated += aggregated_group(catalog, group);
    for (const std::string_view version : group.versions) {
      const std::string path =
          group.name.empty() ? fmt::format("/api/{}", version) : fmt::format("/apis/{}/{}", group.name, version);
      plain_[path] = resource_list(catalog, group.name, version);
      if (!group.name.empty()) paths.push_back(path);
    }
    if (group.name.empty()) continue;
    plain_[fmt::format("/apis/{}", group.name)] = group_object(group, true) + "\n";
    paths.push_back(fmt::format("/apis/{}", group.name));
    if (!groups.empty()) groups += ',';
    groups += group_object(group, false);
  }
  plain_["/apis"] = fmt::format(R"({{"kind":"APIGroupList","apiVersion":"v1","groups":[{}]}})"
                                "\n",
                                groups);
  for (const std::string_view version : {"v2", "v2beta1"})
    for (const auto& [path, items] :
         {std::pair<std::string_view, const std::string&>{"/api", core}, {"/apis", named}}) {
      Aggregated a;
      a.body = fmt::format(
          R"({{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/{}","metadata":{{}},"items":[{}]}})"
          "\n",
          version, items);
      a.etag = fmt::format("\"{:016X}{:08X}\"", fnv1a_64(a.body), fnv1a_32(a.body));
      a.content_type = fmt::format("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", version);
      aggregated_[fmt::format("{}{}", version, path)] = std::move(a);
    }
  for (const char* path : {"/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"})
    paths.emplace_back(path);
  paths_ = fmt::format("{{\"paths\":{}}}\n", text_list(paths));
}

const std::string* Discovery::plain(std::string_view path) const {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const auto at = plain_.find(path);
  return at == plain_.end() ? nullptr : &at->second;
}

const Discovery::Aggregated* Discovery::aggregated(std::string_view path, std::string_view version) const {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const auto at = aggregated_.find(std::string(version) + std::string(path));
  return at == aggregated_.end() ? nullptr : &at->second;
}

std::string_view Discovery::aggregated_version(std::string_view accept) {
  for (const std::string_view clause : split(accept, ',')) {
    const bool aggregated = clause.find("as=APIGroupDiscoveryList") != std::string_view::npos;
    const std::string_view type = trim(clause.substr(0, clause.find(';')));
    if (!aggregated && (type == "application/json" || type == "*/*")) return {};
    if (!aggregated || type != "application/json") continue;
    if (clause.find("v=v2beta1") != std::string_view::npos) return "v2beta1";
    if (clause.find("v=v2") != std::string_view::npos) return "v2";
  }
  return {};
}

}  // namespace dure::apiserver
