#include "host/agent.h"

#include <functional>
#include <vector>

#include "base/ip.h"
#include "base/log.h"
#include "base/text.h"
#include "bootstrap/checks/virtualization.h"
#include "bootstrap/fingerprint.h"
#include "bootstrap/journal.h"
#include "bootstrap/node_identity.h"
#include "client/cache.h"
#include "client/events.h"
#include "client/kubeconfig.h"
#include "client/loop.h"
#include "client/remembered.h"
#include "cri/runtime.h"
#include "dns/dns_loop.h"
#include "dns/server.h"
#include "dns/zone.h"
#include "host/network.h"
#include "host/network_watch.h"
#include "host/node_pages.h"
#include "host/node_paths.h"
#include "host/runtime_setup.h"
#include "host/uplink.h"
#include "kernel/mounts.h"
#include "os/clock.h"
#include "os/disk.h"
#include "overlay/sites.h"
#include "pods/fields.h"
#include "pods/kubelet_api.h"
#include "pods/node_facts.h"
#include "pods/node_status.h"
#include "pods/pods.h"
#include "run/loop.h"
#include "schema/quantity.h"
#include "volumes/files.h"
#include "volumes/volumes.h"

namespace dure::host {
namespace {

// Two rooms that may not know each other mean the same annotation.
static_assert(bootstrap::wireguard_key_annotation == overlay::wireguard_key_annotation);

using bootstrap::AgentSettings;
using bootstrap::Change;

Result<int64_t> quantity(std::string_view text, bool milli) {
  DURE_TRY(const auto parsed, schema::Quantity::parse(text));
  return milli ? parsed.milli() : parsed.value();
}

// "key=value:Effect", "key:Effect"
Result<pods::NodeTaint> parse_taint(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return fail(bad_request("a taint is key=value:Effect, got " + std::string(text)));
  const std::string_view pair = text.substr(0, colon);
  const size_t equals = pair.find('=');
  pods::NodeTaint taint;
  taint.key = std::string(pair.substr(0, equals));
  if (equals != std::string_view::npos) taint.value = std::string(pair.substr(equals + 1));
  taint.effect = std::string(text.substr(colon + 1));
  return taint;
}

Result<pods::NodeOptions> node_options(const AgentSettings& settings, const std::string& version, pods::NodeIps ips) {
  pods::NodeOptions options;
  options.name = settings.node_name;
  options.ips = std::move(ips);
  options.version = version;
  options.pods_max = settings.pods_max;
  if (!settings.capacity_cpu.empty()) {
    DURE_TRY(options.cpu_milli, quantity(settings.capacity_cpu, true));
  }
  if (!settings.capacity_memory.empty()) {
    DURE_TRY(options.memory_bytes, quantity(settings.capacity_memory, false));
  }
  options.labels[std::string(overlay::machine_label)] = bootstrap::read_virtualization(*os::make_disk()).label();
  for (const std::string& label : settings.labels) {
    const size_t equals = label.find('=');
    options.labels[label.substr(0, equals)] = equals == std::string::npos ? "" : label.substr(equals + 1);
  }
  for (const std::string& text : settings.taints) {
    DURE_TRY(pods::NodeTaint taint, parse_taint(text));
    options.taints.push_back(std::move(taint));
  }
  return options;
}

// Members in the order in which they are made; the compiler ends them in reverse.
class AgentParts final : public Agent {
 public:
  explicit AgentParts(AgentOptions options)
      : options_(std::move(options)),
        settings_(options_.settings),
        disk_(os::make_disk()),
        clock_(os::make_clock()),
        random_(os::make_random()),
        journal_(*disk_, options_.places.journal()),
        loop_("agent"),
        executor_(run::make_pool("reconcile", 4)),
        jobs_(run::make_pool("jobs", 8)) {}

