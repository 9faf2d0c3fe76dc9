#include "sim/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "client/object_meta.h"
#include "kinds/kinds.h"
#include "kinds/views/apps_v1.h"
#include "kinds/views/batch_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"

namespace dure::sim {
namespace {

namespace core = kinds::core_v1;
namespace apps = kinds::apps_v1;
namespace batch = kinds::batch_v1;
namespace discovery = kinds::discovery_v1;
using client::Key;
using schema::Object;

const client::Resource* const shadowed[] = {&core::namespaces,
                                            &core::pods,
                                            &core::nodes,
                                            &core::services,
                                            &core::endpoints,
                                            &core::configmaps,
                                            &core::serviceaccounts,
                                            &apps::deployments,
                                            &apps::replicasets,
                                            &apps::daemonsets,
                                            &apps::controllerrevisions,
                                            &batch::jobs,
                                            &discovery::endpointslices};

bool is_finished(const core::Pod& pod) {
  return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed";
}
bool is_ready(const core::Pod& pod) {
  for (const auto& condition : pod.status().conditions())
    if (condition.type() == "Ready") return condition.status() == "True";
  return false;
}

}  // namespace

struct Audit::Picture {
  std::map<const client::Resource*, std::vector<Object>> lists;
  const std::vector<Object>& of(const client::Resource& resource) const { return lists.at(&resource); }
};

Audit::Audit(run::VirtualExecutor& executor, Dice& dice, Journal& journal, ControlPlane& server,
             std::vector<std::unique_ptr<SimNode>>& nodes)
    : executor_(executor),
      journal_(journal),
      server_(server),
      nodes_(nodes),
      link_("observer", executor, dice, journal),
      client_(link_.client()) {
  for (const client::Resource* resource : shadowed)
    shadows_.push_back(std::make_unique<Shadow>(*resource, *client_, executor, journal));
}

void Audit::start() {
  for (auto& shadow : shadows_) shadow->start();
}

const std::map<Key, Object>& Audit::seen(const client::Resource& resource) const {
  for (const auto& shadow : shadows_)
    if (&shadow->resource() == &resource) return shadow->objects();
  static const std::map<Key, Object> none;
  return none;
}

bool Audit::lasts(const std::string& name, Duration limit) {
  auto [at, is_new] = since_.try_emplace(name, executor_.now(), true);
  at->second.second = true;
  return executor_.now() - at->second.first > limit;
}

void Audit::tick() {
  for (auto& [name, since] : since_) since.second = false;
  check_containers();
  if (server_.up()) check_replica_sets();
  std::erase_if(since_, [](const auto& entry) { return !entry.second.second; });
}

// One pod runs on one node, and a name does not run twice for longer than an ending takes.
void Audit::check_containers() {
  std::map<std::string, std::string> node_of_uid;
  std::map<std::string, std::set<std::string>> uids_of_name;
  for (const auto& node : nodes_)
    for (const SimNode::Running& container : node->running()) {
      auto [at, is_new] = node_of_uid.try_emplace(container.uid, node->name());
      if (at->second != node->name())
        journal_.violation(fmt::format("pod {}/{} ({}) runs on {} and on {}", container.namespace_, container.pod,
                                       container.uid, at->second, node->name()));
      uids_of_name[container.namespace_ + "/" + container.pod].insert(container.uid);
    }
  for (const auto& [name, uids] : uids_of_name)
    if (uids.size() > 1 && lasts("twice " + name, 45s))
      journal_.violation(fmt::format("{} pods called {} run at once", uids.size(), name));
}

void Audit::check_replica_sets() {
  std::map<std::string, int64_t> living;
  for (const auto& [key, object] : seen(core::pods))
    if (!client::is_terminating(object) && !is_finished(core::Pod(object)))
      ++living[std::string(client::controller_of(object).uid)];
  for (const auto& [key, object] : seen(apps::replicasets)) {
    const int64_t wanted = apps::ReplicaSet(object).spec().replicas(),
                  have = living[std::string(client::uid_of(object))];
    if (have > wanted && !client::is_terminating(object) && lasts(fmt::format("many {}", client::uid_of(object)), 90s))
      journal_.violation(fmt::format("ReplicaSet {} keeps {} pods and wants {}", key.text(), have, wanted));
    if (have > wanted + 20)
      journal_.violation(fmt::format("ReplicaSet {} ran away: {} pods, wants {}", key.text(), have, wanted));
  }
}

// --- At rest

std::string Audit::why_not_settled(const Workload& workload) {
  Picture now;
  for (const client::Resource* resource : shadowed) {
    auto list = server_.admin().list(*resource);
    if (!list) return list.error().message;
    now.lists[resource] = std::move(list->items);
  }
  for (const auto& [id, wanted] : workload.wanted()) {
    const auto& list = now.of(*wanted.resource);
    if (std::none_of(list.begin(), list.end(),
                     [&](const Object& object) { return client::key_of(object) == wanted.key; }))
      return fmt::format("{} {} is not there", wanted.resource->plural, wanted.key.text());
  }
  for (const auto& check :
       {&Audit::nodes_trouble, &Audit::leftovers, &Audit::workloads_trouble, &Audit::endpoints_trouble})
    if (std::string trouble = (this->*check)(now); !trouble.empty()) return trouble;
  if (std::string trouble = runtimes_trouble(now); !trouble.empty()) return trouble;
  if (!server_.idle()) return "a loop of the server is busy";
  for (const auto& node : nodes_)
    if (!node->idle()) return fmt::format("a loop of {} is busy", node->name());
  return caches_trouble(now);
}

std::string Audit::nodes_trouble(const Picture& now) const {
  if (now.of(core::nodes).size() != nodes_.size())
    return fmt::format("{} nodes are registered", now.of(core::nodes).size());
  for (const Object& object : now.of(core::nodes)) {
    const core::Node node(object);
    bool ready = false;
    for (const auto& condition : node.status().conditions())
      ready = ready || (condition.type() == "Ready" && condition.status() == "True");
    if (!ready) return fmt::format("node {} is not ready", client::name_of(object));
    for (const auto& taint : node.spec().taints())
      return fmt::format("node {} has the taint {}", client::name_of(object), taint.key());
    if (node.spec().podCIDR().empty()) return fmt::format("node {} has no podCIDR", client::name_of(object));
  }
  return {};
}

std::string Audit::leftovers(const Picture& now) const {
  std::set<std::string> uids;
  for (const auto& [resource, list] : now.lists)
    for (const Object& object : list) uids.emplace(client::uid_of(object));
  for (const auto& [resource, list] : now.lists)
    for (const Object& object : list) {
      const std::string what = fmt::format("{} {}", resource->plural, client::key_of(object).text());
      if (client::is_terminating(object)) return what + " is terminating";
      for (const auto& owner : client::owners_of(object))
        if (owner.kind != "Node" && !uids.contains(std::string(owner.uid)))
          return fmt::format("{} outlives its owner {} {}", what, owner.kind, owner.name);
    }
  return {};
}

std::string Audit::workloads_trouble(const Picture& now) const {
  for (const Object& object : now.of(apps::deployments)) {
    const apps::Deployment d(object);
    const int64_t wanted = d.spec().replicas();
    const auto status = d.status();
    if (status.observedGeneration() != d.metadata().generation() || status.updatedReplicas() != wanted ||
        status.replicas() != wanted || status.availableReplicas() != wanted || status.readyReplicas() != wanted)
      return fmt::format("deployment {}: wants {}, has {} (updated {}, ready {}, available {}), generation {} of {}",
                         client::key_of(object).text(), wanted, status.replicas(), status.updatedReplicas(),
                         status.readyReplicas(), status.availableReplicas(), status.observedGeneration(),
                         d.metadata().generation());
  }
  for (const Object& object : now.of(apps::daemonsets)) {
    const apps::DaemonSet d(object);
    const auto status = d.status();
    const auto wanted = static_cast<int64_t>(nodes_.size());
    if (status.observedGeneration() != d.metadata().generation() || status.desiredNumberScheduled() != wanted ||
        status.numberAvailable() != wanted || status.updatedNumberScheduled() != wanted ||
        status.numberMisscheduled() != 0)
      return fmt::format("daemonset {}: desired {}, updated {}, available {}", client::key_of(object).text(),
                         status.desiredNumberScheduled(), status.updatedNumberScheduled(), status.numberAvailable());
  }
  for (const Object& object : now.of(batch::jobs)) {
    bool ended = false;
    for (const auto& condition : batch::Job(object).status().conditions())
      ended =
          ended || ((condition.type() == "Complete" || condition.type() == "Failed") && condition.status() == "True");
    if (!ended) return fmt::format("job {} has not ended", client::key_of(object).text());
    if (batch::Job(object).status().active() != 0)
      return fmt::format("job {} has ended and has active pods", client::key_of(object).text());
  }
  for (const Object& object : now.of(core::pods)) {
    const core::Pod pod(object);
    if (!is_finished(pod) && !is_ready(pod))
      return fmt::format("pod {} ({} on {}) is not ready", client::key_of(object).text(), pod.status().phase(),
                         pod.spec().nodeName());
  }
  return {};
}

// What runs is exactly what should: no container without its pod, no pod without its containers, no sandbox of anybody
// else.
std::string Audit::runtimes_trouble(const Picture& now) {
  std::map<std::string, Object> pods;
  std::map<std::string, std::string> addresses;
  for (const Object& object : now.of(core::pods)) {
    pods[std::string(client::uid_of(object))] = object;
    const core::Pod pod(object);
    if (is_finished(pod)) continue;
    const std::string ip(pod.status().podIP());
    if (auto [at, is_new] = addresses.try_emplace(ip, client::key_of(object).text()); !is_new)
      return fmt::format("pods {} and {} both have the address {}", at->second, client::key_of(object).text(), ip);
  }
  std::map<std::string, size_t> running;
  for (const auto& node : nodes_) {
    for (const SimNode::Running& container : node->running()) {
      const auto pod = pods.find(container.uid);
      if (pod == pods.end())
        return fmt::format("{} runs a container of {}/{} ({}), which is no pod", node->name(), container.namespace_,
                           container.pod, container.uid);
      if (core::Pod(pod->second).spec().nodeName() != node->name())
        return fmt::format("{} runs {}, which belongs to another node", node->name(), container.pod);
      ++running[container.uid];
    }
    for (const std::string& uid : node->sandbox_uids(false))
      if (!pods.contains(uid)) return fmt::format("{} keeps a sandbox of {}, which is no pod", node->name(), uid);
    for (const std::string& uid : node->sandbox_uids(true))
      if (is_finished(core::Pod(pods.at(uid))))
        return fmt::format("{} keeps the sandbox of {} ready, which has ended", node->name(),
                           client::key_of(pods.at(uid)).text());
    for (const std::string& uid : node->volumes())
      if (!pods.contains(uid)) return fmt::format("{} keeps volumes of {}, which is no pod", node->name(), uid);
  }
  for (const auto& [uid, object] : pods) {
    const core::Pod pod(object);
    const size_t wanted = is_finished(pod) ? 0 : pod.spec().containers().size();
    if (running[uid] != wanted)
      return fmt::format("pod {} has {} of {} containers running", client::key_of(object).text(), running[uid], wanted);
  }
  return {};
}

std::string Audit::endpoints_trouble(const Picture& now) const {
  for (const Object& object : now.of(core::services)) {
    const core::Service service(object);
    if (service.spec().selector().size() == 0) continue;
    const std::string ns(client::namespace_of(object)), name(client::name_of(object));
    std::set<std::string> wanted, sliced, plain;
    for (const Object& pod : now.of(core::pods)) {
      if (client::namespace_of(pod) != ns || is_finished(core::Pod(pod)) || !is_ready(core::Pod(pod))) continue;
      bool matches = true;
      for (const auto& [key, value] : service.spec().selector()) matches = matches && client::label(pod, key) == value;
      if (matches) wanted.emplace(core::Pod(pod).status().podIP());
    }
    for (const Object& slice : now.of(discovery::endpointslices)) {
      if (client::namespace_of(slice) != ns || client::label(slice, "kubernetes.io/service-name") != name) continue;
      for (const auto& endpoint : discovery::EndpointSlice(slice).endpoints())
        if (endpoint.conditions().ready())
          for (std::string_view address : endpoint.addresses()) sliced.emplace(address);
    }
    for (const Object& endpoints : now.of(core::endpoints)) {
      if (client::namespace_of(endpoints) != ns || client::name_of(endpoints) != name) continue;
      for (const auto& subset : core::Endpoints(endpoints).subsets())
        for (const auto& address : subset.addresses()) plain.emplace(address.ip());
    }
    if (sliced != wanted)
      return fmt::format("service {}/{}: {} ready pods, {} endpoints in slices", ns, name, wanted.size(),
                         sliced.size());
    if (plain != wanted)
      return fmt::format("service {}/{}: {} ready pods, {} endpoints", ns, name, wanted.size(), plain.size());
  }
  return {};
}

// Nobody missed an event: watchers and agents have what a list shows.
std::string Audit::caches_trouble(const Picture& now) {
  for (const auto& shadow : shadows_)
    if (std::string difference = shadow->difference(server_.admin()); !difference.empty()) return difference;
  for (const auto& node : nodes_) {
    std::map<Key, int64_t> mine;
    for (const Object& object : now.of(core::pods))
      if (core::Pod(object).spec().nodeName() == node->name())
        mine[client::key_of(object)] = client::revision_of(object);
    for (const Object& object : node->pods_cache()->list()) {
      const auto found = mine.find(client::key_of(object));
      if (found == mine.end())
        return fmt::format("the cache of {} has {}, which is not there", node->name(), client::key_of(object).text());
      if (found->second != client::revision_of(object))
        return fmt::format("the cache of {} has an old {}", node->name(), client::key_of(object).text());
      mine.erase(found);
    }
    if (!mine.empty()) return fmt::format("the cache of {} misses {}", node->name(), mine.begin()->first.text());
  }
  return {};
}

}  // namespace dure::sim
