#include "sim/control_plane.h"

#include <fmt/format.h>

#include "apiserver/auth/bootstrap_policy.h"
#include "bootstrap/settings.h"
#include "controllers/controllers.h"
#include "pki/service_account_token.h"
#include "plane/cluster_objects.h"
#include "plane/in_process_client.h"
#include "scheduler/loop.h"

namespace dure::sim {
namespace {

constexpr const char* store_folder = "/var/lib/dure/store";
constexpr const char* ca_pem = "the certificate of the cluster's authority";

}  // namespace

// Members in the order of plane::Server's.
struct ControlPlane::Process {
  explicit Process(ControlPlane& machine)
      : executor(machine.executor_), commits(machine.executor_), background(machine.executor_) {}

  Status build(ControlPlane& machine) {
    store::LogOptions log;
    log.history.events_max = machine.options_.history_events;
    log.segment_bytes = machine.options_.segment_bytes;
    log.checkpoint_log_bytes = machine.options_.checkpoint_log_bytes;
    log.commit_executor = &commits;
    log.background_executor = &background;
    DURE_TRY(store, store::LogStore::open(store_folder, log, machine.disk_));
    if (machine.ran_before_) machine.truth_.check(*store, machine.journal_);
    pumped = std::make_unique<PumpedStore>(*store, commits, background, machine.truth_);

    apiserver::ApiOptions options;
    options.watch.events_max = machine.options_.watch_events;
    api = std::make_unique<apiserver::Api>(*pumped, executor, *machine.random_, std::move(options));
    apiserver::AuthOptions judges{.token_key = machine.token_key_, .issuer = pki::default_issuer("cluster.local")};
    auth = std::make_unique<apiserver::Auth>(std::move(judges), apiserver::cluster_state_of(*api), *machine.random_);
    DURE_CHECK(auth->attach(*api, executor));
    api->set_guards(auth->guards());
    DURE_CHECK(apiserver::ensure_bootstrap_objects(*api));

    auto self = std::make_shared<apiserver::User>();
    self->name = "system:apiserver";
    self->groups = {"system:masters", "system:authenticated"};
    admin = plane::in_process_client(*api, self, executor);
    bootstrap::ServerSettings settings;
    settings.advertise_address = "192.0.2.1";
    DURE_CHECK(plane::publish_cluster(*admin, settings, ca_pem));
    machine.own_link_.connect(plane::in_process_client(*api, self, machine.own_link_.lane()));
    for (const Member& member : machine.members_)
      member.link->connect(plane::in_process_client(*api, member.user, member.link->lane()));
    return {};
  }

  void start_loops(ControlPlane& machine) {
    client = machine.own_link_.client();
    caches = client::Caches::create(*client, executor);
    runner = client::Runner::create(*caches, executor);
    controllers::Options options;
    options.root_ca_pem = ca_pem;
    options.cluster_cidrs = {"10.244.0.0/16"};
    controllers::add_all(*runner, *client, *caches, std::move(options));
    events = client::EventRecorder::create(*client, executor, std::string(scheduler::default_scheduler));
    runner->add(scheduler::scheduling(*client, *caches, *events, executor));
  }

  run::Gate executor;
  PumpLane commits, background;
  std::unique_ptr<store::LogStore> store;
  std::unique_ptr<PumpedStore> pumped;
  std::unique_ptr<apiserver::Api> api;
  std::unique_ptr<apiserver::Auth> auth;
  std::unique_ptr<client::Client> admin, client;
  std::unique_ptr<client::Caches> caches;
  std::unique_ptr<client::EventRecorder> events;
  std::unique_ptr<client::Runner> runner;
};

ControlPlane::ControlPlane(run::VirtualExecutor& executor, Dice& dice, Journal& journal, uint64_t seed,
                           ControlPlaneOptions options)
    : executor_(executor),
      journal_(journal),
      options_(options),
      disk_(seed),
      random_(os::make_seeded_random(seed)),
      token_key_(pki::PrivateKey::generate().value()),
      own_link_("server", executor, dice, journal) {
  arm_disk();
}

ControlPlane::~ControlPlane() {
  if (up()) stop(Death::clean);
}

void ControlPlane::add(Link& link, apiserver::User user) {
  members_.push_back({&link, std::make_shared<const apiserver::User>(std::move(user))});
}

void ControlPlane::start() {
  own_link_.revive();
  process_ = std::make_unique<Process>(*this);
  if (Status built = process_->build(*this); !built) {
    journal_.violation(fmt::format("the server does not start: {}", built.error().message));
    stop(Death::kill);
    return;
  }
  ran_before_ = true;
  process_->start_loops(*this);
}

void ControlPlane::refuse() {
  own_link_.kill();
  for (const Member& member : members_) member.link->refuse();
}

// A dead process runs nothing and writes nothing: its gate shuts and its disk fails before its parts are taken down.
void ControlPlane::stop(Death death) {
  refuse();
  if (death != Death::clean) {
    process_->executor.close();
    disk_dead_ = true;
  }
  own_link_.disconnect();
  for (const Member& member : members_) member.link->disconnect();
  process_->runner.reset();
  process_->events.reset();
  process_->caches.reset();
  process_->client.reset();
  process_->auth.reset();
  process_.reset();
  disk_dead_ = false;
  disk_operations_left_ = 0;
  on_disk_death_ = nullptr;
  if (death == Death::power_loss) disk_.crash();
}

void ControlPlane::arm_disk() {
  disk_.set_fault([this](os::MemoryDisk::Operation, const std::string&) -> std::optional<Error> {
    if (!disk_dead_ && disk_operations_left_ > 0 && --disk_operations_left_ == 0) {
      disk_dead_ = true;
      if (auto told = std::exchange(on_disk_death_, nullptr)) told();
    }
    if (!disk_dead_) return std::nullopt;
    return Error{500, "DiskError", "Input/output error"};
  });
}

void ControlPlane::die_at_disk_operation(size_t count, std::function<void()> on_death) {
  disk_operations_left_ = count;
  on_disk_death_ = std::move(on_death);
}

void ControlPlane::die_after_own_calls(size_t count, std::function<void()> on_death) {
  own_link_.die_after(count, std::move(on_death));
}

bool ControlPlane::idle() const { return process_ && process_->runner->idle(); }
const store::LogStore* ControlPlane::store() const { return process_ ? process_->store.get() : nullptr; }
client::Client& ControlPlane::admin() { return *process_->admin; }

}  // namespace dure::sim
