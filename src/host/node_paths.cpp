#include "host/node_paths.h"

#include <algorithm>
#include <array>
#include <future>
#include <mutex>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "client/object_meta.h"
#include "kernel/wg.h"
#include "kinds/views/core_v1.h"
#include "os/clock.h"
#include "os/machine.h"
#include "overlay/probe_packet.h"
#include "overlay/sites.h"
#include "schema/json.h"
#include "svcproxy/proxy.h"

namespace dure::host {
namespace {

using kinds::core_v1::nodes;
using tunnel::Candidate;
using tunnel::NodeView;

constexpr Duration first_site_after = 5s, other_site_after = 60s;
constexpr size_t own_networks_max = 16;
constexpr std::string_view class_label = "dure.dev/class",
                           control_plane_label = "node-role.kubernetes.io/control-plane", loop_name = "paths";
const client::Key whole{"", "nodes"};

bool is_for_pods(const kernel::Link& link) {
  constexpr std::array kinds = {"vxlan", "tun", "wireguard", "dummy", "ifb", "ipip", "gre", "sit", "geneve"};
  constexpr std::array names = {"cni",     "docker", "br-", "virbr",  "veth", "cali",
                                "flannel", "dure",   "lxc", "podman", "kube", "cilium"};
  return std::ranges::any_of(kinds, [&](const char* kind) { return link.kind == kind; }) ||
         std::ranges::any_of(names, [&](const char* name) { return link.name.starts_with(name); });
}

bool link_local(const Ip& ip) { return !ip.v6 && (ip.v4() >> 16) == 0xa9fe; }

std::string key_bytes(std::string_view base64) {
  const auto key = kernel::WgKey::parse(base64);
  return key ? std::string(reinterpret_cast<const char*>(key->bytes.data()), key->bytes.size()) : std::string();
}

// The host of "https://host:port".
std::string host_of(std::string_view url) {
  if (const size_t scheme = url.find("://"); scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.rfind(':')));
}

std::string zone_patch(std::string_view zone) {
  schema::Document patch;
  schema::Node* metadata = patch.member(patch.root(), "metadata");
  patch.make_object(metadata);
  schema::Node* labels = patch.member(metadata, "labels");
  patch.make_object(labels);
  patch.set(patch.member(labels, overlay::zone_label), zone);
  return schema::to_json(patch);
}

class NodePathsParted final : public NodePaths, public std::enable_shared_from_this<NodePathsParted> {
 public:
  explicit NodePathsParted(bootstrap::AgentSettings settings) : settings_(std::move(settings)) {}
  ~NodePathsParted() override { stop(); }

  Status start(NodePathsParts parts, pki::X25519Key key, uint16_t port) override {
    parts_.emplace(parts);
    key_.emplace(std::move(key));
    port_ = port;
    overlay::Paths::Options options;
    options.node = settings_.node_name;
    options.public_key = std::string(reinterpret_cast<const char*>(key_->public_key().data()), 32);
    options.port = port;
    options.ladder.first_transaction = os::make_random()->number();
    DURE_TRY(auto paths, overlay::Paths::start(std::move(options), world()));
    {
      const std::lock_guard lock(mutex_);
      paths_ = std::move(paths);
    }
    watch_ = parts_->watch.subscribe([this](const NetworkPicture& network) { look_at(network); });
    parts_->uplink.on_packet([this](std::string_view node, std::string bytes) {
      const std::lock_guard lock(mutex_);
      if (paths_) paths_->tunnel_packet(node, std::move(bytes));
    });
    parts_->uplink.on_connected([this](bool connected) {
      {
        const std::lock_guard lock(mutex_);
        connected_ = connected;
      }
      tell_own();
      if (!connected) return;
      parts_->executor.post([weak = weak_from_this()] {
        if (const auto me = weak.lock()) me->find_servers();
      });
    });
    parts_->uplink.on_table([this](const std::vector<NodeView>& table) {
      {
        const std::lock_guard lock(mutex_);
        table_ = table;
      }
      tell_own();
      tell_table();
    });
    parts_->runner.add(loop());
    return {};
  }

