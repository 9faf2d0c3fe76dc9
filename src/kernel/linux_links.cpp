#include "kernel/linux_links.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>

namespace dure::kernel {

using netlink::Attribute;
using netlink::Message;
using netlink::Writer;

namespace {

constexpr uint16_t ask = NLM_F_REQUEST | NLM_F_ACK;
constexpr uint16_t make_new = ask | NLM_F_CREATE | NLM_F_EXCL;
constexpr size_t link_name_bytes_max = 15;

Mac mac_of(std::string_view raw) {
  Mac mac;
  if (raw.size() == 6) std::memcpy(mac.bytes.data(), raw.data(), 6);
  return mac;
}

void read_vxlan(std::string_view data, Link& link) {
  for (const Attribute& a : netlink::attributes(data)) switch (a.type) {
      case IFLA_VXLAN_ID:
        link.vni = a.u32();
        break;
      case IFLA_VXLAN_PORT:
        link.port = a.be16();
        break;
      case IFLA_VXLAN_LOCAL:
      case IFLA_VXLAN_LOCAL6:
        link.local = Ip::from_raw(a.data);
        break;
      case IFLA_VXLAN_LINK:
        link.underlay = static_cast<int>(a.u32());
        break;
      case IFLA_VXLAN_LEARNING:
        link.learning = a.u8() != 0;
        break;
      default:
        break;
    }
}

Link read_link(const Message& message) {
  auto info = message.header<ifinfomsg>();
  Link link;
  link.index = info.ifi_index;
  link.up = info.ifi_flags & IFF_UP;
  link.running = (info.ifi_flags & IFF_UP) && (info.ifi_flags & IFF_RUNNING);
  link.loopback = info.ifi_flags & IFF_LOOPBACK;
  for (const Attribute& a : netlink::attributes(message.after<ifinfomsg>())) switch (a.type) {
      case IFLA_IFNAME:
        link.name = a.text();
        break;
      case IFLA_MTU:
        link.mtu = static_cast<int>(a.u32());
        break;
      case IFLA_ADDRESS:
        link.mac = mac_of(a.data);
        break;
      case IFLA_MASTER:
        link.master = static_cast<int>(a.u32());
        break;
      case IFLA_LINK:
        link.peer_index = static_cast<int>(a.u32());
        break;
      case IFLA_LINKINFO:
        link.kind = netlink::find(a.data, IFLA_INFO_KIND).text();
        if (link.kind == "vxlan") read_vxlan(netlink::find(a.data, IFLA_INFO_DATA).data, link);
        break;
      default:
        break;
    }
  if (link.kind != "veth") link.peer_index = 0;
  return link;
}

ifinfomsg link_header(int index = 0) {
  ifinfomsg info{};
  info.ifi_family = AF_UNSPEC;
  info.ifi_index = index;
  return info;
}

Status check_name(std::string_view name) {
  bool bad = name.empty() || name.size() > link_name_bytes_max || name == "." || name == ".." ||
             name.find_first_of("/: \t\n") != name.npos;
  if (bad) return fail(bad_request("\"" + std::string(name) + "\" is not a name for a network device"));
  return {};
}

void put_common(Writer& out, std::string_view name, const std::optional<Mac>& mac, int mtu) {
  out.put_text(IFLA_IFNAME, name);
  if (mac) out.put(IFLA_ADDRESS, mac->raw());
  if (mtu) out.put_u32(IFLA_MTU, static_cast<uint32_t>(mtu));
}

std::string quoted(std::string_view verb, std::string_view name) { return std::string(verb) + " " + std::string(name); }

}  // namespace

Result<std::unique_ptr<Links>> open_links(const NetNamespace* ns) {
  DURE_TRY(NetNamespace own,
           ns ? NetNamespace::open("/proc/self/fd/" + std::to_string(ns->fd())) : NetNamespace::current());
  DURE_TRY(auto socket, netlink::Socket::open(NETLINK_ROUTE, ns));
  return std::make_unique<LinuxLinks>(std::move(socket), std::move(own));
}

Status LinuxLinks::request(std::string_view what, const Writer& writer,
                           const std::function<void(const Message&)>& reader) {
  std::lock_guard lock(mutex_);
  return socket_->request(what, writer, reader);
}

Status LinuxLinks::dump(std::string_view what, const Writer& writer,
                        const std::function<void(const Message&)>& reader) {
  std::lock_guard lock(mutex_);
  return socket_->dump(what, writer, reader);
}

Result<std::vector<Link>> LinuxLinks::list() {
  Writer out;
  out.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP);
  out.header(link_header());
  out.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  out.end();
  std::vector<Link> links;
  DURE_CHECK(dump("list links", out, [&](const Message& m) { links.push_back(read_link(m)); }));
  return links;
}

Result<Link> LinuxLinks::get(std::string_view name) {
  DURE_CHECK(check_name(name));
  Writer out;
  out.begin(RTM_GETLINK, ask);
  out.header(link_header());
  out.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  out.put_text(IFLA_IFNAME, name);
  out.end();
  std::optional<Link> link;
  DURE_CHECK(request(quoted("look up link", name), out, [&](const Message& m) { link = read_link(m); }));
  if (!link) return fail(not_found("links", name));
  return *link;
}