  ~AgentParts() override {
    if (runtime_) runtime_->interrupt_calls();  // a pod that is being started must not hold the stop up
    if (uplink_) uplink_->serve(nullptr);
    if (paths_) paths_->stop();
    if (network_) network_->stop();
    runner_.reset();  // no more reconciles
    node_status_.reset();
    pods_.reset();
    volumes_.reset();
    caches_.reset();
  }

  Status build() {
    DURE_CHECK(find_identity());
    DURE_CHECK(connect());
    DURE_CHECK(prepare_runtime());
    DURE_CHECK(prepare_network());
    DURE_CHECK(prepare_names());
    DURE_CHECK(build_pods());
    start();
    log(LogLevel::info, "host", "running",
        {{"node", settings_.node_name}, {"server", join(settings_.server_urls, " ")}});
    return {};
  }

 private:
  Status find_identity() {
    auto identity = bootstrap::read_identity(*disk_, options_.places);
    if (identity && !bootstrap::renewal_due(*identity, clock_->wall_now())) {
      credentials_ = std::move(*identity);
      return {};
    }
    if (!identity) {
      DURE_TRY(const std::string text, os::read_file(*disk_, options_.places.bootstrap_conf()));
      DURE_TRY(client::Kubeconfig config, client::parse_kubeconfig(text, {}));
      identity = std::move(config.credentials);
    }
    auto fresh = first_identity(*identity);
    // An old identity that still holds is good enough until the server can be reached.
    if (!fresh && identity->token.empty()) fresh = std::move(*identity);
    if (!fresh) return fail(std::move(fresh.error()));
    credentials_ = std::move(*fresh);
    return {};
  }

  // Before there is an identity there is no tunnel: asked for over a connection of its own.
  Result<client::Credentials> first_identity(const client::Credentials& credentials) {
    DURE_TRY(const bootstrap::MachineClaim claim,
             bootstrap::read_machine_claim(*disk_, options_.places, credentials.ca_pem));
    const auto ways = bootstrap::known_ways(*disk_, options_.places, settings_).ways();
    return bootstrap::request_identity(loop_.loop(), *disk_, options_.places,
                                       {settings_.node_name, ways, credentials, claim.proof});
  }

  Status connect() {
    credentials_.user_agent = "dure-agent/" + options_.version;
    DURE_TRY(auto links, kernel::open_links());
    DURE_TRY(watch_, NetworkWatch::start(std::move(links), *executor_));
    DURE_TRY(uplink_,
             Uplink::start(loop_.loop(), *executor_, *watch_, *disk_, options_.places, settings_, credentials_));
    // What pods are made of is answered from memory while there is no server (docs/decisions/0060); what the node says
    // of itself is not.
    DURE_TRY(memory_, client::remember(uplink_->client(), *executor_, *disk_, *random_, {options_.places.memory()}));
    caches_ = client::Caches::create(*memory_, *executor_);
    runner_ = client::Runner::create(*caches_, *executor_);
    events_ = client::EventRecorder::create(uplink_->client(), *executor_, "kubelet", settings_.node_name);
    return {};
  }

  Status prepare_runtime() {
    runtime_ = cri::connect(loop_.loop(), settings_.runtime_endpoint);
    DURE_CHECK(install_cni_plugin(journal_));
    // A runtime that is still starting is waited for by everything else; only the sandbox image must not be forgotten.
    ensure_own_images_soon(Duration::zero());
    return {};
  }

  void ensure_own_images_soon(Duration delay) {
    pause_timer_ = jobs_->after(delay, [this] {
      const Status done = ensure_own_images(*runtime_, settings_.runtime_endpoint);
      if (done) return;
      log(LogLevel::warn, "host", "cannot import the embedded images yet", {{"why", done.error().message}});
      ensure_own_images_soon(2s);
    });
  }

