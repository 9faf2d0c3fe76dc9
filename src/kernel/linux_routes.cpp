// The part of LinuxLinks that is not about devices: addresses, routes, neighbours, forwarding entries, events.
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "kernel/linux_links.h"

namespace dure::kernel {

using netlink::Attribute;
using netlink::Message;
using netlink::Writer;

namespace {

constexpr uint16_t ask = NLM_F_REQUEST | NLM_F_ACK;
constexpr uint16_t put = ask | NLM_F_CREATE | NLM_F_REPLACE;

uint8_t family_of(const Ip& ip) { return ip.v6 ? AF_INET6 : AF_INET; }

Ip ip_or_zero(std::string_view raw, uint8_t family) {
  if (!raw.empty()) return Ip::from_raw(raw);
  Ip zero;
  zero.v6 = family == AF_INET6;
  return zero;
}

Status gone_is_fine(Status status) {
  if (!status && status.error().is("NotFound")) return {};
  return status;
}

Writer address_message(uint16_t type, uint16_t flags, const LinkAddress& address) {
  Writer out;
  out.begin(type, flags);
  ifaddrmsg header{};
  header.ifa_family = family_of(address.address.ip);
  header.ifa_prefixlen = static_cast<uint8_t>(address.address.length);
  header.ifa_index = static_cast<uint32_t>(address.link);
  if (address.host_scope || address.address.ip.is_loopback()) header.ifa_scope = RT_SCOPE_HOST;
  out.header(header);
  out.put(IFA_LOCAL, address.address.ip.raw());
  out.put(IFA_ADDRESS, address.address.ip.raw());
  uint32_t wanted = address.no_prefix_route ? IFA_F_NOPREFIXROUTE : 0;
  if (address.address.ip.v6) wanted |= IFA_F_NODAD;  // our own addresses cannot clash
  if (wanted) out.put_u32(IFA_FLAGS, wanted);
  out.end();
  return out;
}

LinkAddress read_address(const Message& message) {
  auto header = message.header<ifaddrmsg>();
  LinkAddress out;
  out.link = static_cast<int>(header.ifa_index);
  out.address.length = header.ifa_prefixlen;
  uint32_t flags = header.ifa_flags;
  Ip address, local;
  bool has_local = false;
  for (const Attribute& a : netlink::attributes(message.after<ifaddrmsg>())) {
    if (a.type == IFA_LOCAL) local = Ip::from_raw(a.data), has_local = true;
    if (a.type == IFA_ADDRESS) address = Ip::from_raw(a.data);
    if (a.type == IFA_FLAGS) flags = a.u32();
  }
  out.address.ip = has_local ? local : address;
  out.no_prefix_route = flags & IFA_F_NOPREFIXROUTE;
  out.host_scope = header.ifa_scope == RT_SCOPE_HOST;
  return out;
}

Writer route_message(uint16_t type, uint16_t flags, const Route& route) {
  Writer out;
  out.begin(type, flags);
  rtmsg header{};
  header.rtm_family = family_of(route.destination.ip);
  header.rtm_dst_len = static_cast<uint8_t>(route.destination.length);
  header.rtm_table = route.table < 256 ? static_cast<uint8_t>(route.table) : RT_TABLE_UNSPEC;
  header.rtm_protocol = route.protocol;
  header.rtm_type = RTN_UNICAST;
  header.rtm_scope = (route.link_scope || !route.gateway) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  if (type == RTM_DELROUTE) header.rtm_scope = RT_SCOPE_NOWHERE;  // any
  if (route.onlink) header.rtm_flags = RTNH_F_ONLINK;
  out.header(header);
  if (route.destination.length) out.put(RTA_DST, route.destination.network().ip.raw());
  if (route.gateway) out.put(RTA_GATEWAY, route.gateway->raw());
  if (route.link) out.put_u32(RTA_OIF, static_cast<uint32_t>(route.link));
  if (route.source) out.put(RTA_PREFSRC, route.source->raw());
  if (route.metric) out.put_u32(RTA_PRIORITY, route.metric);
  out.put_u32(RTA_TABLE, route.table);
  if (route.mtu) {
    size_t metrics = out.nest(RTA_METRICS);
    out.put_u32(RTAX_MTU, static_cast<uint32_t>(route.mtu));
    out.close(metrics);
  }
  out.end();
  return out;
}

std::optional<Route> read_route(const Message& message) {
  auto header = message.header<rtmsg>();
  if (header.rtm_type != RTN_UNICAST) return std::nullopt;
  if (header.rtm_flags & RTM_F_CLONED) return std::nullopt;
  Route out;
  out.destination.length = header.rtm_dst_len;
  out.destination.ip = ip_or_zero({}, header.rtm_family);
  out.protocol = header.rtm_protocol;
  out.table = header.rtm_table;
  out.onlink = header.rtm_flags & RTNH_F_ONLINK;
  for (const Attribute& a : netlink::attributes(message.after<rtmsg>())) switch (a.type) {
      case RTA_DST:
        out.destination.ip = Ip::from_raw(a.data);
        break;
      case RTA_GATEWAY:
        out.gateway = Ip::from_raw(a.data);
        break;
      case RTA_OIF:
        out.link = static_cast<int>(a.u32());
        break;
      case RTA_PREFSRC:
        out.source = Ip::from_raw(a.data);
        break;
      case RTA_PRIORITY:
        out.metric = a.u32();
        break;
      case RTA_TABLE:
        out.table = a.u32();
        break;
      case RTA_METRICS:
        out.mtu = static_cast<int>(netlink::find(a.data, RTAX_MTU).u32());
        break;
      default:
        break;
    }
  out.link_scope = header.rtm_scope == RT_SCOPE_LINK;
  return out;
}

ndmsg neighbour_header(uint8_t family, int link) {
  ndmsg header{};
  header.ndm_family = family;
  header.ndm_ifindex = link;
  return header;
}

Writer neighbour_message(uint16_t type, uint16_t flags, const Neighbour& entry) {
  Writer out;
  out.begin(type, flags);
  ndmsg header = neighbour_header(family_of(entry.ip), entry.link);
  header.ndm_state = NUD_PERMANENT;
  out.header(header);
  out.put(NDA_DST, entry.ip.raw());
  out.put(NDA_LLADDR, entry.mac.raw());
  out.end();
  return out;
}

Writer fdb_message(uint16_t type, uint16_t flags, const FdbEntry& entry) {
  Writer out;
  out.begin(type, flags);
  ndmsg header = neighbour_header(AF_BRIDGE, entry.link);
  header.ndm_state = NUD_NOARP | NUD_PERMANENT;
  header.ndm_flags = NTF_SELF;
  out.header(header);
  out.put(NDA_LLADDR, entry.mac.raw());
  out.put(NDA_DST, entry.destination.raw());
  out.end();
  return out;
}

Mac mac_of(std::string_view raw) {
  Mac mac;
  if (raw.size() == 6) std::memcpy(mac.bytes.data(), raw.data(), 6);
  return mac;
}

}  // namespace

Result<std::vector<LinkAddress>> LinuxLinks::addresses(int link) {
  Writer out;
  out.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP);
  ifaddrmsg header{};
  header.ifa_index = static_cast<uint32_t>(link);
  out.header(header);
  out.end();
  std::vector<LinkAddress> found;
  DURE_CHECK(dump("list addresses", out, [&](const Message& m) {
    LinkAddress address = read_address(m);
    if (!link || address.link == link) found.push_back(address);
  }));
  return found;
}

