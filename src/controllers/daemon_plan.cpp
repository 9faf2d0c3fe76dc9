#include "controllers/daemon_plan.h"

#include <algorithm>

#include "controllers/deployment_plan.h"
#include "controllers/node_rules.h"
#include "controllers/pod_facts.h"
#include "controllers/pod_template.h"

namespace dure::controllers {
namespace {

// A pod that fails at once is made again at most this often on one node.
constexpr Duration failed_pod_age_min = 10s;

void tolerate(core::PodSpec spec, std::string_view key, std::string_view effect) {
  core::Toleration toleration = spec.add_tolerations();
  toleration.set_key(key);
  toleration.set_operator("Exists");
  toleration.set_effect(effect);
}

// Daemons stay through a node's own troubles.
void add_tolerations(core::PodSpec spec) {
  tolerate(spec, "node.kubernetes.io/not-ready", "NoExecute");
  tolerate(spec, "node.kubernetes.io/unreachable", "NoExecute");
  tolerate(spec, "node.kubernetes.io/disk-pressure", "NoSchedule");
  tolerate(spec, "node.kubernetes.io/memory-pressure", "NoSchedule");
  tolerate(spec, "node.kubernetes.io/pid-pressure", "NoSchedule");
  tolerate(spec, "node.kubernetes.io/unschedulable", "NoSchedule");
  if (spec.hostNetwork()) tolerate(spec, "node.kubernetes.io/network-unavailable", "NoSchedule");
}

void pin(core::PodSpec spec, std::string_view node) {
  auto affinity = spec.mutable_affinity().mutable_nodeAffinity();
  affinity.clear_requiredDuringSchedulingIgnoredDuringExecution();
  core::NodeSelectorTerm term =
      affinity.mutable_requiredDuringSchedulingIgnoredDuringExecution().add_nodeSelectorTerms();
  core::NodeSelectorRequirement row = term.add_matchFields();
  row.set_key("metadata.name");
  row.set_operator("In");
  row.add_values(node);
}

bool is_surging(const core::Pod& pod) { return pod.metadata().deletionTimestamp().empty() && !is_finished(pod); }


bool is_current(const Object& pod, const std::string& hash) { return client::label(pod, revision_hash_label) == hash; }

struct Limits {
  int64_t surge = 0, unavailable = 1;
};

Limits limits_of(const DaemonView& view) {
  const apps::DaemonSet set(view.daemon_set);
  const Document pod = daemon_pod(view.daemon_set, "", view.hash);
  int64_t desired = 0;
  for (const Object& node : view.nodes) desired += fit(pod, view.daemon_set, node).should_run;
  const apps::RollingUpdateDaemonSet rolling = set.spec().updateStrategy().rollingUpdate();
  Limits limits;
  limits.surge = scaled_value(rolling.maxSurge(), desired, true);
  limits.unavailable = rolling.maxUnavailable() ? scaled_value(rolling.maxUnavailable(), desired, true) : 1;
  if (limits.surge == 0 && limits.unavailable == 0) limits.unavailable = 1;
  return limits;
}

// The pod of the current template and the one of an older, among those that are not leaving or finished.
struct Pair {
  Object current, old;
  bool is_crowded = false;  // more than one of a sort: presence sorts that out
};

Pair pair_of(const std::vector<Object>& pods, const std::string& hash) {
  Pair pair;
  for (const Object& pod : pods) {
    if (!is_surging(core::Pod(pod))) continue;
    Object& place = is_current(pod, hash) ? pair.current : pair.old;
    if (place) pair.is_crowded = true;
    place = pod;
  }
  return pair;
}

}  // namespace

Document daemon_pod(const Object& daemon_set, std::string_view node, std::string_view hash) {
  Document pod = pod_from_template(apps::DaemonSet(daemon_set).spec().template_(), apps::daemonsets, daemon_set);
  core::Pod view(pod);
  view.mutable_metadata().set_labels(revision_hash_label, hash);
  const std::string_view generation = client::annotation(daemon_set, "deprecated.daemonset.template.generation");
  if (!generation.empty()) view.mutable_metadata().set_labels("pod-template-generation", generation);
  add_tolerations(view.mutable_spec());
  if (!node.empty()) pin(view.mutable_spec(), node);
  return pod;
}

Fit fit(const Document& pod, const Object& daemon_set, const Object& object) {
  const core::Node node(object);
  const core::PodSpec wanted = apps::DaemonSet(daemon_set).spec().template_().spec();
  if (!wanted.nodeName().empty() && wanted.nodeName() != node.metadata().name()) return {};
  if (!matches_affinity(wanted, object)) return {};
  const core::PodSpec with_tolerations = core::Pod(pod).spec();
  Fit fit{true, true};
  for (const core::Taint taint : node.spec().taints()) {
    if (taint.effect() == "PreferNoSchedule" || is_tolerated(with_tolerations, taint)) continue;
    fit.should_run = false;
    if (taint.effect() == "NoExecute") fit.should_continue = false;
  }
  return fit;
}

std::string node_of(const Object& object) {
  const core::PodSpec spec = core::Pod(object).spec();
  if (!spec.nodeName().empty()) return std::string(spec.nodeName());
  const auto required = spec.affinity().nodeAffinity().requiredDuringSchedulingIgnoredDuringExecution();
  for (const core::NodeSelectorTerm term : required.nodeSelectorTerms())
    for (const core::NodeSelectorRequirement row : term.matchFields())
      if (row.key() == "metadata.name" && row.values().size() == 1) return std::string(row.values().front());
  return {};
}

namespace {

void plan_node(const DaemonView& view, const Fit& fit, const std::vector<Object>& pods, const std::string& node,
               int64_t surge, DaemonPlan& plan) {
  std::vector<Object> running;
  bool leaving = false;
  for (const Object& object : pods) {
    const core::Pod pod(object);
    if (!pod.metadata().deletionTimestamp().empty()) {
      leaving = true;
      continue;
    }
    if (pod.status().phase() == "Failed" && fit.should_continue) {
      leaving = true;
      const auto made = parse_time(pod.metadata().creationTimestamp());
      const Duration age = made ? view.now - *made : failed_pod_age_min;
      if (age < failed_pod_age_min) {
        plan.look_again = std::min(plan.look_again.value_or(failed_pod_age_min), failed_pod_age_min - age);
        continue;
      }
      plan.failed.push_back(object);
      plan.remove.push_back(object);
      continue;
    }
    running.push_back(object);
  }
  if (!fit.should_continue) {
    for (const Object& pod : running) plan.remove.push_back(pod);
    return;
  }
  if (running.empty() && !leaving && fit.should_run) plan.create_on.push_back(node);
  std::sort(running.begin(), running.end(), is_older);
  if (surge == 0) {
    for (size_t i = 1; i < running.size(); ++i) plan.remove.push_back(running[i]);
    return;
  }
  // While surging one old and one current pod may stand together: surplus ones of each sort go.
  bool current_seen = false, old_seen = false;
  for (const Object& pod : running) {
    bool& seen = is_current(pod, view.hash) ? current_seen : old_seen;
    if (seen) plan.remove.push_back(pod);
    seen = true;
  }
}

}  // namespace

DaemonPlan plan_presence(const DaemonView& view) {
  DaemonPlan plan;
  const Document pod = daemon_pod(view.daemon_set, "", view.hash);
  const bool rolling = apps::DaemonSet(view.daemon_set).spec().updateStrategy().type() != "OnDelete";
  const int64_t surge = rolling ? limits_of(view).surge : 0;
  static const std::vector<Object> none;
  std::map<std::string_view, bool> known;
  for (const Object& node : view.nodes) {
    const std::string name(client::name_of(node));
    known[client::name_of(node)] = true;
    auto at = view.pods.find(name);
    plan_node(view, fit(pod, view.daemon_set, node), at == view.pods.end() ? none : at->second, name, surge, plan);
  }
  // Pods that wait for a node that is gone will never be placed.
  for (const auto& [node, pods] : view.pods)
    if (!known.contains(node))
      for (const Object& object : pods)
        if (core::Pod(object).spec().nodeName().empty() && !client::is_terminating(object))
          plan.remove.push_back(object);
  return plan;
}

namespace {

DaemonPlan replace_in_place(const DaemonView& view, int64_t unavailable_max) {
  const int64_t min_ready = apps::DaemonSet(view.daemon_set).spec().minReadySeconds();
  int64_t unavailable = 0;
  std::vector<Object> now, later;
  for (const auto& [node, pods] : view.pods) {
    const Pair pair = pair_of(pods, view.hash);
    if (pair.is_crowded || (pair.current != nullptr) == (pair.old != nullptr)) {
      ++unavailable;
    } else if (pair.current) {
      unavailable += !is_available(core::Pod(pair.current), min_ready, view.now);
    } else if (!is_available(core::Pod(pair.old), min_ready, view.now)) {
      // Replacing what serves nobody costs nothing.
      now.push_back(pair.old);
    } else {
      later.push_back(pair.old);
    }
  }
  // Old pods that are down already count against the limit for the healthy ones.
  const int64_t budget = std::clamp<int64_t>(unavailable_max - unavailable - static_cast<int64_t>(now.size()), 0,
                                             static_cast<int64_t>(later.size()));
  now.insert(now.end(), later.begin(), later.begin() + budget);
  return {{}, std::move(now), {}};
}

DaemonPlan replace_by_surge(const DaemonView& view, int64_t surge_max) {
  const int64_t min_ready = apps::DaemonSet(view.daemon_set).spec().minReadySeconds();
  DaemonPlan plan;
  int64_t surging = 0;
  std::vector<std::string> later;
  for (const auto& [node, pods] : view.pods) {
    const Pair pair = pair_of(pods, view.hash);
    if (pair.is_crowded) {
      ++surging;
    } else if (!pair.old) {
      continue;
    } else if (!pair.current) {
      if (is_available(core::Pod(pair.old), min_ready, view.now))
        later.push_back(node);
      else
        plan.create_on.push_back(node);
    } else if (is_available(core::Pod(pair.current), min_ready, view.now)) {
      plan.remove.push_back(pair.old);
    } else {
      ++surging;
    }
  }
  const int64_t budget = std::clamp<int64_t>(surge_max - surging, 0, static_cast<int64_t>(later.size()));
  plan.create_on.insert(plan.create_on.end(), later.begin(), later.begin() + budget);
  return plan;
}

}  // namespace

DaemonPlan plan_update(const DaemonView& view) {
  if (apps::DaemonSet(view.daemon_set).spec().updateStrategy().type() == "OnDelete") return {};
  const Limits limits = limits_of(view);
  return limits.surge > 0 ? replace_by_surge(view, limits.surge) : replace_in_place(view, limits.unavailable);
}

DaemonCounts count(const DaemonView& view) {
  DaemonCounts counts;
  const Document pod = daemon_pod(view.daemon_set, "", view.hash);
  const int64_t min_ready = apps::DaemonSet(view.daemon_set).spec().minReadySeconds();
  for (const Object& node : view.nodes) {
    auto at = view.pods.find(std::string(client::name_of(node)));
    const bool scheduled = at != view.pods.end() && !at->second.empty();
    if (!fit(pod, view.daemon_set, node).should_run) {
      counts.misscheduled += scheduled;
      continue;
    }
    ++counts.desired;
    if (!scheduled) continue;
    ++counts.current;
    const Object oldest = *std::min_element(at->second.begin(), at->second.end(), is_older);
    counts.ready += is_ready(core::Pod(oldest));
    counts.available += is_available(core::Pod(oldest), min_ready, view.now);
    counts.updated += is_current(oldest, view.hash);
  }
  return counts;
}

}  // namespace dure::controllers
