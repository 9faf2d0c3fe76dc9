#include "plane/server.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "apiserver/api.h"
#include "apiserver/auth/auth.h"
#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/front.h"
#include "base/ip.h"
#include "base/log.h"
#include "bootstrap/discovery.h"
#include "bootstrap/fingerprint.h"
#include "bootstrap/first_start.h"
#include "client/cache.h"
#include "client/events.h"
#include "client/loop.h"
#include "controllers/controllers.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/bootstrap_token.h"
#include "pki/folder.h"
#include "pki/service_account_token.h"
#include "pki/signing_request.h"
#include "plane/cluster_objects.h"
#include "plane/components.h"
#include "plane/in_process_client.h"
#include "plane/join_desk.h"
#include "run/loop.h"
#include "scheduler/loop.h"
#include "store/log_store.h"
#include "tunnel/hub.h"
#include "wire/http.h"

namespace dure::plane {
namespace {

class HubDialer final : public apiserver::NodeDialer {
 public:
  explicit HubDialer(tunnel::Hub& hub) : hub_(hub) {}
  Result<std::unique_ptr<wire::Stream>> dial(std::string_view node) override { return hub_.dial(node); }

 private:
  tunnel::Hub& hub_;
};

constexpr std::string_view kNodePrefix = "system:node:";
constexpr Duration kCertificateLife = 365 * 24h;

// Members in the order in which they are made; the compiler ends them in reverse.
class ServerParts final : public Server {
 public:
  explicit ServerParts(ServerOptions options)
      : options_(std::move(options)),
        disk_(os::make_disk()),
        random_(os::make_random()),
        clock_(os::make_clock()),
        workers_(run::make_pool("workers", options_.worker_threads)),
        watches_(run::make_pool("watches", 1)),
        hub_(own_addresses(options_.settings)),
        dialer_(hub_) {
    for (int i = 0; i < options_.io_threads; ++i)
      io_.push_back(std::make_unique<run::LoopThread>("io" + std::to_string(i)));
  }

  ~ServerParts() override {
    stop_loops();  // no more reconciles
    caches_.reset();
    server_.reset();  // no more requests
    hub_.close();
  }

  Status build() {
    DURE_CHECK(open_keys());
    DURE_TRY(store_, store::LogStore::open(options_.places.store(), {}, *disk_));
    DURE_CHECK(open_api());
    // Nobody is let in before the roles are there: early callers would be told "forbidden" and believe it.
    DURE_CHECK(apiserver::ensure_bootstrap_objects(*api_));
    DURE_CHECK(publish_cluster(*client_, options_.settings, ca_pem_));
    DURE_CHECK(listen());
    start_loops();
    ready_ = true;
    log(LogLevel::info, "plane", "ready", {{"url", options_.settings.url()}});
    return {};
  }

  int port() const override { return server_->port(); }

 private:
  Status open_keys() {
    const WallTime now = clock_->wall_now();
    DURE_CHECK(bootstrap::ensure_pki(*disk_, *random_, options_.places, options_.settings, now));
    const pki::Folder folder(*disk_, *random_, options_.places.kubernetes);
    DURE_TRY(const pki::Authority authority, folder.authority());
    authority_ = std::make_unique<pki::Authority>(authority);
    ca_pem_ = authority.certificate().pem();
    DURE_TRY(tls_.certificate_pem, folder.read("pki/apiserver.crt"));
    DURE_TRY(tls_.key_pem, folder.read("pki/apiserver.key"));
    tls_.client_ca_pem = ca_pem_;
    return {};
  }

  Status open_api() {
    apiserver::ApiOptions api;
    api.settings.service_cidr = options_.settings.service_cidr;
    api.git_version = options_.git_version;
    api_ = std::make_unique<apiserver::Api>(*store_, *workers_, *random_, std::move(api));

    const pki::Folder folder(*disk_, *random_, options_.places.kubernetes);
    DURE_TRY(pki::PrivateKey token_key, folder.service_account_key());
    apiserver::AuthOptions auth{.token_key = std::move(token_key),
                                .issuer = pki::default_issuer(options_.settings.dns_domain)};
    auth_ = std::make_unique<apiserver::Auth>(std::move(auth), apiserver::cluster_state_of(*api_), *random_);
    DURE_CHECK(auth_->attach(*api_, *workers_));
    apiserver::ApiGuards guards = auth_->guards();
    guards.collections["/componentstatuses"] = [this] { return component_states(loops_health(), store_->health()); };
    api_->set_guards(std::move(guards));

    auto self = std::make_shared<apiserver::User>();
    self->name = "system:apiserver";
    self->groups = {"system:masters", "system:authenticated"};
    client_ = in_process_client(*api_, std::move(self), *watches_);
    return {};
  }