  void stop() override {
    watch_.reset();
    if (parts_) {
      parts_->uplink.on_table(nullptr);
      parts_->uplink.on_packet(nullptr);
      parts_->uplink.on_connected(nullptr);
    }
    std::unique_ptr<overlay::Paths> over;
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    over = std::move(paths_);
  }

  std::optional<overlay::Path> path_to(std::string_view node) override {
    const std::lock_guard lock(mutex_);
    return paths_ ? paths_->path_to(node) : std::nullopt;
  }

  std::set<std::string> unreachable() override {
    const std::lock_guard lock(mutex_);
    return unreachable_;
  }

  Result<std::string> page() override {
    auto answer = std::make_shared<std::promise<std::vector<overlay::PathReport>>>();
    auto reports = answer->get_future();
    {
      const std::lock_guard lock(mutex_);
      if (!paths_) return fail(unavailable("this node's search for paths has not started"));
      paths_->report([answer](std::vector<overlay::PathReport> paths) { answer->set_value(std::move(paths)); });
    }
    if (reports.wait_for(2s) != std::future_status::ready) return fail(timed_out("the paths are busy"));
    return overlay::paths_json(settings_.node_name, reports.get());
  }

 private:
  overlay::Paths::World world() {
    overlay::Paths::World world;
    world.agree = [this](std::string_view public_key) -> Result<std::string> {
      pki::X25519Bytes peer;
      std::ranges::copy(public_key, peer.begin());
      DURE_TRY(const pki::X25519Bytes secret, key_->agree(peer));
      return std::string(reinterpret_cast<const char*>(secret.data()), secret.size());
    };
    world.send_tunnel = [this](std::string_view node, std::string_view bytes) {
      (void)parts_->uplink.tunnel().send_packet(node, bytes);  // a packet: lost when there is no tunnel
    };
    world.moved = [this](const std::string& node) { move_soon(node); };
    world.publish = [this](const overlay::Ladder::Report& report) { publish(report); };
    return world;
  }

  // ladder -> overlay. One at a time, the latest wins, and never on the ladder's own thread: WireGuard may be slow.
  void move_soon(const std::string& node) {
    const std::lock_guard lock(moves_mutex_);
    moves_.insert(node);
    if (std::exchange(moving_, true)) return;
    parts_->executor.post([weak = weak_from_this()] {
      if (const auto me = weak.lock()) me->move();
    });
  }

  void move() {
    while (true) {
      std::string node;
      {
        const std::lock_guard lock(moves_mutex_);
        if (moves_.empty()) {
          moving_ = false;
          break;
        }
        node = std::move(moves_.extract(moves_.begin()).value());
      }
      const auto path = path_to(node);
      if (!path) continue;
      if (const Status moved = parts_->overlay.move_endpoint(node, *path); !moved)
        log(LogLevel::warn, "host", "cannot move a peer", {{"node", node}, {"why", moved.error().message}});
    }
    look_who_is_gone();
  }

  void look_who_is_gone() {
    {
      const std::lock_guard lock(mutex_);
      if (!paths_) return;
      std::set<std::string> now;
      for (const NodeView& view : table_)
        if (view.node != settings_.node_name && !paths_->path_to(view.node)) now.insert(view.node);
      if (now == unreachable_) return;
      unreachable_ = std::move(now);
    }
    parts_->runner.enqueue(svcproxy::proxy_loop_name, svcproxy::every_service);
  }

