// May a pod stand on a node? Taints, tolerations and required node affinity, as DaemonSets and evictions need them.
// Pure.
#pragma once

#include <optional>
#include <vector>

#include "controllers/api.h"

namespace dure::controllers {

// A toleration of the pod that tolerates the taint; a view of nothing when there is none.
bool tolerates(const core::Toleration& toleration, const core::Taint& taint);
bool is_tolerated(const core::PodSpec& pod, const core::Taint& taint);
// nodeSelector and required node affinity.
bool matches_affinity(const core::PodSpec& pod, const Object& node);

// Set of taints without those that `same` key and effect; answers whether something changed.
bool add_taint(Document& node, std::string_view key, std::string_view effect, std::optional<WallTime> added);
bool drop_taint(Document& node, std::string_view key, std::string_view effect);
bool has_taint(const core::NodeSpec& spec, std::string_view key, std::string_view effect);

}  // namespace dure::controllers
