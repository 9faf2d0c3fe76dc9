// PeerDevice: the network device that leads to the other nodes' pods, and what it has to know of them. One
// implementation per backend; everything else (bridge, addresses, masquerading, CNI configuration) is the Overlay's.
//
// Sources of this room only. Thread: one call at a time, but `move` of the WireGuard device any.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/links.h"
#include "kernel/nft.h"
#include "overlay/overlay.h"

namespace dure::overlay {

struct OwnNode {  // what this node is at this sync
  kinds::core_v1::Node node;
  IpPrefix pod_cidr;
  std::optional<kernel::Uplink> uplink;  // none: the machine has no way out just now
};

class PeerDevice {
 public:
  virtual ~PeerDevice() = default;
  virtual Status prepare() { return {}; }  // what needs no cluster
  // The node's own address as the cluster knows it; none: not the overlay's matter.
  virtual Result<std::optional<Ip>> node_ip(const OwnNode&) { return std::optional<Ip>{}; }
  virtual Result<int> mtu(const OwnNode& own) = 0;                       // of pods
  virtual Result<kernel::Link> ensure(const OwnNode& own, int mtu) = 0;  // there, up, with its address
  struct Wanted {
    Plan plan;
    std::vector<Refusal> refused;
  };
  virtual Wanted plan(const OwnNode& own, const std::vector<schema::Object>& nodes, const kernel::Link& device) = 0;
  virtual Result<Plan> present(const kernel::Link& device) = 0;
  virtual Status apply(const Change& change, const Plan& present, const Plan& wanted) = 0;
  virtual std::map<std::string, std::string> annotations(const OwnNode& own, const kernel::Link& device) = 0;
  // What leaves through the device and may not keep its source: rules of the chain that masquerades.
  virtual std::vector<kernel::NftRule> masquerade_rules() const { return {}; }
  virtual Status move(std::string_view, const Path&) { return {}; }  // see Overlay::move_endpoint
  virtual Status remove() = 0;
};

std::unique_ptr<PeerDevice> vxlan_device(const OverlayOptions& options, OverlayWorld world);
std::unique_ptr<PeerDevice> wireguard_device(const OverlayOptions& options, OverlayWorld world);

// Parts that devices share.
Result<Plan> routes_and_entries(kernel::Links& links, int link);
Status put_only_address(kernel::Links& links, int link, const Ip& ip);
Status bring_up(kernel::Links& links, const kernel::Link& link, int mtu);

}  // namespace dure::overlay
