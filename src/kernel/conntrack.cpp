#include "kernel/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <mutex>

#include "kernel/namespaces.h"
#include "kernel/netlink.h"

namespace dure::kernel {

using netlink::Message;
using netlink::Writer;

namespace {

uint16_t ct_type(uint16_t message) { return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | message); }

struct Tuple {
  uint8_t protocol = 0;
  Ip source, destination;
  uint16_t source_port = 0, destination_port = 0;
};

Tuple read_tuple(std::string_view body) {
  Tuple out;
  std::string_view ip = netlink::find(body, CTA_TUPLE_IP).data;
  out.source = Ip::from_raw(netlink::find(ip, CTA_IP_V4_SRC).data);
  out.destination = Ip::from_raw(netlink::find(ip, CTA_IP_V4_DST).data);
  std::string_view proto = netlink::find(body, CTA_TUPLE_PROTO).data;
  out.protocol = netlink::find(proto, CTA_PROTO_NUM).u8();
  out.source_port = netlink::find(proto, CTA_PROTO_SRC_PORT).be16();
  out.destination_port = netlink::find(proto, CTA_PROTO_DST_PORT).be16();
  return out;
}

class LinuxConntrack final : public Conntrack {
 public:
  explicit LinuxConntrack(std::unique_ptr<netlink::Socket> socket) : socket_(std::move(socket)) {}

  Result<std::vector<Flow>> list(uint8_t protocol) override {
    DURE_TRY(std::vector<Entry> entries, read(protocol));
    std::vector<Flow> out;
    for (Entry& entry : entries) out.push_back(entry.flow);
    return out;
  }

  Result<size_t> remove(uint8_t protocol, const std::function<bool(const Flow&)>& doomed) override {
    DURE_TRY(std::vector<Entry> entries, read(protocol));
    size_t removed = 0;
    for (const Entry& entry : entries) {
      if (!doomed(entry.flow)) continue;
      Status done = remove_entry(entry);
      if (!done && !done.error().is("NotFound")) return fail(done.error());
      ++removed;
    }
    return removed;
  }

 private:
  struct Entry {
    Flow flow;
    std::string original;  // the tuple and the id as the kernel gave them
    std::string id;
  };

  Result<std::vector<Entry>> read(uint8_t protocol) {
    Writer out;
    out.begin(ct_type(IPCTNL_MSG_CT_GET), NLM_F_REQUEST | NLM_F_DUMP);
    out.header(nfgenmsg{AF_INET, NFNETLINK_V0, 0});
    out.end();
    std::vector<Entry> found;
    std::lock_guard lock(mutex_);
    DURE_CHECK(socket_->dump("list conntrack", out, [&](const Message& m) {
      std::string_view body = m.after<nfgenmsg>();
      std::string_view original = netlink::find(body, CTA_TUPLE_ORIG).data;
      Tuple there = read_tuple(original);
      if (there.protocol != protocol) return;
      Tuple back = read_tuple(netlink::find(body, CTA_TUPLE_REPLY).data);
      Flow flow{protocol,    there.source,     there.destination, there.source_port,    there.destination_port,
                back.source, back.destination, back.source_port,  back.destination_port};
      found.push_back({flow, std::string(original), std::string(netlink::find(body, CTA_ID).data)});
    }));
    return found;
  }

  Status remove_entry(const Entry& entry) {
    Writer out;
    out.begin(ct_type(IPCTNL_MSG_CT_DELETE), NLM_F_REQUEST | NLM_F_ACK);
    out.header(nfgenmsg{AF_INET, NFNETLINK_V0, 0});
    out.put(CTA_TUPLE_ORIG | NLA_F_NESTED, entry.original);
    if (!entry.id.empty()) out.put(CTA_ID, entry.id);
    out.end();
    std::lock_guard lock(mutex_);
    return socket_->request("remove a conntrack entry", out);
  }

  std::mutex mutex_;
  std::unique_ptr<netlink::Socket> socket_;
};

}  // namespace

Result<std::unique_ptr<Conntrack>> open_conntrack(const NetNamespace* ns) {
  DURE_TRY(auto socket, netlink::Socket::open(NETLINK_NETFILTER, ns));
  return std::make_unique<LinuxConntrack>(std::move(socket));
}

}  // namespace dure::kernel