  Status prepare_network() {
    mounts_ = kernel::linux_mounts();
    // With WireGuard the node's address follows from its pod CIDR; otherwise it is the machine's.
    if (settings_.network != "wireguard") ips_.set({settings_.node_ip});
    if (settings_.network == "wireguard") paths_ = NodePaths::create(settings_);
    NetworkOptions options{.settings = settings_, .places = options_.places, .ips = ips_};
    options.on_new_address = [this] {
      if (node_status_) node_status_->look_now();
    };
    options.endpoints = paths_.get();
    if (paths_) options.unreachable = [paths = paths_] { return paths->unreachable(); };
    DURE_TRY(network_, Network::create(*disk_, journal_, std::move(options)));
    return {};
  }

  void start_paths() {
    if (!paths_) return;
    const overlay::OverlayOptions& network = network_->overlay_options();
    auto key = pki::X25519Key::from_bytes(network.wireguard_key.bytes);
    const Status started = key ? paths_->start({*uplink_, network_->overlay(), *watch_, *runner_, *caches_, *jobs_},
                                               std::move(*key), network.wireguard_port)
                               : fail(key.error());
    if (!started) log(LogLevel::error, "host", "no paths but those of the LAN", {{"why", started.error().message}});
  }

  // Every node answers for the cluster itself: the address stands on lo, so a question never leaves the machine.
  Status prepare_names() {
    dns::ZoneOptions zone;
    zone.domain = settings_.dns_domain;
    zone.ranges.clear();
    for (const std::string& range : {settings_.service_cidr, settings_.pod_cidr})
      if (const auto prefix = IpPrefix::parse(range)) zone.ranges.push_back(*prefix);
    if (const auto dns = Ip::parse(settings_.cluster_dns)) zone.addresses = {*dns};
    zone_ = std::make_unique<dns::Zone>(std::move(zone));
    const auto address = Ip::parse(settings_.cluster_dns);
    if (!address) return {};
    dns::ServerOptions options;
    options.listen = {{*address, 53}};
    DURE_TRY(names_, dns::Server::start(*zone_, *disk_, std::move(options)));
    return {};
  }

  Status build_pods() {
    DURE_TRY(pods::NodeOptions node, node_options(settings_, options_.version, ips_));
    DURE_TRY(const bootstrap::MachineClaim claim,
             bootstrap::read_machine_claim(*disk_, options_.places, credentials_.ca_pem));
    node.annotations[std::string(bootstrap::machine_annotation)] = claim.annotation;
    const pods::NodeCapacity capacity = pods::node_capacity(pods::read_machine_facts(*disk_, node.state_folder), node);
    pods::PodsOptions options;
    options.node.name = settings_.node_name;
    options.node.ips = ips_;
    options.node.allocatable_cpu_milli = capacity.cpu_milli;
    options.node.allocatable_memory = capacity.allocatable_memory;
    options.node.allocatable_ephemeral_storage = capacity.allocatable_ephemeral_storage;
    options.node_memory = capacity.memory_bytes;
    options.pods_max = settings_.pods_max;
    options.oom_score_adj_min = pods::lowest_oom_score_adj(*disk_);
    options.root = options_.places.kubelet;
    options.cluster_dns.servers = {settings_.cluster_dns};
    options.cluster_dns.domain = settings_.dns_domain;

    const pods::NodeFacts facts = options.node;
    volumes::PodFacts pod_facts;
    pod_facts.field = [facts](const schema::Object& pod, std::string_view path) {
      const kinds::core_v1::Pod view(pod);
      std::vector<std::string> ips;
      for (const auto& one : view.status().podIPs()) ips.emplace_back(one.ip());
      return pods::field_value(view, path, facts, ips);
    };
    pod_facts.resource = [facts](const schema::Object& pod, std::string_view container, std::string_view resource,
                                 std::string_view divisor) {
      return pods::resource_value(kinds::core_v1::Pod(pod), container, resource, divisor, facts);
    };
    volumes_ = std::make_unique<volumes::Volumes>(*memory_, *executor_, *jobs_, *mounts_, pod_facts,
                                                  volumes::VolumesOptions{.root = options_.places.kubelet});
    probe_net_ = pods::make_probe_net(loop_.loop());
    pods_ = std::make_unique<pods::Pods>(pods_parts(), std::move(options));
    node_status_ = std::make_unique<pods::NodeStatus>(uplink_->client(), *runtime_, *executor_, *jobs_, *disk_,
                                                      *events_, node);
    return {};
  }

