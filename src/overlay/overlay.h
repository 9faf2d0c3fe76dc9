// Overlay: keeps this node's part of the pod network: bridge, the device that leads to the peers (WireGuard or vxlan),
// the peers, masquerading, CNI configuration.
//
// Truth is the list of Nodes and the kernel itself: every sync reads both, changes what differs, and keeps nothing that
// the next one could not do without, so a restart or a foreign hand is repaired by the next one. Owner of `cni0`,
// `dure-wg` or `flannel.1`, routes of protocol 208 on them, the local addresses given, chains `overlay-...` in our
// table, and 10-dure.conflist. Thread: one sync at a time; move_endpoint from any. Cost: a sync without changes is a
// handful of netlink dumps (and one question to wireguard-go), well under a millisecond.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "client/loop.h"
#include "client/events.h"
#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/sysctl.h"
#include "kernel/wg.h"
#include "os/disk.h"
#include "overlay/plan.h"

namespace dure::overlay {

class PeerDevice;

enum class Backend {
  wireguard,
  vxlan,
  none,  // a third-party CNI brings the network: only the local addresses are ours
};

struct OverlayOptions {
  std::string node_name;
  Backend backend = Backend::vxlan;
  IpPrefix cluster_cidr = {Ip::v4(0x0af40000), 16};  // all pods: 10.244.0.0/16
  IpPrefix service_cidr = {Ip::v4(0x0a600000), 12};  // 10.96.0.0/12
  IpPrefix node_cidr = {Ip::v4(0x0af50000), 16};     // stable addresses of nodes, with wireguard: 10.245.0.0/16
  // The machine's own address towards the others. vxlan: none is the Node's InternalIP, else the default route's.
  // wireguard: used while the machine has it, else the default route's.
  std::optional<Ip> node_ip;
  std::vector<Ip> local_addresses;  // put on lo: the cluster's DNS address
  std::string bridge = "cni0", vxlan = "flannel.1", wireguard = "dure-wg";
  uint32_t vni = 1;
  uint16_t port = 8472;
  kernel::WgKey wireguard_key, wireguard_public_key;
  uint16_t wireguard_port = 51820;
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
  // wireguard only: makes or takes over the device of that name; and who knows the ways to the peers (may be null).
  std::function<Result<std::unique_ptr<kernel::Wg>>(std::string_view name)> open_wg = {};
  Endpoints* endpoints = nullptr;
};

class Overlay {
 public:
  Overlay(OverlayOptions options, OverlayWorld world);
  ~Overlay();

  // What needs no cluster: the local addresses, forwarding, a WireGuard device. For the start, before a server is
  // reached. "WireguardMissing" with its remedy when this machine can have none.
  Status prepare();

  struct Synced {
    bool ready = false;                              // the node has a pod CIDR and pods can be joined
    size_t changes = 0;                              // entries of peers that were put or removed
    std::optional<Ip> node_ip;                       // wireguard: the node's stable address, its InternalIP
    std::map<std::string, std::string> annotations;  // what our Node should carry
    std::vector<Refusal> refused;                    // peers that were left out
  };
  Result<Synced> sync(const std::vector<schema::Object>& nodes);

  // At once, between syncs: the way to a peer changed. A peer that no sync has seen yet is no error. Setting the same
  // endpoint again is of use after this machine's own address changed.
  Status move_endpoint(std::string_view node, const Path& path);

  // For reset: everything of ours is gone afterwards, as far as it is not other rooms' (the table itself stays).
  // Idempotent.
  Status remove_all();

 private:
  Result<std::optional<kernel::Uplink>> uplink(const kinds::core_v1::Node& node);
  Status set(std::string_view name, std::string_view value);
  Status sync_rules();
  Status sync_conflist(const IpPrefix& cidr, int mtu);
  Status sync_peers(const struct OwnNode& own, const std::vector<schema::Object>& nodes, const kernel::Link& device,
                    Synced& out);

  const OverlayOptions options_;
  OverlayWorld world_;
  std::unique_ptr<PeerDevice> device_;  // null: Backend::none
};

// The loop: watches Nodes, syncs, patches our Node's annotations, and tells who was left out: in the log, and as an
// Event of the Node when it claims what is ours. `overlay`, `caches` and `client` outlive it.
struct OverlayLoopOptions {
  std::string node_name;
  client::EventRecorder* events = nullptr;
  std::function<void(const Overlay::Synced&)> on_synced = {};  // on the executor, after every sync
};
inline constexpr const char* overlay_loop_name = "overlay";
client::Key overlay_key();  // the loop's one key, to look again when the machine changed
client::LoopSpec overlay_loop(Overlay& overlay, client::Caches& caches, client::Client& client,
                              OverlayLoopOptions options);

}  // namespace dure::overlay