Status LinuxLinks::create_bridge(const BridgeOptions& options) {
  DURE_CHECK(check_name(options.name));
  Writer out;
  out.begin(RTM_NEWLINK, make_new);
  out.header(link_header());
  put_common(out, options.name, options.mac, options.mtu);
  size_t info = out.nest(IFLA_LINKINFO);
  out.put_text(IFLA_INFO_KIND, "bridge");
  out.close(info);
  out.end();
  return request(quoted("create bridge", options.name), out);
}

Status LinuxLinks::create_veth(const VethOptions& options) {
  DURE_CHECK(check_name(options.name));
  DURE_CHECK(check_name(options.peer_name));
  Writer out;
  out.begin(RTM_NEWLINK, make_new);
  out.header(link_header());
  put_common(out, options.name, options.mac, options.mtu);
  size_t info = out.nest(IFLA_LINKINFO);
  out.put_text(IFLA_INFO_KIND, "veth");
  size_t data = out.nest(IFLA_INFO_DATA);
  size_t peer = out.nest(VETH_INFO_PEER);
  out.header(link_header());
  put_common(out, options.peer_name, options.peer_mac, options.mtu);
  if (options.peer_namespace) out.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(options.peer_namespace->fd()));
  out.close(peer);
  out.close(data);
  out.close(info);
  out.end();
  return request(quoted("create veth", options.name), out);
}

Status LinuxLinks::create_vxlan(const VxlanOptions& options) {
  DURE_CHECK(check_name(options.name));
  Writer out;
  out.begin(RTM_NEWLINK, make_new);
  out.header(link_header());
  put_common(out, options.name, options.mac, options.mtu);
  size_t info = out.nest(IFLA_LINKINFO);
  out.put_text(IFLA_INFO_KIND, "vxlan");
  size_t data = out.nest(IFLA_INFO_DATA);
  out.put_u32(IFLA_VXLAN_ID, options.vni);
  out.put_be16(IFLA_VXLAN_PORT, options.port);
  out.put_u8(IFLA_VXLAN_LEARNING, options.learning);
  if (options.local) out.put(options.local->v6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, options.local->raw());
  if (options.underlay) out.put_u32(IFLA_VXLAN_LINK, static_cast<uint32_t>(options.underlay));
  out.close(data);
  out.close(info);
  out.end();
  return request(quoted("create vxlan", options.name), out);
}

Status LinuxLinks::create_wireguard(std::string_view name) {
  DURE_CHECK(check_name(name));
  Writer out;
  out.begin(RTM_NEWLINK, make_new);
  out.header(link_header());
  out.put_text(IFLA_IFNAME, name);
  size_t info = out.nest(IFLA_LINKINFO);
  out.put_text(IFLA_INFO_KIND, "wireguard");
  out.close(info);
  out.end();
  return request(quoted("create wireguard", name), out);
}

Status LinuxLinks::remove(std::string_view name) {
  DURE_CHECK(check_name(name));
  Writer out;
  out.begin(RTM_DELLINK, ask);
  out.header(link_header());
  out.put_text(IFLA_IFNAME, name);
  out.end();
  Status done = request(quoted("remove link", name), out);
  if (!done && done.error().is("NotFound")) return {};
  return done;
}

namespace {

Writer hairpin_message(int index, bool hairpin) {
  Writer out;
  out.begin(RTM_NEWLINK, ask);
  out.header(link_header(index));
  size_t info = out.nest(IFLA_LINKINFO);
  out.put_text(IFLA_INFO_SLAVE_KIND, "bridge");
  size_t data = out.nest(IFLA_INFO_SLAVE_DATA);
  out.put_u8(IFLA_BRPORT_MODE, hairpin);
  out.close(data);
  out.close(info);
  out.end();
  return out;
}

Writer change_message(int index, const LinkChange& change) {
  Writer out;
  out.begin(RTM_NEWLINK, ask);
  ifinfomsg info = link_header(index);
  if (change.up) {
    info.ifi_flags = *change.up ? IFF_UP : 0;
    info.ifi_change = IFF_UP;
  }
  out.header(info);
  if (change.mtu) out.put_u32(IFLA_MTU, static_cast<uint32_t>(*change.mtu));
  if (change.mac) out.put(IFLA_ADDRESS, change.mac->raw());
  if (change.master) out.put_u32(IFLA_MASTER, static_cast<uint32_t>(*change.master));
  if (change.name) out.put_text(IFLA_IFNAME, *change.name);
  if (change.move_to) out.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(change.move_to->fd()));
  out.end();
  return out;
}

}  // namespace

Status LinuxLinks::change(int index, const LinkChange& change) {
  if (change.name) DURE_CHECK(check_name(*change.name));
  std::string what = "change link " + std::to_string(index);
  DURE_CHECK(request(what, change_message(index, change)));
  if (change.hairpin) DURE_CHECK(request(what, hairpin_message(index, *change.hairpin)));
  return {};
}

}  // namespace dure::kernel
