#include <set>

#include "base/ip.h"
#include "base/log.h"
#include "controllers/node_lifecycle.h"

namespace dure::controllers {
namespace {

std::vector<std::string> cidrs_of(const Object& node) {
  std::vector<std::string> cidrs;
  const core::NodeSpec spec = core::Node(node).spec();
  for (const std::string_view cidr : spec.podCIDRs()) cidrs.emplace_back(cidr);
  if (cidrs.empty() && !spec.podCIDR().empty()) cidrs.emplace_back(spec.podCIDR());
  return cidrs;
}

class NodeIpam {
 public:
  NodeIpam(Client& client, Caches& caches, NodeIpamOptions options)
      : client_(client),
        options_(std::move(options)),
        nodes_(caches.of(core::nodes)),
        events_(EventRecorder::create(client, caches.executor(), "cidrAllocator")) {
    for (const std::string& text : options_.cluster_cidrs)
      if (const auto prefix = IpPrefix::parse(text)) clusters_.push_back(prefix->network());
  }

  // One worker: the cache holds every earlier assignment.
  Outcome reconcile(const Key& key) {
    const Object node = nodes_.get(key);
    if (!node || client::is_terminating(node) || clusters_.empty() || !cidrs_of(node).empty()) return Outcome::done();
    Document next = node->clone();
    core::NodeSpec spec = core::Node(next).mutable_spec();
    for (const IpPrefix& cluster : clusters_) {
      const auto part = free_part(cluster);
      if (!part) {
        events_->warning(EventAbout::object(node), "CIDRNotAvailable",
                         "Node " + key.name + " status is now: CIDRNotAvailable");
        return Outcome::after(1min);
      }
      if (spec.podCIDR().empty()) spec.set_podCIDR(part->text());
      spec.add_podCIDRs(part->text());
    }
    return outcome_of(client_.update(core::nodes, next));
  }

 private:
  std::optional<IpPrefix> free_part(const IpPrefix& cluster) const {
    const int mask = std::max(cluster.ip.v6 ? options_.mask_v6 : options_.mask_v4, cluster.length);
    std::set<int64_t> taken;
    for (const Object& node : nodes_.list())
      for (const std::string& text : cidrs_of(node))
        if (const auto part = IpPrefix::parse(text))
          if (const auto number = cluster.part_number(mask, part->ip)) taken.insert(*number);
    const int64_t count = int64_t{1} << std::min(mask - cluster.length, 20);
    for (int64_t number = 0; number < count; ++number)
      if (!taken.contains(number)) return cluster.part(mask, number);
    return {};
  }

  Client& client_;
  const NodeIpamOptions options_;
  Cache& nodes_;
  std::unique_ptr<EventRecorder> events_;
  std::vector<IpPrefix> clusters_;
};

}  // namespace

LoopSpec node_ipam(Client& client, Caches& caches, NodeIpamOptions options) {
  auto ipam = std::make_shared<NodeIpam>(client, caches, std::move(options));
  LoopSpec spec;
  spec.name = "node-ipam";
  spec.watches = {{&core::nodes, client::own_key(), {}}};
  spec.owns = {"spec.podCIDRs of v1 Node"};
  spec.reconcile = [ipam](const Key& key) { return ipam->reconcile(key); };
  return spec;
}

}  // namespace dure::controllers
