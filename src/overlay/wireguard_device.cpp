#include <algorithm>
#include <mutex>

#include "overlay/peer_device.h"

namespace dure::overlay {

using namespace kernel;

namespace {

constexpr int mtu_max = 1420;               // over a usual 1500
constexpr int wireguard_header_bytes = 80;  // over IPv6, the larger of the two

class WireguardPeers final : public PeerDevice {
 public:
  WireguardPeers(const OverlayOptions& options, OverlayWorld world)
      : options_(options), links_(world.links), open_(std::move(world.open_wg)), endpoints_(world.endpoints) {}

  // Early, so that a machine that can have no WireGuard says so at the start.
  Status prepare() override {
    std::lock_guard lock(mutex_);
    return open();
  }

  Result<std::optional<Ip>> node_ip(const OwnNode& own) override {
    auto ip = node_address({options_.cluster_cidr, options_.node_cidr}, own.pod_cidr);
    if (!ip)
      return fail(Error{500, "NodeRangeTooSmall",
                        "the node range " + options_.node_cidr.text() + " has no address for the pod range " +
                            own.pod_cidr.text() + " of " + options_.cluster_cidr.text(),
                        "set node-cidr in /etc/dure/server.conf and /etc/dure/agent.conf to a larger range"});
    return ip;
  }

  Result<int> mtu(const OwnNode& own) override {
    return own.uplink ? std::min(mtu_max, own.uplink->link.mtu - wireguard_header_bytes) : mtu_max;
  }

  Result<Link> ensure(const OwnNode& own, int mtu) override {
    std::lock_guard lock(mutex_);
    auto found = links_.get(options_.wireguard);
    if (!found && !found.error().is("NotFound")) return found;
    if (!found || !wg_) {
      wg_.reset();
      DURE_CHECK(open());
      found = links_.get(options_.wireguard);
      if (!found) return found;
    }
    DURE_TRY(const WgDevice device, wg_->read(options_.wireguard));
    if (device.private_key != options_.wireguard_key || device.port != options_.wireguard_port)
      DURE_CHECK(wg_->configure(options_.wireguard, options_.wireguard_key, options_.wireguard_port));
    DURE_CHECK(bring_up(links_, *found, mtu));
    DURE_TRY(const auto ip, node_ip(own));
    DURE_CHECK(put_only_address(links_, found->index, *ip));
    // wireguard-go goes on sending from an address that the machine has no more until it is told the endpoint again.
    const std::optional<Ip> from = own.uplink ? std::optional(own.uplink->address) : std::nullopt;
    if (from && from != sending_from_) told_.clear(), everything_moves_ = true;
    if (from) sending_from_ = from;
    return found;
  }

  Wanted plan(const OwnNode& own, const std::vector<schema::Object>& nodes, const Link& device) override {
    Wanted out;
    const Ranges ranges{options_.cluster_cidr, options_.node_cidr};
    std::vector<WireguardPeer> peers;
    for (const schema::Object& object : nodes) {
      auto peer = wireguard_peer_of(kinds::core_v1::Node(object), ranges);
      if (!peer) continue;
      if (auto path = endpoints_ ? endpoints_->path_to(peer->node) : std::nullopt) peer->path = path;
      peers.push_back(std::move(*peer));
    }
    out.refused = leave_out_claims({std::string(own.node.metadata().creationTimestamp()), options_.node_name,
                                    own.pod_cidr, "WireGuard key " + options_.wireguard_public_key.text()},
                                   peers);
    std::lock_guard lock(mutex_);
    device_ = {.link = device.index, .mtu = device.mtu, .node_ip = *node_address(ranges, own.pod_cidr)};
    out.plan = wireguard_plan(peers, device_);
    peers_ = std::move(peers);
    return out;
  }

  Result<Plan> present(const Link& device) override {
    std::lock_guard lock(mutex_);
    DURE_TRY(Plan plan, routes_and_entries(links_, device.index));
    DURE_TRY(const WgDevice now, wg_->read(options_.wireguard));
    plan.peers.assign(now.peers.begin(), now.peers.end());
    return plan;
  }

