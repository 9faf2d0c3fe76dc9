#include "host/uplink.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "bootstrap/node_identity.h"
#include "run/gate.h"

namespace dure::host {
namespace {

// Of the API server's certificate, whatever address it is reached by.
constexpr std::string_view kServerName = "kubernetes";
constexpr Duration kKeepAfter = 5s;  // a table that changed is written once it has calmed down

// What callbacks of the tunnel share with the owner; they may come while it is being destroyed.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool connected = false;
  wire::Handler kubelet;
  std::vector<tunnel::NodeView> table;
  std::unique_ptr<run::Timer> keep_table;
  std::function<void(const std::vector<tunnel::NodeView>&)> on_table;
  std::function<void(std::string_view, std::string)> on_packet;
  std::function<void(bool)> on_connected;
};

void answer_kubelet(Shared& shared, std::shared_ptr<wire::Exchange> exchange) {
  wire::Handler kubelet;
  {
    const std::lock_guard lock(shared.mutex);
    kubelet = shared.kubelet;
  }
  if (kubelet) return kubelet(std::move(exchange));
  wire::Response response;
  response.status = 503;
  response.body = "the agent is still starting\n";
  exchange->respond(std::move(response));
}

// The table as one message of the rendezvous, with nobody connected: a node that is switched on without a server finds
// its neighbours where they were.
std::string table_text(std::vector<tunnel::NodeView> table) {
  tunnel::TableUpdate update{.whole = true};
  for (tunnel::NodeView& view : table) {
    view.connected = false;
    update.rows.push_back({static_cast<uint32_t>(update.rows.size() + 1), std::move(view)});
  }
  return tunnel::encode_update(update);
}

std::vector<tunnel::NodeView> table_of(std::string_view text) {
  std::vector<tunnel::NodeView> table;
  auto update = tunnel::decode_update(text);
  if (!update) return table;
  for (tunnel::TableRow& row : update->rows) table.push_back(std::move(row.view));
  return table;
}

void keep_file(os::Disk& disk, const std::string& file, const std::string& text) {
  if (const auto before = os::read_file(disk, file); before && *before == text) return;
  if (Status kept = os::write_file_atomic(disk, file, text, 0644); !kept)
    log(LogLevel::warn, "host", "cannot keep what the server told", {{"file", file}, {"why", kept.error().message}});
}

// What a connection depends on: addresses and default routes. Pods that come and go do not change it.
struct NetworkFacts {
  std::vector<Ip> addresses;
  std::vector<std::string> routes;  // default routes, and links that lost or found their carrier
  friend bool operator==(const NetworkFacts&, const NetworkFacts&) = default;
};

bool link_local(const Ip& ip) { return ip.v6 && ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80; }

NetworkFacts facts_of(const NetworkPicture& network) {
  NetworkFacts facts;
  for (const kernel::LinkAddress& one : network.addresses)
    if (!link_local(one.address.ip)) facts.addresses.push_back(one.address.ip);
  for (const kernel::Link& link : network.links) {
    const bool has_address = std::ranges::any_of(network.addresses, [&](const kernel::LinkAddress& one) {
      return one.link == link.index && !link_local(one.address.ip);
    });
    if (has_address) facts.routes.push_back(link.name + (link.running ? " up" : " down"));
  }
  for (const kernel::Route& route : network.routes)
    if (route.destination.length == 0)
      facts.routes.push_back((route.gateway ? route.gateway->text() : "") + " " + std::to_string(route.link) + " " +
                             std::to_string(route.metric));
  std::ranges::sort(facts.addresses);
  std::ranges::sort(facts.routes);
  return facts;
}

class UplinkParts final : public Uplink {
 public:
  UplinkParts(run::Loop& loop, run::Executor& executor, os::Disk& disk, const bootstrap::Places& places)
      : loop_(loop), gate_(executor), disk_(disk), places_(places) {
    if (const auto kept = os::read_file(disk_, places_.peers())) shared_->table = table_of(*kept);
  }

  ~UplinkParts() override {
    watch_.reset();
    state_->stop();
    gate_.close();
    if (shared_->keep_table) keep_table(*shared_, disk_, places_.peers());
    client_.reset();
  }

  Status build(NetworkWatch& watch, const bootstrap::AgentSettings& settings, const client::Credentials& credentials) {
    DURE_CHECK(start_tunnel(settings, credentials));
    auto http = wire::HttpClient::over_streams(loop_, std::string(kServerName),
                                               [state = state_](auto done) { done(state->open_stream()); });
    client::Credentials said = credentials;  // who we are says the tunnel's certificate
    client_ = client::connect_over(std::move(http), std::move(said));
    watch_ = watch.subscribe([this](const NetworkPicture& network) { look_at(network); });
    return {};
  }

  client::Client& client() override { return *client_; }
  tunnel::AgentTunnel& tunnel() override { return *state_->tunnel; }

  bool wait_connected(Duration limit) override {
    std::unique_lock lock(shared_->mutex);
    return shared_->changed.wait_for(lock, limit, [&] { return shared_->connected; });
  }

  void serve(wire::Handler kubelet) override {
    const std::lock_guard lock(shared_->mutex);
    shared_->kubelet = std::move(kubelet);
  }

  void on_table(std::function<void(const std::vector<tunnel::NodeView>&)> table) override {
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->on_table = std::move(table);
    }
    loop_.post([shared = shared_] { tell_table(*shared); });
  }

