// kinds: every built-in resource and kind.
//
// The typed views are in "kinds/views/<group>_<version>.h" (made by rowc): classes such as
// kinds::core_v1::Pod, and resources such as kinds::core_v1::pods. Everything here is constant and
// may be used from any thread.
#pragma once

#include <span>
#include <string_view>

#include "schema/resource.h"
#include "schema/rows.h"

namespace dure::kinds {

std::span<const schema::Resource* const> resources();
// find_resource("apps", "v1", "deployments"); null when there is none.
const schema::Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural);

// Types that are API objects.
std::span<const schema::Type* const> kinds();
// find_type("apps/v1", "Deployment"). The option kinds and WatchEvent are found under every
// group-version, as clients send them.
const schema::Type* find_type(std::string_view api_version, std::string_view kind);

}  // namespace dure::kinds
