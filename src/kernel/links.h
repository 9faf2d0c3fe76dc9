// Links: the network devices, addresses, routes, neighbours and forwarding entries of one network namespace.
//
// Implementation: `open_links` (rtnetlink); there is none in memory yet. Suite:
// links_test.cpp. Thread: any; calls take turns. Failure: errors carry "NotFound", "AlreadyExists", "Forbidden",
// "Unsupported" or "SystemError". Calls that put something into place (`put_...`) and calls that remove (`remove_...`)
// are idempotent: what is there already, or already gone, is success.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace dure::kernel {

class NetNamespace;

struct Link {
  int index = 0;
  std::string name, kind;  // kind: "bridge", "veth", "vxlan", "tun", ...; empty for plain devices
  bool up = false;         // as asked (IFF_UP)
  bool running = false;    // up and has a carrier
  bool loopback = false;
  int mtu = 0;
  Mac mac;
  int master = 0;      // index of the bridge it belongs to
  int peer_index = 0;  // veth: index of the other end, in the namespace where that is
  // vxlan only:
  uint32_t vni = 0;
  uint16_t port = 0;
  std::optional<Ip> local;
  int underlay = 0;  // index of the device it sends through
  bool learning = false;
};

struct BridgeOptions {
  std::string name;
  std::optional<Mac> mac;  // set it: a bridge without one changes its address with its ports
  int mtu = 0;             // 0: the kernel's choice
};

struct VethOptions {
  std::string name;
  std::string peer_name;
  const NetNamespace* peer_namespace = nullptr;  // null: the same
  std::optional<Mac> mac, peer_mac;
  int mtu = 0;
};

struct VxlanOptions {
  std::string name;
  uint32_t vni = 1;
  uint16_t port = 8472;
  std::optional<Ip> local;
  int underlay = 0;
  bool learning = false;
  std::optional<Mac> mac;
  int mtu = 0;
};

struct LinkChange {  // what is not set stays
  std::optional<bool> up;
  std::optional<int> mtu;
  std::optional<Mac> mac;
  std::optional<int> master;  // 0: out of its bridge
  std::optional<std::string> name;
  std::optional<bool> hairpin;  // of a bridge's port
  const NetNamespace* move_to = nullptr;
};

struct LinkAddress {
  int link = 0;
  IpPrefix address;              // the bits behind the length are the host's
  bool no_prefix_route = false;  // do not make the subnet's route
  bool host_scope = false;       // never chosen as the source of what leaves this machine
  friend auto operator<=>(const LinkAddress&, const LinkAddress&) = default;
};

inline constexpr uint8_t route_protocol_kernel = 2;  // as in the kernel's rtnetlink: made by the kernel itself
inline constexpr uint8_t route_protocol_dure = 208;  // made by us: how a restart finds its own
inline constexpr uint32_t route_table_main = 254;

struct Route {
  IpPrefix destination;       // length 0: the default route
  std::optional<Ip> gateway;  // none: directly on the link
  int link = 0;
  std::optional<Ip> source;  // preferred source address
  bool onlink = false;       // the gateway needs no route of its own
  bool link_scope = false;   // scope link (a gateway's own /32)
  uint32_t metric = 0;
  int mtu = 0;
  uint8_t protocol = route_protocol_dure;
  uint32_t table = route_table_main;
  friend auto operator<=>(const Route&, const Route&) = default;
};

struct Neighbour {  // permanent ARP (NDP) entry
  int link = 0;
  Ip ip;
  Mac mac;
  friend auto operator<=>(const Neighbour&, const Neighbour&) = default;
};

struct FdbEntry {  // vxlan: where the device with that MAC lives
  int link = 0;
  Mac mac;
  Ip destination;
  friend auto operator<=>(const FdbEntry&, const FdbEntry&) = default;
};

struct LinkEvent {
  enum class Kind { link, address, route, lost };  // lost: some were dropped, read everything again
  Kind kind = Kind::link;
  int link = 0;
};

class LinkWatch {  // ends when destroyed; the handler is not called afterwards
 public:
  virtual ~LinkWatch() = default;
};

class Links {
 public:
  virtual ~Links() = default;

  virtual Result<std::vector<Link>> list() = 0;
  virtual Result<Link> get(std::string_view name) = 0;     // NotFound
  virtual Status create_bridge(const BridgeOptions&) = 0;  // create_...: AlreadyExists
  virtual Status create_veth(const VethOptions&) = 0;
  virtual Status create_vxlan(const VxlanOptions&) = 0;
  virtual Status create_wireguard(std::string_view name) = 0;  // "Unsupported": this kernel has no WireGuard
  virtual Status remove(std::string_view name) = 0;
  virtual Status change(int index, const LinkChange&) = 0;

  virtual Result<std::vector<LinkAddress>> addresses(int link = 0) = 0;  // 0: of all links
  virtual Status put_address(const LinkAddress&) = 0;
  virtual Status remove_address(const LinkAddress&) = 0;

  virtual Result<std::vector<Route>> routes(uint32_t table = route_table_main) = 0;  // unicast ones
  virtual Status put_route(const Route&) = 0;  // replaces one of the same destination, metric and table
  virtual Status remove_route(const Route&) = 0;

  virtual Result<std::vector<Neighbour>> neighbours(int link) = 0;  // permanent ones
  virtual Status put_neighbour(const Neighbour&) = 0;
  virtual Status remove_neighbour(const Neighbour&) = 0;

  virtual Result<std::vector<FdbEntry>> fdb(int link) = 0;  // entries with a destination
  virtual Status put_fdb(const FdbEntry&) = 0;
  virtual Status remove_fdb(const FdbEntry&) = 0;

  // The handler runs on a thread of the watch; it must not destroy the watch.
  virtual Result<std::unique_ptr<LinkWatch>> watch(std::function<void(LinkEvent)> handler) = 0;
};

// The links of `ns`, or of the calling thread's namespace.
Result<std::unique_ptr<Links>> open_links(const NetNamespace* ns = nullptr);

// The address this machine would send from towards `destination`, and the link it would leave by; by the routes of the
// main table, longest prefix and lowest metric first.
struct Uplink {
  Link link;
  Ip address;
};
Result<Uplink> find_uplink(Links& links, const Ip& destination);

}  // namespace dure::kernel