  // HTTP -> front -> api; tunnels of agents -> hub
  Status listen() {
    apiserver::FrontOptions front;
    front.authenticate = [this](const wire::Request& request) { return auth_->authenticate(request); };
    front.nodes = &dialer_;
    front.checks.push_back({"store", [this] { return store_->health(); }});
    front.checks.push_back({"bootstrap",
                            [this]() -> Status {
                              if (ready_) return {};
                              return fail(unavailable("the server is still starting"));
                            },
                            true});
    front.routes.push_back(
        {std::string(tunnel::tunnel_path), [this](auto exchange, auto user) { accept_tunnel(exchange, *user); }, true});
    desk_ = std::make_unique<JoinDesk>(apiserver::cluster_state_of(*api_), auth_->authenticator(), options_.settings,
                                       options_.git_version);
    for (const auto& [path, text] : {std::pair{"/openid/v1/jwks", auth_->key_set()},
                                     std::pair{"/.well-known/openid-configuration", auth_->discovery_document()}})
      front.routes.push_back({path, [text = text](auto exchange, auto) {
                                wire::Response response;
                                response.headers.set("content-type", "application/json");
                                response.body = text;
                                exchange->respond(std::move(response));
                              }});
    front_ = std::make_unique<apiserver::Front>(*api_, std::move(front));

    std::vector<run::Loop*> loops;
    for (const auto& thread : io_) loops.push_back(&thread->loop());
    wire::ServerLimits limits;
    limits.refusal = apiserver::Front::refusal;
    const std::string address = options_.settings.bind_address + ":" + std::to_string(options_.settings.bind_port);
    auto server = wire::Server::listen(address, tls_, loops, with_desk(front_->handler()), limits);
    if (!server) return fail(std::move(server.error()).with_context("listen on " + address));
    server_ = std::move(*server);
    hub_.serve_api(front_->handler(), limits);
    return {};
  }

  // Where a node may find this server: what it advertises and the names of its certificate.
  // What everybody is told: the endpoint that a person gave (a router's forwarded port, a dynamic name), then the
  // server's own address and names. A node that joined on the server's LAN finds it by the first when it roams.
  static std::vector<std::string> own_addresses(const bootstrap::ServerSettings& settings) {
    const std::string& endpoint = settings.control_plane_endpoint;
    std::vector<std::string> hosts = settings.extra_names, out;
    hosts.insert(hosts.begin(), settings.advertise_address);
    if (!endpoint.empty()) out.push_back(endpoint);
    for (const std::string& host : hosts) {
      const auto ip = Ip::parse(host);
      if (host == "localhost" || (ip && ip->is_loopback())) continue;  // another machine to everybody else
      if (endpoint.substr(0, endpoint.rfind(':')) == host) continue;   // it has another port there
      const bool v6 = host.find(':') != std::string::npos;
      out.push_back((v6 ? "[" + host + "]" : host) + ":" + std::to_string(settings.bind_port));
    }
    return out;
  }

  // Who wants to become a member has nothing to show but a token, which may have expired: the desk judges it before the
  // front would refuse it without a word about why.
  wire::Handler with_desk(wire::Handler front) {
    return [this, front = std::move(front)](std::shared_ptr<wire::Exchange> exchange) {
      const std::string_view path = exchange->request().path();
      if (path == bootstrap::hello_path) return desk_->serve_hello(*exchange);
      if (path == bootstrap::join_path) return desk_->serve_join(*exchange);
      front(std::move(exchange));
    };
  }

  // Only a node's own certificate opens that node's tunnel.
  void accept_tunnel(const std::shared_ptr<wire::Exchange>& exchange, const apiserver::User& user) {
    if (user.name.starts_with(kNodePrefix) && user.in_group("system:nodes"))
      return hub_.accept(exchange, user.name.substr(kNodePrefix.size()));
    exchange->respond(apiserver::Front::refusal(403, "a tunnel needs the certificate of a node"));
  }