Status LinuxLinks::put_address(const LinkAddress& address) {
  return request("add address " + address.address.text(), address_message(RTM_NEWADDR, put, address));
}

Status LinuxLinks::remove_address(const LinkAddress& address) {
  return gone_is_fine(request("remove address " + address.address.text(), address_message(RTM_DELADDR, ask, address)));
}

Result<std::vector<Route>> LinuxLinks::routes(uint32_t table) {
  std::vector<Route> found;
  for (uint8_t family : {AF_INET, AF_INET6}) {
    Writer out;
    out.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP);
    rtmsg header{};
    header.rtm_family = family;
    out.header(header);
    out.end();
    DURE_CHECK(dump("list routes", out, [&](const Message& m) {
      auto route = read_route(m);
      if (!route) return;
      const bool wanted = table == RT_TABLE_UNSPEC ? route->table != RT_TABLE_LOCAL : route->table == table;
      if (wanted) found.push_back(*route);
    }));
  }
  return found;
}

Status LinuxLinks::put_route(const Route& route) {
  return request("add route " + route.destination.text(), route_message(RTM_NEWROUTE, put, route));
}

Status LinuxLinks::remove_route(const Route& route) {
  return gone_is_fine(request("remove route " + route.destination.text(), route_message(RTM_DELROUTE, ask, route)));
}

