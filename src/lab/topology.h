// Topology: what the world of a lab looks like: sites (each a router with a subnet behind it and a cable to the
// internet) and the nodes that stand in them. A value, read from a text that a person writes; the format is explained
// in examples/topologies/.
//
// Pure: no I/O. Errors of the reader name line and field, all of them at once (at most 20).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/time.h"

namespace dure::lab {

// How a site's router treats what leaves and enters it. Mapping: the outer port of an inner one.
enum class Nat : uint8_t {
  none,       // a router without translation: the subnet is public
  home,       // one port to all destinations, answers only: most home routers
  full_cone,  // as home, but anybody may send to a mapped port
  symmetric,  // another port for every destination: UDP hole punching fails
  company,    // symmetric, and nothing but TCP 443 leaves
  twice,      // a home router behind another home router ("double")
  cgnat,      // a home router or telephone behind a carrier's symmetric one
};
std::string_view name_of(Nat nat);

// The line between a site and the internet. All zero: a plain one.
struct Cable {
  Duration delay = Duration::zero(), jitter = Duration::zero();  // each way
  double loss = 0;                                               // of 1, each way
  uint64_t rate_bits = 0;                                        // a second, each way; 0: no limit
  int mtu = 1500;
  bool plain() const { return delay.count() == 0 && jitter.count() == 0 && loss == 0 && rate_bits == 0; }
  std::string text() const;  // "delay=30ms loss=1%", "plain"
  friend bool operator==(const Cable&, const Cable&) = default;
};
// One part of a cable from its text: delay 30ms, jitter 5ms, loss 1%, rate 20mbit (or none), mtu 1400.
Status set_cable_part(Cable& cable, std::string_view name, std::string_view value);

struct Forward {  // a port of the router's public address that leads to a node
  std::string protocol = "tcp";
  uint16_t port = 0;
  std::string node;
  uint16_t node_port = 0;
};

struct SiteSpec {
  std::string name;
  IpPrefix subnet;
  Nat nat = Nat::home;
  bool hairpin = false;  // may a node reach another one by the site's own public address
  std::vector<Forward> forwards;
  Cable cable;
  Ip gateway() const;
};

enum class NodeKind : uint8_t {
  ns,       // namespaces on the machine's own files; the lab keeps its services
  systemd,  // the same with a Debian of its own and systemd as pid 1: to try what installs services
  vm,       // a whole machine under QEMU: its own kernel (WireGuard, cgroup v2) and clock
};
std::string_view name_of(NodeKind kind);

struct NodeSpec {
  std::string name;     // also the host name
  std::string site;     // where it stands at first
  std::string address;  // there; filled in by the reader when not given
  NodeKind kind = NodeKind::ns;
  bool server = false;  // runs the control plane (and an agent)
  bool bare = false;    // only a machine with containerd: to try `dure join` by hand
  // What the agent reports: /proc shows the whole machine. A vm really has it; its defaults are 1 and 1Gi.
  std::string cpu = "2", memory = "2Gi";
  std::string disk = "8Gi";  // of a vm, taken as it is written to
  std::string node_class;    // label dure.dev/class: always-on, remote or laptop; may be empty
};

struct Topology {
  std::string name;
  std::string pod_cidr = "10.244.0.0/16", service_cidr = "10.96.0.0/12";
  std::vector<SiteSpec> sites;
  std::vector<NodeSpec> nodes;

  const SiteSpec* site(std::string_view name) const;
  const NodeSpec* node(std::string_view name) const;
  const NodeSpec* server() const;  // null when every node is bare
};

constexpr size_t topology_sites_max = 16, topology_nodes_max = 64, topology_bytes_max = 64 << 10;
constexpr size_t topology_vms_max = 4;  // each takes a core while it boots
constexpr uint16_t api_port = 6443;

// "BadTopology" with one line per finding.
Result<Topology> read_topology(std::string_view text);

// Of an amount such as 768Mi, 2Gi, 2G or 2147483648; none when it is not one.
std::optional<int64_t> mebibytes(std::string_view amount);

// One site "lan" behind a home router: node1 is the server, all are workers; the last `bare` ones have not joined.
Topology one_lan(int nodes, int bare = 0);

// The lowest address of the subnet from .10 on that is not in `taken`; none when it is full.
std::optional<Ip> free_address(const IpPrefix& subnet, const std::vector<std::string>& taken);

// "host:port" that a node standing in `site` reaches the server by: inside the server's own site its address, elsewhere
// the port of that site that leads to it. `host` stands for the public address of the server's site. Empty: no way.
std::string server_endpoint(const Topology& topology, const NodeSpec& server, std::string_view site,
                            std::string_view host);

// The names of the topologies that come with dure, and the text of one ("" when there is none of that name).
std::vector<std::string> shipped_topologies();
std::string_view shipped_topology(std::string_view name);

}  // namespace dure::lab
