// Catalog: every resource that is served, how it is found by URL, and where and how it is stored.
//
// Built once from the built-in resources; CRDs will add and remove entries (a new Catalog replaces the old one).
// Immutable, any thread; entries live as long as the Catalog.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kinds/hooks/write.h"
#include "schema/resource.h"
#include "store/store.h"

namespace dure::apiserver {

struct Served {
  const schema::Resource* resource = nullptr;
  const kinds::WriteHooks* hooks = nullptr;
  const kinds::Conversion* conversion = nullptr;  // null: served in the form it is stored in
  const Served* storage = nullptr;                // the version that is stored; itself without a conversion
  std::string prefix;                             // "/registry/pods/"
  bool has_status = false, keeps_generation = false;
  bool stored = true;  // false: computed, has no keys

  std::string key(std::string_view ns, std::string_view name) const;
  std::string key_prefix(std::string_view ns) const;  // of one namespace, or of all when empty
  store::Durability durability() const {
    return hooks->volatile_ ? store::Durability::volatile_ : store::Durability::durable;
  }
  // Namespace and name of a key of this resource.
  struct Name {
    std::string_view namespace_, name;
  };
  Name name_of(std::string_view key) const;
};

class Catalog {
 public:
  explicit Catalog(const std::vector<const schema::Resource*>& resources);
  Catalog(const Catalog&) = delete;

  const Served* find(std::string_view group, std::string_view version, std::string_view plural) const;
  // In whichever version comes first (the storage version for hooks).
  const Served* find(std::string_view group, std::string_view plural) const;
  const Served* find(const schema::Resource& resource) const {
    return find(resource.group, resource.version, resource.plural);
  }
  // The stored resource whose keys start like this one, or null.
  const Served* by_key(std::string_view key) const;
  const Served* namespaces() const { return namespaces_; }
  const std::deque<Served>& all() const { return served_; }

  struct Group {
    std::string_view name;
    std::vector<std::string_view> versions;  // preferred first
    int priority = 0;                        // of its APIServices; 0: has none
  };
  const std::vector<Group>& groups() const { return groups_; }  // in discovery order, "" first
  bool has_group_version(std::string_view group, std::string_view version) const;

 private:
  std::deque<Served> served_;
  std::unordered_map<std::string, const Served*> by_path_, by_prefix_;
  std::vector<Group> groups_;
  const Served* namespaces_ = nullptr;
};

}  // namespace dure::apiserver
