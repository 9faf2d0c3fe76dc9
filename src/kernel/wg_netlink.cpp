// The kernel's own WireGuard over generic netlink.
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/wireguard.h>

#include <algorithm>
#include <mutex>

#include "kernel/links.h"
#include "kernel/namespaces.h"
#include "kernel/wg_encode.h"

namespace dure::kernel {

using netlink::Message;
using netlink::Writer;

namespace {

class KernelWg final : public Wg {
 public:
  KernelWg(Links& links, const NetNamespace* ns) : links_(links), namespace_(ns) {}

  WgKind kind() const override { return WgKind::kernel; }

  Status create(std::string_view name) override {
    auto there = links_.get(name);
    if (there && there->kind == "wireguard") return {};
    return links_.create_wireguard(name);
  }

  Status remove(std::string_view name) override { return links_.remove(name); }

  Status configure(std::string_view name, const WgKey& private_key, uint16_t port) override {
    return send("configure", name, [&](Writer& out) { wg_encode_configure(out, family_, name, private_key, port); });
  }

  Result<WgDevice> read(std::string_view name) override {
    std::lock_guard lock(mutex_);
    DURE_CHECK(find_family());
    Writer out;
    wg_encode_get(out, family_, name);
    WgDevice device;
    DURE_CHECK(socket_->dump("read wireguard device " + std::string(name), out,
                             [&](const Message& message) { wg_decode(message.after<genlmsghdr>(), device); }));
    std::ranges::sort(device.peers, {}, &WgPeerState::key);
    for (WgPeerState& peer : device.peers) std::ranges::sort(peer.allowed_ips);
    return device;
  }

  Status put_peer(std::string_view name, const WgPeer& peer) override {
    return change_peer("put a peer of", name, peer, WgPeerChange::put);
  }
  Status set_endpoint(std::string_view name, const WgKey& key, const os::Endpoint& endpoint) override {
    return change_peer("move a peer of", name, {.key = key, .endpoint = endpoint}, WgPeerChange::endpoint_only);
  }
  Status remove_peer(std::string_view name, const WgKey& key) override {
    Status done = change_peer("remove a peer of", name, {.key = key}, WgPeerChange::remove);
    if (!done && done.error().is("NotFound")) return {};
    return done;
  }

 private:
  Status change_peer(std::string_view what, std::string_view name, const WgPeer& peer, WgPeerChange change) {
    return send(what, name, [&](Writer& out) { wg_encode_peer(out, family_, name, peer, change); });
  }

  template <class Encode>
  Status send(std::string_view what, std::string_view name, Encode encode) {
    std::lock_guard lock(mutex_);
    DURE_CHECK(find_family());
    Writer out;
    encode(out);
    return socket_->request(std::string(what) + " wireguard device " + std::string(name), out);
  }

  // The family is there when the module is; the first device of the kind loads it.
  Status find_family() {
    if (family_) return {};
    if (!socket_) {
      DURE_TRY(socket_, netlink::Socket::open(NETLINK_GENERIC, namespace_));
    }
    Writer out;
    out.begin(GENL_ID_CTRL, NLM_F_REQUEST | NLM_F_ACK);
    genlmsghdr header{};
    header.cmd = CTRL_CMD_GETFAMILY;
    header.version = 1;
    out.header(header);
    out.put_text(CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
    out.end();
    DURE_CHECK(socket_->request("find WireGuard in the kernel", out, [&](const Message& message) {
      family_ = netlink::find(message.after<genlmsghdr>(), CTRL_ATTR_FAMILY_ID).u16();
    }));
    if (!family_) return fail(netlink::error_of("find WireGuard in the kernel", ENOENT));
    return {};
  }

  Links& links_;
  const NetNamespace* namespace_;
  std::mutex mutex_;
  std::unique_ptr<netlink::Socket> socket_;
  uint16_t family_ = 0;
};

}  // namespace

std::unique_ptr<Wg> kernel_wg(Links& links, const NetNamespace* ns) { return std::make_unique<KernelWg>(links, ns); }

}  // namespace dure::kernel
