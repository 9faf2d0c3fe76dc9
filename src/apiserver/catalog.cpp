#include "apiserver/catalog.h"

#include <algorithm>
#include <array>

#include "base/result.h"

namespace dure::apiserver {

namespace {

constexpr std::string_view registry = "/registry/";

std::string path_key(std::string_view group, std::string_view version, std::string_view plural) {
  std::string key;
  key.reserve(group.size() + version.size() + plural.size() + 2);
  return key.append(group).append("/").append(version).append("/").append(plural);
}

bool has_subresource(const schema::Resource& resource, std::string_view name) {
  return resource.subresource(name) != nullptr;
}

std::string storage_prefix(const schema::Resource& resource, const kinds::WriteHooks& hooks) {
  std::string prefix(registry);
  prefix += hooks.storage_path.empty() ? resource.plural : hooks.storage_path;
  return prefix + "/";
}

// kubectl shows and prefers groups in this order; the priorities are upstream's. The group of APIServices itself is
// announced by nobody.
struct GroupRank {
  std::string_view group;
  int priority;
};
constexpr std::array group_ranks{GroupRank{"", 18000},
                                 GroupRank{"apiregistration.k8s.io", 0},
                                 GroupRank{"apps", 17800},
                                 GroupRank{"events.k8s.io", 17750},
                                 GroupRank{"authentication.k8s.io", 17700},
                                 GroupRank{"authorization.k8s.io", 17600},
                                 GroupRank{"autoscaling", 17500},
                                 GroupRank{"batch", 17400},
                                 GroupRank{"certificates.k8s.io", 17300},
                                 GroupRank{"networking.k8s.io", 17200},
                                 GroupRank{"policy", 17100},
                                 GroupRank{"rbac.authorization.k8s.io", 17000},
                                 GroupRank{"storage.k8s.io", 16800},
                                 GroupRank{"admissionregistration.k8s.io", 16700},
                                 GroupRank{"apiextensions.k8s.io", 16700},
                                 GroupRank{"scheduling.k8s.io", 16600},
                                 GroupRank{"coordination.k8s.io", 16500},
                                 GroupRank{"node.k8s.io", 16300},
                                 GroupRank{"discovery.k8s.io", 16200},
                                 GroupRank{"resource.k8s.io", 16200},
                                 GroupRank{"flowcontrol.apiserver.k8s.io", 16100}};

auto find_rank(std::string_view group) {
  return std::find_if(group_ranks.begin(), group_ranks.end(), [&](const GroupRank& r) { return r.group == group; });
}

// v2 before v1 before v1beta1 before v1alpha1.
bool version_before(std::string_view a, std::string_view b) {
  const auto stable = [](std::string_view v) { return v.find_first_not_of("0123456789", 1) == std::string_view::npos; };
  if (stable(a) != stable(b)) return stable(a);
  return a > b;
}

}  // namespace

std::string Served::key_prefix(std::string_view ns) const {
  if (ns.empty()) return prefix;
  std::string key;
  key.reserve(prefix.size() + ns.size() + 1);
  return key.append(prefix).append(ns).append("/");
}

std::string Served::key(std::string_view ns, std::string_view name) const {
  std::string key;
  key.reserve(prefix.size() + ns.size() + 1 + name.size());
  key.append(prefix);
  if (resource->namespaced) key.append(ns).append("/");
  return key.append(name);
}

Served::Name Served::name_of(std::string_view key) const {
  key.remove_prefix(std::min(prefix.size(), key.size()));
  if (!resource->namespaced) return {{}, key};
  const size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {{}, key};
  return {key.substr(0, slash), key.substr(slash + 1)};
}

Catalog::Catalog(const std::vector<const schema::Resource*>& resources) {
  for (const schema::Resource* resource : resources) {
    Served& served = served_.emplace_back();
    served.resource = resource;
    served.conversion = kinds::conversion(resource->group, resource->version, resource->plural);
    served.hooks = served.conversion
                       ? kinds::write_hooks(served.conversion->storage_group, served.conversion->storage_resource)
                       : kinds::write_hooks(resource->group, resource->plural);
    served.storage = &served;
    served.prefix = storage_prefix(*resource, *served.hooks);
    served.has_status = has_subresource(*resource, "status");
    served.keeps_generation = served.hooks->generation.value_or(served.has_status);
    served.stored = resource->has_verb("delete");
    by_path_[path_key(resource->group, resource->version, resource->plural)] = &served;
    if (served.hooks->is_namespace) namespaces_ = &served;
    auto group =
        std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) { return g.name == resource->group; });
    if (group == groups_.end()) {
      const auto rank = find_rank(resource->group);
      group = groups_.insert(groups_.end(), Group{resource->group, {}, rank == group_ranks.end() ? 0 : rank->priority});
    }
    if (std::find(group->versions.begin(), group->versions.end(), resource->version) == group->versions.end())
      group->versions.push_back(resource->version);
  }
  for (Served& served : served_) {
    if (served.conversion) {
      served.storage = find(served.conversion->storage_group, served.conversion->storage_version,
                            served.conversion->storage_resource);
      DURE_ASSERT(served.storage != nullptr);
      served.prefix = served.storage->prefix;
    } else if (served.stored) {
      by_prefix_[served.prefix] = &served;
    }
  }
  for (Group& group : groups_) std::sort(group.versions.begin(), group.versions.end(), version_before);
  std::stable_sort(groups_.begin(), groups_.end(),
                   [](const Group& a, const Group& b) { return find_rank(a.name) < find_rank(b.name); });
}

const Served* Catalog::find(std::string_view group, std::string_view version, std::string_view plural) const {
  const auto at = by_path_.find(path_key(group, version, plural));
  return at == by_path_.end() ? nullptr : at->second;
}

const Served* Catalog::find(std::string_view group, std::string_view plural) const {
  const Served* found = nullptr;
  for (const Served& served : served_) {
    if (served.resource->group != group || served.resource->plural != plural) continue;
    if (!served.conversion) return &served;
    found = &served;
  }
  return found;
}

const Served* Catalog::by_key(std::string_view key) const {
  if (!key.starts_with(registry)) return nullptr;
  size_t slash = key.find('/', registry.size());
  for (int parts = 0; parts < 2 && slash != std::string_view::npos; ++parts) {
    if (const auto at = by_prefix_.find(std::string(key.substr(0, slash + 1))); at != by_prefix_.end())
      return at->second;
    slash = key.find('/', slash + 1);
  }
  return nullptr;
}

bool Catalog::has_group_version(std::string_view group, std::string_view version) const {
  for (const Group& g : groups_)
    if (g.name == group) return std::find(g.versions.begin(), g.versions.end(), version) != g.versions.end();
  return false;
}

}  // namespace dure::apiserver
