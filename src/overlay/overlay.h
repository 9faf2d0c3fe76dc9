// Overlay: keeps this node's part of the pod network: bridge, vxlan device, peers, masquerading, CNI configuration.
//
// Truth is the list of Nodes and the kernel itself: every sync reads both, changes what differs, and keeps nothing, so
// a restart or a foreign hand is repaired by the next one. Owner of `cni0`, `flannel.1`, routes of protocol 208 on it,
// the local addresses given, chains `overlay-...` in our table, and 10-dure.conflist. Thread: one sync at a time. Cost:
// a sync without changes is a handful of netlink dumps, well under a millisecond.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "client/loop.h"
#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/sysctl.h"
#include "os/disk.h"
#include "overlay/plan.h"

namespace dure::overlay {

enum class Backend {
  vxlan,
  none,  // a third-party CNI brings the network: only the local addresses are ours
};

struct OverlayOptions {
  std::string node_name;
  Backend backend = Backend::vxlan;
  IpPrefix cluster_cidr = {Ip::v4(0x0af40000), 16};  // all pods: 10.244.0.0/16
  IpPrefix service_cidr = {Ip::v4(0x0a600000), 12};  // 10.96.0.0/12
  std::optional<Ip> node_ip;                         // none: the Node's InternalIP, else the default route's
  std::vector<Ip> local_addresses;                   // put on lo: the cluster's DNS address
  std::string bridge = "cni0", vxlan = "flannel.1";
  uint32_t vni = 1;
  uint16_t port = 8472;
  std::string cni_folder = "/etc/cni/net.d";
  std::string cni_state_folder = "/run/dure/cni";
  // Told once per kernel setting that was changed, with the value it had: for the journal of reset.
  std::function<void(std::string_view setting, std::string_view before)> on_setting = {};
};

struct OverlayWorld {  // outlives the Overlay
  kernel::Links& links;
  kernel::Nft& nft;
  kernel::Sysctl& sysctl;
  os::Disk& disk;
};

class Overlay {
 public:
  Overlay(OverlayOptions options, OverlayWorld world) : options_(std::move(options)), world_(world) {}

  // What needs no cluster: the local addresses, forwarding. For the start, before a server is reached.
  Status prepare();

  struct Synced {
    bool ready = false;                              // the node has a pod CIDR and pods can be joined
    size_t changes = 0;                              // entries of peers that were put or removed
    std::map<std::string, std::string> annotations;  // what our Node should carry
  };
  Result<Synced> sync(const std::vector<schema::Object>& nodes);

  // For reset: everything of ours is gone afterwards, as far as it is not other rooms' (the table itself stays).
  // Idempotent.
  Status remove_all();

 private:
  struct Uplink {
    kernel::Link link;
    Ip ip;
  };
  Result<Uplink> uplink(const kinds::core_v1::Node& node);
  Status set(std::string_view name, std::string_view value);
  Status sync_rules();
  Status sync_conflist(const IpPrefix& cidr, int mtu);
  Result<kernel::Link> sync_vxlan(const IpPrefix& cidr, const Uplink& up, int mtu);
  Result<size_t> sync_peers(const Plan& wanted, int link);
  Result<Plan> present(int link);
  Status apply(const Change& change);

  OverlayOptions options_;
  OverlayWorld world_;
};

// The loop: watches Nodes, syncs, and patches our Node's annotations. `overlay`, `caches` and `client` outlive it.
client::LoopSpec overlay_loop(Overlay& overlay, const std::string& node_name, client::Caches& caches,
                              client::Client& client);

}  // namespace dure::overlay