  pods::PodsParts pods_parts() {
    pods::PodVolumes volumes;
    volumes.mount = [this](const schema::Object& pod) { return volumes_->mount(pod); };
    volumes.sub_path = [this](const schema::Object& pod, const std::string& volume, const std::string& path,
                              const std::string& sub_path) { return volumes_->sub_path(pod, volume, path, sub_path); };
    volumes.follow = [this](const schema::Object& pod) { volumes_->follow(pod); };
    volumes.unmount = [this](const std::string& uid) { return volumes_->unmount(uid); };
    volumes.uids = [this] { return volumes_->uids(); };
    return {*memory_,
            *caches_,
            *runtime_,
            *executor_,
            *jobs_,
            *disk_,
            *events_,
            *probe_net_,
            std::move(volumes),
            [this](const std::string& path) { return volumes_->remove_tree(path); },
            [](const std::string& path, int mode) { return volumes::set_mode(path, static_cast<mode_t>(mode)); }};
  }

  NodePages pages() {
    return {{"/dure/v1/check", [this] { return check_page(options_.places, options_.version); }},
            {"/dure/v1/paths", [this] {
               return paths_ ? paths_->page()
                             : fail(unavailable("this node looks for no paths: its network is not wireguard"));
             }}};
  }

  // server -> uplink -> kubelet API; API -> uplink -> caches -> loops
  void start() {
    // Without a server everything that is here goes on; with one the first words should not be lost.
    if (!uplink_->wait_connected(2s))
      log(LogLevel::warn, "host", "no connection yet", {{"why", uplink_->tunnel().trouble()}});
    network_->add_loops(*runner_, *caches_, uplink_->client(), *events_, *watch_);
    start_paths();
    runner_->add(dns::dns_loop(*zone_, *caches_));
    runner_->add(pods_->loop());
    pods_->start(*runner_);
    node_status_->start();
    uplink_->serve(with_node_pages(pods::kubelet_api(*pods_, *executor_, *jobs_, {.node_name = settings_.node_name}),
                                   pages(), *jobs_));
  }

  const AgentOptions options_;
  const AgentSettings& settings_;
  const std::unique_ptr<os::Disk> disk_;
  const std::unique_ptr<os::Clock> clock_;
  const std::unique_ptr<os::Random> random_;
  bootstrap::Journal journal_;
  client::Credentials credentials_;
  run::LoopThread loop_;                     // all connections of this process
  std::unique_ptr<run::Executor> executor_;  // reconciles and timers
  std::unique_ptr<run::Executor> jobs_;      // what waits for the runtime
  std::unique_ptr<NetworkWatch> watch_;
  std::unique_ptr<Uplink> uplink_;
  std::unique_ptr<client::Client> memory_;
  std::unique_ptr<client::Caches> caches_;
  std::unique_ptr<client::EventRecorder> events_;
  std::unique_ptr<cri::Runtime> runtime_;
  std::unique_ptr<run::Timer> pause_timer_;
  const pods::NodeIps ips_;
  std::unique_ptr<kernel::Mounts> mounts_;
  std::shared_ptr<NodePaths> paths_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<dns::Zone> zone_;
  std::unique_ptr<dns::Server> names_;
  std::unique_ptr<volumes::Volumes> volumes_;
  std::unique_ptr<pods::ProbeNet> probe_net_;
  std::unique_ptr<pods::Pods> pods_;
  std::unique_ptr<pods::NodeStatus> node_status_;
  std::unique_ptr<client::Runner> runner_;
};

}  // namespace

Result<std::unique_ptr<Agent>> Agent::start(AgentOptions options) {
  auto agent = std::make_unique<AgentParts>(std::move(options));
  DURE_CHECK(agent->build());
  return agent;
}

}  // namespace dure::host