Result<std::vector<Neighbour>> LinuxLinks::neighbours(int link) {
  Writer out;
  out.begin(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP);
  out.header(neighbour_header(AF_UNSPEC, 0));
  out.end();
  std::vector<Neighbour> found;
  DURE_CHECK(dump("list neighbours", out, [&](const Message& m) {
    auto header = m.header<ndmsg>();
    if (header.ndm_ifindex != link || header.ndm_state != NUD_PERMANENT) return;
    if (header.ndm_family != AF_INET && header.ndm_family != AF_INET6) return;
    std::string_view body = m.after<ndmsg>();
    found.push_back(
        {link, Ip::from_raw(netlink::find(body, NDA_DST).data), mac_of(netlink::find(body, NDA_LLADDR).data)});
  }));
  return found;
}

Status LinuxLinks::put_neighbour(const Neighbour& entry) {
  return request("add neighbour " + entry.ip.text(), neighbour_message(RTM_NEWNEIGH, put, entry));
}

Status LinuxLinks::remove_neighbour(const Neighbour& entry) {
  return gone_is_fine(request("remove neighbour " + entry.ip.text(), neighbour_message(RTM_DELNEIGH, ask, entry)));
}

Result<std::vector<FdbEntry>> LinuxLinks::fdb(int link) {
  Writer out;
  out.begin(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP);
  out.header(neighbour_header(AF_BRIDGE, 0));
  out.end();
  std::vector<FdbEntry> found;
  DURE_CHECK(dump("list forwarding entries", out, [&](const Message& m) {
    if (m.header<ndmsg>().ndm_ifindex != link) return;
    std::string_view body = m.after<ndmsg>();
    Attribute destination = netlink::find(body, NDA_DST);
    if (destination.data.empty()) return;
    found.push_back({link, mac_of(netlink::find(body, NDA_LLADDR).data), Ip::from_raw(destination.data)});
  }));
  return found;
}

Status LinuxLinks::put_fdb(const FdbEntry& entry) {
  return request("add forwarding entry " + entry.mac.text(), fdb_message(RTM_NEWNEIGH, put, entry));
}

Status LinuxLinks::remove_fdb(const FdbEntry& entry) {
  return gone_is_fine(request("remove forwarding entry " + entry.mac.text(), fdb_message(RTM_DELNEIGH, ask, entry)));
}

namespace {

class LinuxLinkWatch final : public LinkWatch {
 public:
  LinuxLinkWatch(std::unique_ptr<netlink::Socket> socket, int stop_fd, std::function<void(LinkEvent)> handler)
      : socket_(std::move(socket)), stop_fd_(stop_fd), handler_(std::move(handler)), thread_([this] { run(); }) {}

  ~LinuxLinkWatch() override {
    uint64_t one = 1;
    [[maybe_unused]] ssize_t written = write(stop_fd_, &one, sizeof one);
    thread_.join();
    close(stop_fd_);
  }

 private:
  void run() {
    while (true) {
      pollfd waits[2] = {{socket_->fd(), POLLIN, 0}, {stop_fd_, POLLIN, 0}};
      if (poll(waits, 2, -1) < 0) continue;  // interrupted
      if (waits[1].revents) return;
      bool lost = false;
      auto got = socket_->receive([this](const Message& message) { hand_on(message); }, lost);
      if (!got) {  // nobody would notice a watch that is deaf: who listens looks for itself, at a pace
        log(LogLevel::warn, "kernel", "cannot read what changes on the network", {{"error", got.error().message}});
        if (poll(&waits[1], 1, 1000) > 0) return;
        lost = true;
      }
      if (lost) handler_({LinkEvent::Kind::lost, 0});
    }
  }

  void hand_on(const Message& message) {
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        return handler_({LinkEvent::Kind::link, message.header<ifinfomsg>().ifi_index});
      case RTM_NEWADDR:
      case RTM_DELADDR:
        return handler_({LinkEvent::Kind::address, static_cast<int>(message.header<ifaddrmsg>().ifa_index)});
      case RTM_NEWROUTE:
      case RTM_DELROUTE:
        return handler_(
            {LinkEvent::Kind::route, static_cast<int>(netlink::find(message.after<rtmsg>(), RTA_OIF).u32())});
      default:
        return;
    }
  }

  std::unique_ptr<netlink::Socket> socket_;
  int stop_fd_;
  std::function<void(LinkEvent)> handler_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<LinkWatch>> LinuxLinks::watch(std::function<void(LinkEvent)> handler) {
  DURE_TRY(auto socket,
           netlink::Socket::open(NETLINK_ROUTE, &namespace_,
                                 {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE}));
  int stop_fd = eventfd(0, EFD_CLOEXEC);
  if (stop_fd < 0) return fail(netlink::error_of("watch links", errno));
  return std::make_unique<LinuxLinkWatch>(std::move(socket), stop_fd, std::move(handler));
}

}  // namespace dure::kernel