  void on_connected(std::function<void(bool)> connected) override {
    bool now = false;
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->on_connected = connected;
      now = shared_->connected;
    }
    if (connected) connected(now);
  }

  void on_packet(std::function<void(std::string_view, std::string)> packet) override {
    const std::lock_guard lock(shared_->mutex);
    shared_->on_packet = std::move(packet);
  }

 private:
  // Where the client's dialler finds the tunnel; it may ask after the end.
  struct State {
    std::mutex mutex;
    std::unique_ptr<tunnel::AgentTunnel> tunnel;
    std::vector<Ip> addresses;

    Result<std::unique_ptr<wire::Stream>> open_stream() {
      const std::lock_guard lock(mutex);
      if (!tunnel) return fail(Error{503, "TunnelDown", "the agent is stopping"});
      return tunnel->open_stream();
    }
    void network_changed(std::vector<Ip> addresses) {
      const std::lock_guard lock(mutex);
      if (tunnel) tunnel->network_changed(std::move(addresses));
    }
    void stop() {
      std::unique_ptr<tunnel::AgentTunnel> over;
      const std::lock_guard lock(mutex);
      over = std::move(tunnel);
    }
  };

  void look_at(const NetworkPicture& network) {
    NetworkFacts now = facts_of(network);
    if (now == seen_) return;
    if (std::exchange(seen_, now)) {
      log(LogLevel::info, "host", "the network changed", {{"addresses", std::to_string(now.addresses.size())}});
      state_->network_changed(std::move(now.addresses));
    }
  }

  static void tell_table(Shared& shared) {
    std::function<void(const std::vector<tunnel::NodeView>&)> tell;
    std::vector<tunnel::NodeView> table;
    {
      const std::lock_guard lock(shared.mutex);
      tell = shared.on_table;
      table = shared.table;
    }
    if (tell && !table.empty()) tell(table);
  }

  Status start_tunnel(const bootstrap::AgentSettings& settings, const client::Credentials& credentials) {
    tunnel::AgentTunnelOptions options;
    options.node = settings.node_name;
    options.servers = settings.server_urls;
    options.proxy = settings.proxy;
    options.no_proxy = settings.no_proxy;
    options.learned = bootstrap::told_servers(disk_, places_);
    options.tls.ca_pem = credentials.ca_pem;
    options.tls.certificate_pem = credentials.certificate_pem;
    options.tls.key_pem = credentials.key_pem;
    options.tls.server_name = credentials.server_name.empty() ? std::string(kServerName) : credentials.server_name;
    options.seed = fnv1a_64(settings.node_name);
    options.on_change = [shared = shared_](bool connected) {
      std::function<void(bool)> tell;
      {
        const std::lock_guard lock(shared->mutex);
        shared->connected = connected;
        shared->changed.notify_all();
        tell = shared->on_connected;
      }
      if (tell) tell(connected);
    };
    options.on_table = [shared = shared_, &gate = gate_, &disk = disk_,
                        file = places_.peers()](std::vector<tunnel::NodeView> table) {
      {
        const std::lock_guard lock(shared->mutex);
        shared->table = std::move(table);
        if (!shared->keep_table)
          shared->keep_table = gate.after(kKeepAfter, [shared, &disk, file] { keep_table(*shared, disk, file); });
      }
      tell_table(*shared);
    };
    options.on_packet = [shared = shared_](std::string_view node, std::string bytes) {
      std::function<void(std::string_view, std::string)> take;
      {
        const std::lock_guard lock(shared->mutex);
        take = shared->on_packet;
      }
      if (take) take(node, std::move(bytes));
    };
    options.on_servers = [&gate = gate_, &disk = disk_,
                          file = places_.servers()](const std::vector<std::string>& servers) {
      gate.post([&disk, file, text = join(servers, "\n") + "\n"] { keep_file(disk, file, text); });
    };
    DURE_TRY(state_->tunnel, tunnel::AgentTunnel::start(loop_, std::move(options), [shared = shared_](auto exchange) {
               answer_kubelet(*shared, std::move(exchange));
             }));
    return {};
  }

  static void keep_table(Shared& shared, os::Disk& disk, const std::string& file) {
    std::vector<tunnel::NodeView> table;
    {
      const std::lock_guard lock(shared.mutex);
      shared.keep_table.reset();
      table = shared.table;
    }
    keep_file(disk, file, table_text(std::move(table)));
  }

  run::Loop& loop_;
  run::Gate gate_;
  os::Disk& disk_;
  const bootstrap::Places places_;
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  const std::shared_ptr<State> state_ = std::make_shared<State>();
  std::unique_ptr<client::Client> client_;
  std::optional<NetworkFacts> seen_;  // of the watch alone
  std::unique_ptr<NetworkWatch::Subscription> watch_;
};

}  // namespace

Result<std::unique_ptr<Uplink>> Uplink::start(run::Loop& loop, run::Executor& executor, NetworkWatch& watch,
                                              os::Disk& disk, const bootstrap::Places& places,
                                              const bootstrap::AgentSettings& settings,
                                              const client::Credentials& credentials) {
  auto uplink = std::make_unique<UplinkParts>(loop, executor, disk, places);
  DURE_CHECK(uplink->build(watch, settings, credentials));
  return uplink;
}

}  // namespace dure::host