  void publish(const overlay::Ladder::Report& report) {
    tunnel::NodeReport out;
    out.wireguard_key = key_->public_text();
    out.wireguard_port = port_;
    for (const auto& [list, kind] :
         {std::pair(&report.lan, Candidate::Kind::lan), {&report.observed, Candidate::Kind::observed}})
      for (const os::Endpoint& one : *list)
        if (out.candidates.size() < tunnel::candidates_max) out.candidates.push_back({kind, one.ip, one.port});
    const auto first = [](const std::vector<std::string>& names) {
      return std::vector<std::string>(
          names.begin(), names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), tunnel::reached_max)));
    };
    out.direct = first(report.direct);
    out.lan = first(report.lan_nodes);
    parts_->uplink.tunnel().publish(std::move(out));
  }

  // links -> ladder
  void look_at(const NetworkPicture& network) {
    std::vector<IpPrefix> ranges;
    for (const std::string* text : {&settings_.pod_cidr, &settings_.service_cidr, &settings_.node_cidr})
      if (const auto range = IpPrefix::parse(*text)) ranges.push_back(*range);
    auto networks = own_networks(network.links, network.addresses, ranges);
    {
      const std::lock_guard lock(mutex_);
      if (stopped_ || (network.way_out == way_out_ && networks == networks_)) return;
      way_out_ = network.way_out;
      networks_ = std::move(networks);
      paths_->network_changed();
    }
    tell_own();
  }

  // Where the server's site is seen from outside: the public addresses behind the names that join was given, which may
  // be others than the last time.
  void find_servers() {
    std::vector<Ip> found;
    for (const std::string& url : settings_.server_urls)
      for (const Ip& ip : os::addresses_of(host_of(url)))
        if (!ip.v6 && !overlay::is_private(ip)) found.push_back(ip);
    {
      const std::lock_guard lock(mutex_);
      if (found == servers_) return;
      servers_ = std::move(found);
    }
    tell_table();
  }

  void tell_own() {
    const std::lock_guard lock(mutex_);
    if (!paths_) return;
    overlay::OwnFacts own;
    own.addresses = networks_;
    own.connected = connected_;
    for (const NodeView& view : table_)
      if (view.node == settings_.node_name) {
        if (!view.observed_tcp.is_unspecified() && !overlay::is_private(view.observed_tcp))
          own.public_ip = view.observed_tcp;
        own.via_proxy = view.via_proxy;
      }
    paths_->set_own(std::move(own));
  }

  // rendezvous -> ladder. A row counts when the Node of that name says the same key: that is what its owner alone may
  // write.
  void tell_table() {
    client::Cache& cache = parts_->caches.of(nodes);
    std::map<std::string, std::string, std::less<>> keys;
    const std::lock_guard lock(mutex_);
    if (!paths_) return;
    for (const NodeView& view : table_) keys[view.node] = key_bytes(view.report.wireguard_key);
    std::vector<overlay::Paths::Row> rows;
    for (const NodeView& view : table_) {
      const schema::Object node = cache.get({"", view.node});
      if (!node || keys[view.node].empty() ||
          client::annotation(node, overlay::wireguard_key_annotation) != view.report.wireguard_key)
        continue;
      overlay::Paths::Row row{.facts = facts_of(view), .public_key = keys[view.node]};
      row.facts.always_on = is_always_on(node);
      for (const std::string& name : view.report.direct)
        if (const auto at = keys.find(name); at != keys.end() && !at->second.empty())
          row.facts.direct.push_back(overlay::node_id_of(at->second));
      rows.push_back(std::move(row));
    }
    paths_->set_table(std::move(rows));
  }

  static bool is_always_on(const schema::Object& node) {
    const auto labels = kinds::core_v1::Node(node).metadata().labels();
    if (labels.get(class_label) == "always-on") return true;
    return std::any_of(labels.begin(), labels.end(), [](const auto& one) { return one.key == control_plane_label; });
  }

  overlay::PeerFacts facts_of(const NodeView& view) const {
    overlay::PeerFacts facts{.node = view.node};
    facts.connected = view.connected;
    facts.via_proxy = view.via_proxy;
    for (const Candidate& one : view.report.candidates)
      (one.kind == Candidate::Kind::lan ? facts.lan : facts.observed).push_back({one.ip, one.port});
    const uint16_t port = view.report.wireguard_port;
    // A router that keeps ports shows WireGuard's port at the address where the tunnel comes from. The server's own
    // site is seen at the server's address.
    if (view.via_proxy) return facts;
    if (!view.observed_tcp.is_unspecified() && !overlay::is_private(view.observed_tcp))
      facts.guesses.push_back({view.observed_tcp, port});
    else
      for (const Ip& server : servers_) facts.guesses.push_back({server, port});
    return facts;
  }

  // Nodes -> keys, sites
  client::LoopSpec loop() {
    client::LoopSpec spec;
    spec.name = loop_name;
    spec.watches.push_back({&nodes, [](const schema::Object&, const auto& enqueue) { enqueue(whole); }});
    spec.owns = {"zone label of v1 Node"};
    spec.resync = 30s;
    spec.reconcile = [weak = weak_from_this()](const client::Key&) {
      const auto me = weak.lock();
      return me ? me->reconcile() : client::Outcome::done();
    };
    return spec;
  }

  client::Outcome reconcile() {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return client::Outcome::done();
    }
    tell_table();
    const schema::Object own = parts_->caches.of(nodes).get({"", settings_.node_name});
    if (!own || zone_is_given()) return client::Outcome::done();
    const std::string now(kinds::core_v1::Node(own).metadata().labels().get(overlay::zone_label));
    const std::string wanted = site();
    if (wanted.empty() || wanted == now) {
      wanted_site_.clear();
      return client::Outcome::done();
    }
    // A node that starts again, or a cable that is out for a moment, makes no new site.
    const Duration patience = now.empty() ? first_site_after : other_site_after;
    const Monotonic time = parts_->executor.now();
    if (wanted_site_ != wanted) {
      wanted_site_ = wanted;
      wanted_since_ = time;
    }
    if (time - wanted_since_ < patience) return client::Outcome::after(patience - (time - wanted_since_));
    auto patched =
        parts_->uplink.client().patch(nodes, {"", settings_.node_name}, client::PatchType::merge, zone_patch(wanted));
    if (!patched) return client::Outcome::failed(patched.error());
    log(LogLevel::info, "host", "site", {{"zone", wanted}, {"before", now}});
    return client::Outcome::done();
  }

  bool zone_is_given() const {
    return std::ranges::any_of(settings_.labels, [](const std::string& label) {
      return label.starts_with(std::string(overlay::zone_label) + "=");
    });
  }

  // Empty: not known yet.
  std::string site() {
    client::Cache& cache = parts_->caches.of(nodes);
    std::vector<overlay::SiteMember> members;
    const std::lock_guard lock(mutex_);
    for (const NodeView& view : table_) {
      const schema::Object node = cache.get({"", view.node});
      if (!node) continue;
      members.push_back({view.node, view.report.wireguard_key, view.report.lan,
                         std::string(kinds::core_v1::Node(node).metadata().labels().get(overlay::zone_label))});
    }
    const auto sites = overlay::name_sites(std::move(members));
    const auto at = sites.find(settings_.node_name);
    return at == sites.end() ? "" : at->second;
  }

  const bootstrap::AgentSettings settings_;
  std::optional<NodePathsParts> parts_;
  std::optional<pki::X25519Key> key_;
  uint16_t port_ = 0;

  std::mutex mutex_;
  std::unique_ptr<overlay::Paths> paths_;
  std::vector<NodeView> table_;
  std::set<std::string> unreachable_;
  std::vector<IpPrefix> networks_;
  std::vector<Ip> servers_;
  std::string way_out_;
  bool connected_ = false, stopped_ = false;

  std::mutex moves_mutex_;
  std::set<std::string> moves_;
  bool moving_ = false;

  std::string wanted_site_;  // of the loop alone
  Monotonic wanted_since_{};
  std::unique_ptr<NetworkWatch::Subscription> watch_;
};

}  // namespace

std::shared_ptr<NodePaths> NodePaths::create(bootstrap::AgentSettings settings) {
  return std::make_shared<NodePathsParted>(std::move(settings));
}

std::vector<IpPrefix> own_networks(const std::vector<kernel::Link>& links,
                                   const std::vector<kernel::LinkAddress>& addresses,
                                   const std::vector<IpPrefix>& cluster_ranges) {
  std::vector<IpPrefix> out;
  for (const kernel::LinkAddress& one : addresses) {
    const auto link = std::ranges::find(links, one.link, &kernel::Link::index);
    const Ip& ip = one.address.ip;
    if (link == links.end() || !link->running || link->loopback || is_for_pods(*link)) continue;
    if (ip.v6 || ip.is_loopback() || link_local(ip) || one.host_scope) continue;
    if (std::ranges::any_of(cluster_ranges, [&](const IpPrefix& range) { return range.contains(ip); })) continue;
    if (out.size() < own_networks_max) out.push_back(one.address);
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace dure::host
