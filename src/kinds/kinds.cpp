#include "kinds/kinds.h"

#include <algorithm>

namespace dure::kinds {

// Made by rowc.
extern const schema::Resource* const kResources[];
extern const size_t kResourceCount;
extern const schema::Type* const kKinds[];
extern const size_t kKindCount;

std::span<const schema::Resource* const> resources() { return {kResources, kResourceCount}; }
std::span<const schema::Type* const> kinds() { return {kKinds, kKindCount}; }

const schema::Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural) {
  for (const schema::Resource* r : resources())
    if (r->plural == plural && r->group == group && r->version == version) return r;
  return nullptr;
}

const schema::Type* find_type(std::string_view api_version, std::string_view kind) {
  for (const schema::Type* type : kinds())
    if (type->name == kind && type->api_version == api_version) return type;
  constexpr std::string_view kEverywhere[] = {"CreateOptions", "DeleteOptions", "GetOptions", "ListOptions",
                                              "PatchOptions",  "UpdateOptions", "WatchEvent"};
  if (api_version != "v1" && std::find(std::begin(kEverywhere), std::end(kEverywhere), kind) != std::end(kEverywhere))
    return find_type("v1", kind);
  return nullptr;
}

}  // namespace dure::kinds
