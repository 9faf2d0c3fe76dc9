#include "host/network.h"

#include <algorithm>

#include "base/log.h"
#include "bootstrap/node_identity.h"

namespace dure::host {

using bootstrap::Change;

namespace {

overlay::Backend backend_of(std::string_view network) {
  if (network == "none") return overlay::Backend::none;
  return network == "vxlan" ? overlay::Backend::vxlan : overlay::Backend::wireguard;
}

}  // namespace

Network::Network(os::Disk& disk, bootstrap::Journal& journal, NetworkOptions options)
    : disk_(disk), journal_(journal), options_(std::move(options)) {}

Network::~Network() { stop(); }

Result<std::unique_ptr<Network>> Network::create(os::Disk& disk, bootstrap::Journal& journal, NetworkOptions options) {
  std::unique_ptr<Network> out(new Network(disk, journal, std::move(options)));
  DURE_CHECK(out->build());
  return out;
}

Status Network::build() {
  const bootstrap::AgentSettings& settings = options_.settings;
  DURE_TRY(links_, kernel::open_links());
  DURE_TRY(nft_, kernel::open_nft());
  DURE_TRY(sysctl_, kernel::open_sysctl());
  overlay::OverlayOptions& options = overlay_options_;
  options.node_name = settings.node_name;
  options.backend = backend_of(settings.network);
  if (const auto range = IpPrefix::parse(settings.pod_cidr)) options.cluster_cidr = *range;
  if (const auto range = IpPrefix::parse(settings.service_cidr)) options.service_cidr = *range;
  if (const auto range = IpPrefix::parse(settings.node_cidr)) options.node_cidr = *range;
  options.node_ip = Ip::parse(settings.node_ip);
  if (const auto dns = Ip::parse(settings.cluster_dns)) options.local_addresses = {*dns};
  options.on_setting = [this](std::string_view setting, std::string_view before) {
    if (Status done = journal_.record({Change::Kind::sysctl, std::string(setting), std::string(before)}); !done)
      log(LogLevel::error, "host", "cannot write the journal", {{"why", done.error().message}});
  };
  if (options.backend == overlay::Backend::wireguard) {
    DURE_TRY(const pki::X25519Key key, bootstrap::ensure_wireguard_key(disk_, options_.places));
    options.wireguard_key = {key.secret()};
    options.wireguard_public_key = {key.public_key()};
    options.wireguard_port =
        static_cast<uint16_t>(settings.wireguard_port ? settings.wireguard_port
                                                      : bootstrap::default_wireguard_port(disk_, settings.node_name));
  }
  DURE_CHECK(record());
  overlay::OverlayWorld world{*links_, *nft_, *sysctl_, disk_};
  world.open_wg = [this](std::string_view name) { return kernel::open_wg(*links_, name); };
  world.endpoints = options_.endpoints;
  overlay_ = std::make_unique<overlay::Overlay>(options, std::move(world));
  DURE_CHECK(overlay_->prepare());
  return prepare_services();
}

// What the overlay and the pods are going to make, so that reset finds it whatever happens.
Status Network::record() {
  const overlay::OverlayOptions& options = overlay_options_;
  const bool wireguard = options.backend == overlay::Backend::wireguard;
  const Change changes[] = {{Change::Kind::link, options.bridge},
                            {Change::Kind::link, wireguard ? options.wireguard : options.vxlan},
                            {Change::Kind::table, "dure"},
                            {Change::Kind::file, options.cni_folder + "/10-dure.conflist"},
                            {Change::Kind::folder, "/run/dure"}};
  for (const Change& change : changes) DURE_CHECK(journal_.record(change));
  // Folders that others expect to be there, and that something is left in: ours only where nobody made them before.
  for (const char* folder : {"/etc/cni", "/etc/cni/net.d", "/var/lib/cni", "/var/lib/cni/results", "/var/log/pods",
                             "/var/log/containers", "/run/wireguard"})
    if (!disk_.exists(folder)) DURE_CHECK(journal_.record({Change::Kind::folder, folder}));
  return {};
}

Status Network::prepare_services() {
  DURE_TRY(proxy_nft_, kernel::open_nft());
  if (auto conntrack = kernel::open_conntrack()) conntrack_ = std::move(*conntrack);
  svcproxy::ProxyOptions options;
  options.rules.node_name = options_.settings.node_name;
  options.rules.local_addresses = overlay_options_.local_addresses;
  options.table.cluster_cidr = overlay_options_.cluster_cidr;
  options.table.service_cidr = overlay_options_.service_cidr;
  proxy_ = std::make_unique<svcproxy::Proxy>(std::move(options), *proxy_nft_, conntrack_.get());
  return {};
}

void Network::add_loops(client::Runner& runner, client::Caches& caches, client::Client& client,
                        client::EventRecorder& events, NetworkWatch& watch) {
  runner.add(overlay::overlay_loop(
      *overlay_, caches, client, {options_.settings.node_name, &events, [this](const overlay::Overlay::Synced& synced) {
                                    if (synced.node_ip && options_.ips.set({synced.node_ip->text()}) &&
                                        options_.on_new_address)
                                      options_.on_new_address();
                                  }}));
  runner.add(svcproxy::proxy_loop(*proxy_, caches, options_.unreachable));
  watch_ = watch.subscribe([this](const NetworkPicture& network) { look_at(network); });
  const std::lock_guard lock(mutex_);
  runner_ = &runner;
}

void Network::stop() {
  watch_.reset();
  const std::lock_guard lock(mutex_);
  runner_ = nullptr;
}

void Network::look_at(const NetworkPicture& network) {
  const std::lock_guard lock(mutex_);
  std::string now = own_addresses(network);
  if (runner_ && now != seen_) {
    log(LogLevel::info, "host", "this machine's addresses changed", {{"before", seen_}, {"now", now}});
    runner_->enqueue(overlay::overlay_loop_name, overlay::overlay_key());
  }
  seen_ = std::move(now);
}

// The way out and all addresses that are not the cluster's.
std::string Network::own_addresses(const NetworkPicture& network) const {
  std::string out = network.way_out;
  std::vector<kernel::LinkAddress> addresses = network.addresses;
  std::ranges::sort(addresses);
  for (const kernel::LinkAddress& one : addresses) {
    const Ip& ip = one.address.ip;
    if (ip.v6 || ip.is_loopback() || overlay_options_.cluster_cidr.contains(ip) ||
        overlay_options_.node_cidr.contains(ip) || overlay_options_.service_cidr.contains(ip))
      continue;
    out += " " + one.address.text();
  }
  return out;
}

}  // namespace dure::host
