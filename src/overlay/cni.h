// The CNI plugin: this node's answers to ADD, DEL, CHECK, GC, STATUS and VERSION (CNI specification 0.3.1 to 1.1.0).
//
// The binary is called as `dure-cni` by the container runtime for every pod, and as `loopback` where the runtime asks
// for the plugin of that name. It is a short process that keeps nothing in memory: addresses are files
// (overlay/ipam.h), devices have names that follow from the container, host ports are elements of our nftables table.
#pragma once

#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <ostream>
#include <string>

#include "base/ip.h"
#include "kernel/links.h"
#include "kernel/nft.h"
#include "os/disk.h"
#include "overlay/pod_link.h"

namespace dure::overlay {

// What the plugin touches; all outlive the call.
struct CniWorld {
  kernel::Links& links;  // of the node
  kernel::Nft& nft;
  os::Disk& disk;
  std::function<Result<std::unique_ptr<PodNamespace>>(const std::string& path)> open_namespace = open_pod_namespace;
};

// One call: variables and standard input in, standard output and exit code out. Does not throw.
int cni_main(CniWorld& world, const std::map<std::string, std::string>& env, std::istream& in, std::ostream& out);
// The same on this machine.
int cni_main(const std::map<std::string, std::string>& env, std::istream& in, std::ostream& out);

struct CniConfig {
  IpPrefix subnet;  // the node's pod CIDR
  int mtu = 1450;
  std::string bridge = "cni0";
  std::string state_folder = "/run/dure/cni";
  std::string pods_folder = "/var/lib/kubelet/pods";  // each pod's folder keeps its address over a reboot
};
// The text of /etc/cni/net.d/10-dure.conflist.
std::string cni_conflist(const CniConfig& config);

}  // namespace dure::overlay
