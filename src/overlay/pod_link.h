// PodLink: a pod's connection to its node: the bridge, the pair of devices, address and routes. No IPAM, no JSON.
//
// A pod sends everything to its gateway, also what is meant for its neighbours on the same bridge (the subnet's own
// route is left out): so every packet passes the node's rules whatever the kernel's bridge-netfilter settings are.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "kernel/links.h"
#include "kernel/sysctl.h"

namespace dure::overlay {

// The network namespace of a pod as the plugin needs it.
class PodNamespace {
 public:
  virtual ~PodNamespace() = default;
  virtual kernel::Links& links() = 0;
  virtual kernel::Sysctl& sysctl() = 0;
  virtual const kernel::NetNamespace* handle() = 0;
};

// NotFound: the path does not exist.
Result<std::unique_ptr<PodNamespace>> open_pod_namespace(const std::string& path);

struct BridgeConfig {
  std::string name = "cni0";
  IpPrefix address;  // the gateway's: 10.244.1.1/24
  int mtu = 0;
  bool hairpin = true;
};

struct PodLinkConfig {
  std::string interface = "eth0";  // inside
  std::string host_interface;      // outside
  IpPrefix address;                // 10.244.1.5/24
  Ip gateway;
};

struct PodLinkState {
  std::string bridge_mac, host_mac, pod_mac;
  int mtu = 0;
};

// The bridge with its address, up. Idempotent; repairs what differs.
Result<kernel::Link> ensure_bridge(kernel::Links& host, const BridgeConfig& bridge);
// Joins the pod to the bridge. Idempotent. After an error nothing of the pod's devices is left.
Result<PodLinkState> attach_pod(kernel::Links& host, PodNamespace& pod, const BridgeConfig& bridge,
                                const PodLinkConfig& config);
// What is missing of an attachment; success: nothing.
Status check_pod(kernel::Links& host, PodNamespace& pod, const BridgeConfig& bridge, const PodLinkConfig& config);

// "veth" and eight letters made from the container and the interface: the same again after a restart.
std::string host_interface_name(std::string_view container_id, std::string_view interface);
// 0a:58 and the four bytes of the address: the neighbours' tables stay right when an address is used again.
Mac mac_of_address(const Ip& ip);

}  // namespace dure::overlay