  void start_loops() {
    caches_ = client::Caches::create(*client_, *workers_);
    runner_ = client::Runner::create(*caches_, *workers_);
    controllers::Options options;
    options.root_ca_pem = ca_pem_;
    options.cluster_cidrs = {options_.settings.pod_cidr};
    options.control_plane_node = options_.settings.node_name;
    options.read_request = read_request;
    options.sign = [this](const controllers::SigningOrder& order) { return sign(order); };
    options.machine_of_proof = bootstrap::id_of_proof;
    options.token_keys.sign = [](std::string_view id, std::string_view secret, std::string_view content) {
      return pki::sign_detached({std::string(id), std::string(secret)}, content);
    };
    options.token_keys.digest = [](std::string_view id, std::string_view secret) {
      return pki::token_digest({std::string(id), std::string(secret)});
    };
    controllers::add_all(*runner_, *client_, *caches_, std::move(options));
    scheduler_events_ = client::EventRecorder::create(*client_, *workers_, std::string(scheduler::default_scheduler));
    runner_->add(own_services(*client_, *caches_, options_.settings));
    runner_->add(scheduler::scheduling(*client_, *caches_, *scheduler_events_, *workers_));
  }

  // Somebody may be asking for its health.
  void stop_loops() {
    ready_ = false;
    std::unique_ptr<client::Runner> runner;
    const std::scoped_lock lock(runner_mutex_);
    runner = std::move(runner_);
  }

  Status loops_health() {
    const std::scoped_lock lock(runner_mutex_);
    if (ready_ && runner_ && runner_->started()) return {};
    return fail(unavailable("it is still starting: its picture of the cluster is not whole yet"));
  }

  static Result<controllers::RequestFacts> read_request(std::string_view request_pem) {
    DURE_TRY(const pki::SigningRequest request, pki::SigningRequest::from_pem(request_pem));
    const pki::AlternativeNames& names = request.names();
    return controllers::RequestFacts{request.subject().common_name,
                                     request.subject().organizations,
                                     names.dns_names,
                                     names.ips,
                                     names.emails,
                                     names.uris};
  }

  Result<std::string> sign(const controllers::SigningOrder& order) {
    DURE_TRY(const pki::SigningRequest request, pki::SigningRequest::from_pem(order.request_pem));
    pki::CertificateSpec spec;
    spec.subject = request.subject();
    spec.names = request.names();
    spec.usages = {.server_auth = false, .client_auth = false, .digital_signature = false, .key_encipherment = false};
    for (const std::string& usage : order.usages) {
      spec.usages.server_auth |= usage == "server auth";
      spec.usages.client_auth |= usage == "client auth";
      spec.usages.digital_signature |= usage == "digital signature";
      spec.usages.key_encipherment |= usage == "key encipherment";
    }
    const WallTime now = clock_->wall_now();
    const Duration life =
        order.expiration_seconds ? Duration(std::chrono::seconds(*order.expiration_seconds)) : kCertificateLife;
    spec.not_before = now - 5min;
    spec.not_after = now + std::min<Duration>(life, kCertificateLife);
    DURE_TRY(const pki::Certificate certificate, authority_->issue(spec, request.public_key(), *random_));
    return certificate.pem();
  }

  const ServerOptions options_;
  const std::unique_ptr<os::Disk> disk_;
  const std::unique_ptr<os::Random> random_;
  const std::unique_ptr<os::Clock> clock_;
  std::string ca_pem_;
  wire::TlsServerConfig tls_;
  std::unique_ptr<pki::Authority> authority_;
  std::unique_ptr<store::LogStore> store_;
  std::unique_ptr<run::Executor> workers_;  // reconciles, token checks, timers of the API
  std::unique_ptr<run::Executor> watches_;  // api -> caches
  std::vector<std::unique_ptr<run::LoopThread>> io_;
  tunnel::Hub hub_;
  HubDialer dialer_;
  std::unique_ptr<apiserver::Api> api_;
  std::unique_ptr<apiserver::Auth> auth_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<JoinDesk> desk_;
  std::unique_ptr<apiserver::Front> front_;
  std::unique_ptr<wire::Server> server_;
  std::unique_ptr<client::Caches> caches_;
  std::unique_ptr<client::EventRecorder> scheduler_events_;
  std::mutex runner_mutex_;  // of the pointer, once requests are served
  std::unique_ptr<client::Runner> runner_;
  std::atomic<bool> ready_ = false;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(ServerOptions options) {
  auto server = std::make_unique<ServerParts>(std::move(options));
  DURE_CHECK(server->build());
  return server;
}

}  // namespace dure::plane
