// What the workload loops ask about pods. Pure.
#pragma once

#include <optional>
#include <vector>

#include "controllers/api.h"

namespace dure::controllers {

bool is_finished(const core::Pod& pod);  // Succeeded or Failed
bool is_active(const core::Pod& pod);    // neither finished nor being deleted
bool is_ready(const core::Pod& pod);
// When the condition Ready took its present value.
std::optional<WallTime> ready_changed_at(const core::Pod& pod);
// Ready for at least `min_ready_seconds`.
bool is_available(const core::Pod& pod, int64_t min_ready_seconds, WallTime now);
// Time until a ready pod becomes available; absent when it is available or not ready.
std::optional<Duration> until_available(const core::Pod& pod, int64_t min_ready_seconds, WallTime now);
// Time until the next of these becomes available: with minReadySeconds nothing happens then but time passing.
std::optional<Duration> until_next_available(const std::vector<Object>& pods, int64_t min_ready_seconds, WallTime now);
std::vector<Object> active_pods(const std::vector<Object>& pods);
bool is_older(const Object& a, const Object& b);  // by creation, then by name
// Condition `type` of a pod; a view of nothing when it has none.
core::PodCondition pod_condition(const core::Pod& pod, std::string_view type);

// The pods in the order in which a scale-down takes them, as upstream ranks: unassigned, not running, not ready,
// cheaper by controller.kubernetes.io/pod-deletion-cost, more relatives on the same node, ready for a shorter time,
// more restarts, younger. Times are compared by their order of magnitude, ties broken by uid. `relatives`: all pods of
// the same workload.
std::vector<Object> in_deletion_order(std::vector<Object> pods, const std::vector<Object>& relatives, WallTime now);

// Index function "node" of pod caches: the node's name ("": none yet).
std::vector<std::string> by_node(const Object& pod);
// Index function for caches of things with a controller: its uid, or "orphan/<namespace>".
std::vector<std::string> controller_index(const Object& object);
// Those of `owner` and those nobody controls, of one namespace.
std::vector<Object> candidates_of(Cache& cache, const Object& owner);

}  // namespace dure::controllers