  Status apply(const Change& change, const Plan& present, const Plan& wanted) override {
    std::lock_guard lock(mutex_);
    const std::string& name = options_.wireguard;
    for (const Route& route : change.remove.routes) DURE_CHECK(links_.remove_route(route));
    for (const WgPeer& peer : change.remove.peers) {
      DURE_CHECK(wg_->remove_peer(name, peer.key));
      told_.erase(peer.key);
    }
    for (const WgPeer& peer : change.put.peers) {
      DURE_CHECK(wg_->put_peer(name, peer));
      if (peer.endpoint) told_[peer.key] = *peer.endpoint;
    }
    for (const WgPeer& peer : everything_moves_ ? wanted.peers : moves(present, wanted, told_)) {
      if (!peer.endpoint) continue;
      DURE_CHECK(wg_->set_endpoint(name, peer.key, *peer.endpoint));
      told_[peer.key] = *peer.endpoint;
    }
    everything_moves_ = false;
    for (const Route& route : change.put.routes) DURE_CHECK(links_.put_route(route));
    return {};
  }

  std::map<std::string, std::string> annotations(const OwnNode& own, const Link&) override {
    std::map<std::string, std::string> out{
        {std::string(wireguard_key_annotation), options_.wireguard_public_key.text()}};
    if (own.uplink)
      out[std::string(wireguard_endpoint_annotation)] =
          os::Endpoint{own.uplink->address, options_.wireguard_port}.text();
    return out;
  }

  // The peer takes only what comes from our pods and our node address.
  std::vector<NftRule> masquerade_rules() const override {
    return {{nft_link(NftField::output_link, options_.wireguard),
             nft_within(NftField::ip_source, options_.cluster_cidr, true),
             nft_within(NftField::ip_source, options_.node_cidr, true), NftMasquerade{}}};
  }

  Status move(std::string_view node, const Path& path) override {
    std::lock_guard lock(mutex_);
    auto peer = std::ranges::find(peers_, node, &WireguardPeer::node);
    if (peer == peers_.end() || !wg_) return {};  // the next sync asks
    const int mtu_before = peer->path ? peer->path->mtu : 0;
    peer->path = path;
    DURE_CHECK(call_from_now_on(*peer));
    told_[peer->key] = path.endpoint;
    if (mtu_before == path.mtu) return {};
    for (const Route& route : wireguard_routes(*peer, device_)) DURE_CHECK(links_.put_route(route));
    return {};
  }

  Status remove() override {
    std::lock_guard lock(mutex_);
    return wg_ ? wg_->remove(options_.wireguard) : links_.remove(options_.wireguard);
  }

 private:
  Status open() {
    if (wg_) return {};
    DURE_TRY(wg_, open_(options_.wireguard));
    told_.clear();
    return {};
  }

  // A session goes on at the new place with its next packet. Without one a first call may be under way to the old
  // place, and the device calls again only after five seconds: then the peer is made anew.
  Status call_from_now_on(const WireguardPeer& peer) {
    const std::string& name = options_.wireguard;
    DURE_TRY(const WgDevice now, wg_->read(name));
    const auto there = std::ranges::find(now.peers, peer.key, &WgPeerState::key);
    if (there != now.peers.end() && there->last_handshake)
      return wg_->set_endpoint(name, peer.key, peer.path->endpoint);
    DURE_CHECK(wg_->remove_peer(name, peer.key));
    return wg_->put_peer(name, wireguard_plan({peer}, device_).peers.front());
  }

  const OverlayOptions& options_;
  Links& links_;
  const std::function<Result<std::unique_ptr<Wg>>(std::string_view)> open_;
  Endpoints* const endpoints_;
  std::mutex mutex_;
  std::unique_ptr<Wg> wg_;
  WireguardDevice device_;
  std::vector<WireguardPeer> peers_;  // as of the last sync
  Told told_;
  std::optional<Ip> sending_from_;
  bool everything_moves_ = false;
};

}  // namespace

std::unique_ptr<PeerDevice> wireguard_device(const OverlayOptions& options, OverlayWorld world) {
  return std::make_unique<WireguardPeers>(options, std::move(world));
}

}  // namespace dure::overlay
