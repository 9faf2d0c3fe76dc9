// May a pod stand on a node? Taints, tolerations and required node affinity, as DaemonSets and evictions need them.
// Pure.
#pragma once

#include <optional>
#include <vector>

#include "controllers/api.h"

namespace dure::controllers {

bool tolerates(const core::Toleration& toleration, const core::Taint& taint);
bool is_tolerated(const core::PodSpec& pod, const core::Taint& taint);  // by one of the pod's tolerations
// nodeSelector and required node affinity.
bool matches_affinity(const core::PodSpec& pod, const Object& node);

inline constexpr std::string_view zone_label = "topology.kubernetes.io/zone";
inline constexpr std::string_view control_plane_label = "node-role.kubernetes.io/control-plane";

// How long a node may be silent before its pods are moved, by its label dure.dev/class: "laptop" (24 h: it sleeps and
// travels), "remote" (1 h: its uplink comes back), "always-on" or none (20 s: by then it shows whether others fell
// silent with it). The pods' own tolerationSeconds come on top.
inline constexpr std::string_view class_label = "dure.dev/class";
Duration silence_allowed(const Document& node);
// When everybody but ourselves is silent it is more likely that we are cut off: nobody is ready; or there are nodes in
// at least two other places than the server's (topology.kubernetes.io/zone) and none of them is.
bool is_cut_off(const std::vector<Object>& nodes);

// A taint is known by its key and effect. Both answer whether something changed.
bool add_taint(Document& node, std::string_view key, std::string_view effect, std::optional<WallTime> added);
bool drop_taint(Document& node, std::string_view key, std::string_view effect);
bool has_taint(const core::NodeSpec& spec, std::string_view key, std::string_view effect);

}  // namespace dure::controllers
