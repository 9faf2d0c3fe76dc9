// Network: the lab's internet, routers, LANs and cables, made with kernel::Links and nft(8), and changed while the lab
// runs.
//
// The internet is the network namespace of the lab's pid 1: it forwards between the sites' public addresses and answers
// at two more of its own (192.0.2.1 and .2), for probes. Each router is a process that holds a network namespace. A
// node has one device, eth0, whose other end is a port of a router's bridge "lan".
//
// Thread: that of the supervisor. Every change runs in a child process, because network namespaces are entered with
// threads and a process whose children go to another pid namespace cannot start one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/gateway_rules.h"
#include "lab/topology.h"

namespace dure::lab {

// Where a node's network device is plugged in: a port of a router's bridge, and what the device is to be.
struct Plug {
  int router_pid = 0;
  std::string device;  // the port's name, on the router's side
  Mac mac;             // of the node's side
  IpPrefix address;
  Ip gateway;
};

class Network {
 public:
  // `folder`: rules are written there, so that a person can read them.
  Network(const Topology& topology, std::string id, std::string folder);

  // Internet, routers, LANs and uplinks; `init_pid` is the lab's pid 1.
  Status build(int init_pid);
  // eth0 in the node's namespace, where the node stands now; also after it was switched off and on. A vm brings its
  // port itself (`plug`) and sets its own addresses: here the port joins the LAN.
  Status plug_in(const std::string& node, int node_pid);
  Plug plug(const std::string& node) const;

  // Puts the node's cable into another site: the node sees its carrier go and come, same device, same MAC; it gets an
  // address and a default route there (a vm is told by `plug`). Answers the address.
  Result<std::string> roam(const std::string& node, int node_pid, const std::string& site);
  Status set_plugged(const std::string& node, bool plugged);
  Status set_cable(const std::string& site, const Cable& cable);
  // Another public address; the router forgets its connections. Answers the address.
  Result<std::string> renumber(const std::string& site);
  // The routers forget their connections and mappings.
  Status reboot(const std::string& site);

  // Cuts: a site's uplink, between two sites, between a node and another site, between two nodes of a LAN. `names` are
  // the two things cut, the second empty for an uplink.
  struct CutNames {
    std::string a, b;
    friend bool operator==(const CutNames&, const CutNames&) = default;
  };
  Status set_cuts(const std::vector<CutNames>& cuts);

  struct SiteState {
    const SiteSpec* spec = nullptr;
    std::vector<Gateway> gateways;  // from the inside out
    std::vector<int> pids;          // of their routers
    Ip public_address;
    int generation = 0;
    Cable cable;
    int cable_pid = 0, cable_control = -1;  // 0: a veth
  };
  struct PortState {
    std::string site, address, device;  // where the node stands; its port's name
    bool plugged = true;
  };
  const SiteState& site(const std::string& name) const { return sites_.at(name); }
  const PortState& port(const std::string& node) const { return ports_.at(node); }
  const std::vector<CutNames>& cuts() const { return cuts_; }
  // Name of the router and its pid, for `exec`.
  std::vector<std::pair<std::string, int>> routers() const;
  std::vector<int> processes() const;  // of routers and cables: the supervisor reaps them at the end

 private:
  Status build_internet();
  bool is_vm(const std::string& node) const { return topology_.node(node)->kind == NodeKind::vm; }
  Status build_site(SiteState& site);
  Status start_routers(SiteState& site);
  Status make_lan(const SiteState& site, size_t router);
  Status connect_uplink(SiteState& site);
  Status start_cable(SiteState& site);
  Status address_uplink(const SiteState& site);
  Status write_rules(const SiteState& site);
  Status apply(int pid, const std::string& name, const std::string& rules);
  Status forget_connections(const SiteState& site);
  std::string uplink_device(const SiteState& site) const;
  size_t index_of(const SiteState& site) const;

  const Topology& topology_;
  std::string id_, folder_;
  int init_pid_ = 0;
  std::map<std::string, SiteState> sites_;
  std::map<std::string, PortState> ports_;
  std::vector<CutNames> cuts_;
};

// The public address of site number `index` after it was renumbered `generation` times.
Ip public_address(size_t index, int generation);

}  // namespace dure::lab
