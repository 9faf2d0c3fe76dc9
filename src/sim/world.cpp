#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace dure::sim {
namespace {

ControlPlaneOptions draw_options(Dice dice) {
  ControlPlaneOptions options;
  if (dice.one_in(3)) options.history_events = static_cast<size_t>(dice.between(32, 512));
  if (dice.one_in(3)) options.watch_events = static_cast<size_t>(dice.between(16, 256));
  if (dice.one_in(2)) {
    options.segment_bytes = 128 << 10;
    options.checkpoint_log_bytes = 64 << 10;
  }
  return options;
}

}  // namespace

World::World(WorldOptions options)
    : options_(options),
      dice_(options.seed),
      executor_(options.seed),
      began_(executor_.now()),
      journal_([this] { return age(); }),
      server_(executor_, dice_, journal_, options.seed, draw_options(Dice(options.seed + 1))),
      user_link_("user", executor_, dice_, journal_),
      user_(user_link_.client()),
      workload_(*user_, dice_, journal_),
      audit_(executor_, dice_, journal_, server_, nodes_) {
  const apiserver::User admin{.name = "kubernetes-admin", .groups = {"system:masters", "system:authenticated"}};
  server_.add(user_link_, admin);
  server_.add(audit_.link(), admin);
  for (int number = 1; number <= options_.nodes; ++number) {
    nodes_.push_back(std::make_unique<SimNode>(number, executor_, dice_, journal_));
    SimNode& node = *nodes_.back();
    server_.add(node.link(),
                {.name = "system:node:" + node.name(), .groups = {"system:nodes", "system:authenticated"}});
    node.link().set_meanwhile([this] { meanwhile(); });
  }
  server_.own_link().set_meanwhile([this] { meanwhile(); });
  server_.own_link().set_faults({.watch_lag = dice_.one_in(2) ? 3u : 0u, .lag_max = 1s});
}

World::~World() {
  for (auto& node : nodes_) node->kill_agent();
  if (server_.up()) server_.stop(Death::clean);  // it holds everybody's links, which go before it
}

Duration World::age() const { return executor_.now() - began_; }

std::string World::summary() const {
  return fmt::format(
      "seed {}: {:.0f} virtual seconds, {} faults, the server died {} times, agents {} times, {} objects, digest "
      "{:016x}",
      options_.seed, std::chrono::duration<double>(age()).count(), faults_, server_deaths_, agent_deaths_,
      server_.truth().size(), journal_.digest());
}

bool World::run() {
  return come_up() && act() && settle("after the storm") && stay_quiet() &&
         (workload_.end_everything(), settle("after everything was deleted"));
}

void World::pass(Duration time) {
  const Monotonic end = executor_.now() + time;
  while (executor_.now() < end && journal_.clean()) {
    executor_.advance(std::min<Duration>(1s, end - executor_.now()));
    executor_.run_until_idle();
    audit_.tick();
  }
}

void World::later(Duration delay, run::Work work) { timers_.push_back(executor_.after(delay, std::move(work))); }

bool World::come_up() {
  server_.start();
  audit_.start();
  for (auto& node : nodes_) node->start_agent();
  workload_.begin();
  return settle("at the beginning");
}

bool World::act() {
  stormy_ = true;
  for (auto& node : nodes_)
    node->link().set_faults({.lost_request = dice_.one_in(2) ? 50u : 0u,
                             .lost_answer = dice_.one_in(2) ? 50u : 0u,
                             .watch_lag = dice_.one_in(2) ? 3u : 0u,
                             .lag_max = 3s});
  for (int step = 0; step < options_.steps && journal_.clean(); ++step) {
    if (dice_.one_in(3))
      fault();
    else
      workload_.act();
    pass(dice_.one_in(3) ? Duration::zero() : dice_.between(Duration::zero(), Duration(15s)));
  }
  stormy_ = false;
  heal();
  return journal_.clean();
}

// Users act at any moment, also between two writes of somebody else.
void World::meanwhile() {
  if (stormy_ && dice_.one_in(150)) workload_.interfere();
}

// --- Faults

void World::fault() {
  ++faults_;
  SimNode& node = *dice_.pick(nodes_);
  switch (dice_.below(12)) {
    case 0:
    case 1:
      return kill_agent(node);
    case 2:
    case 3:
      return cut(node);
    case 4:
    case 5:
      return crash_container(node);
    case 6:
      return trouble_runtime(node);
    case 7:
      journal_.note(fmt::format("{} loses power", node.name()));
      node.lose_power();
      ++agent_deaths_;
      return agent_returns_after(node, dice_.one_in(3) ? dice_.between(Duration(60s), Duration(400s))
                                                       : dice_.between(Duration(1s), Duration(20s)));
    case 8:
      return kill_server(dice_.one_in(3) ? Death::clean : dice_.one_in(2) ? Death::kill : Death::power_loss);
    case 9: {
      if (!server_.up()) return;
      const Death death = dice_.one_in(3) ? Death::kill : Death::power_loss;
      const size_t count = static_cast<size_t>(dice_.between(1, 40));
      journal_.note(fmt::format("the server will die at its disk operation {}", count));
      return server_.die_at_disk_operation(count, [this, death] { server_died(death); });
    }
    case 10: {
      if (!server_.up()) return;
      const size_t count = static_cast<size_t>(dice_.between(1, 60));
      journal_.note(fmt::format("the server will die after {} calls of its loops", count));
      return server_.die_after_own_calls(count, [this] { server_died(Death::power_loss); });
    }
    case 11:
      journal_.note(fmt::format("watches of {} and of the server's loops break", node.name()));
      node.link().break_watches();
      return server_.own_link().break_watches();
  }
}

void World::kill_server(Death death) {
  if (!server_.up()) return;
  constexpr const char* names[] = {"stops", "is killed", "loses power"};
  journal_.note(fmt::format("the server {}", names[static_cast<int>(death)]));
  ++server_deaths_;
  server_.stop(death);
  server_returns_after(dice_.one_in(4) ? dice_.between(Duration(30s), Duration(90s))
                                       : dice_.between(Duration::zero(), Duration(10s)));
}

void World::server_died(Death death) {
  journal_.note("the server dies in the middle of something");
  server_.refuse();
  executor_.post([this, death] {
    if (server_.up()) kill_server(death);
  });
}

void World::server_returns_after(Duration delay) {
  later(delay, [this] {
    if (server_.up()) return;
    server_.start();
    journal_.note("the server is back");
  });
}

void World::kill_agent(SimNode& node) {
  if (!node.agent_up()) return;
  ++agent_deaths_;
  const Duration away =
      dice_.one_in(4) ? dice_.between(Duration(45s), Duration(400s)) : dice_.between(Duration::zero(), Duration(10s));
  if (dice_.one_in(2)) {
    journal_.note(fmt::format("the agent of {} is killed", node.name()));
    node.kill_agent();
    return agent_returns_after(node, away);
  }
  const size_t count = static_cast<size_t>(dice_.between(1, 20));
  journal_.note(fmt::format("the agent of {} will die with its call {}", node.name(), count));
  node.link().die_after(count, [this, &node, away] {
    journal_.note(fmt::format("the agent of {} dies in the middle of something", node.name()));
    executor_.post([this, &node, away] {
      node.kill_agent();
      agent_returns_after(node, away);
    });
  });
}

void World::agent_returns_after(SimNode& node, Duration delay) {
  later(delay, [this, &node] {
    if (node.agent_up()) return;
    node.start_agent();
    journal_.note(fmt::format("the agent of {} is back", node.name()));
  });
}

void World::cut(SimNode& node) {
  if (node.link().is_cut()) return;
  // 40 s: NotReady; 300 s later: its pods are evicted.
  const Duration lengths[] = {3s, 20s, 60s, 120s, 420s};
  const Duration length = dice_.pick(lengths);
  journal_.note(fmt::format("{} is cut off for {} s", node.name(), length / 1s));
  node.link().cut();
  later(length, [this, &node] {
    if (!node.link().is_cut()) return;
    journal_.note(fmt::format("{} is connected again", node.name()));
    node.link().heal();
  });
}

void World::crash_container(SimNode& node) {
  const auto all = node.running();
  if (all.empty()) return;
  const SimNode::Running& one = dice_.pick(all);
  const int exit_code = dice_.one_in(3) ? 0 : 137;
  journal_.note(
      fmt::format("a container of {}/{} on {} ends with {}", one.namespace_, one.pod, node.name(), exit_code));
  node.runtime().end_container(one.id, exit_code);
}

void World::trouble_runtime(SimNode& node) {
  const Error broken{500, "Unknown", "the runtime failed"};
  switch (dice_.below(3)) {
    case 0: {
      constexpr const char* methods[] = {"RunPodSandbox",   "CreateContainer",  "StartContainer", "StopContainer",
                                         "StopPodSandbox",  "RemovePodSandbox", "PullImage",      "ListPodSandbox",
                                         "RemoveContainer", "ContainerStatus"};
      const char* method = dice_.pick(methods);
      journal_.note(fmt::format("the next calls of {} fail on {}", method, node.name()));
      return node.runtime().fail_next(method, broken, static_cast<int>(dice_.between(1, 4)));
    }
    case 1:
      journal_.note(fmt::format("the network of {} is not ready", node.name()));
      node.runtime().set_network_ready(false);
      return later(dice_.between(Duration(1s), Duration(60s)), [&node] { node.runtime().set_network_ready(true); });
    case 2:
      journal_.note(fmt::format("the runtime of {} is away", node.name()));
      node.runtime().set_down(true);
      return later(dice_.between(Duration(1s), Duration(60s)), [this, &node] {
        journal_.note(fmt::format("the runtime of {} answers again", node.name()));
        node.runtime().set_down(false);
      });
  }
}

void World::heal() {
  journal_.note("the storm is over");
  timers_.clear();
  server_.die_at_disk_operation(0, nullptr);
  server_.own_link().set_faults({});
  if (server_.up()) server_.own_link().die_after(0, nullptr);
  executor_.run_until_idle();  // who was about to die does
  timers_.clear();
  if (!server_.up()) server_.start();
  for (auto& node : nodes_) {
    node->link().set_faults({});
    node->link().heal();
    node->link().die_after(0, nullptr);
    node->runtime().set_down(false);
    node->runtime().set_network_ready(true);
    if (!node->agent_up()) node->start_agent();
  }
}

// --- Rest

bool World::settle(std::string_view what) {
  const Monotonic begun = executor_.now();
  std::string trouble;
  int insisted = 0;
  while (executor_.now() - begun < options_.settle_max && journal_.clean()) {
    const bool as_wanted = insisted++ % 10 == 0 ? workload_.insist() : true;
    executor_.run_until_idle();
    trouble = audit_.why_not_settled(workload_);
    if (trouble.empty() && as_wanted && workload_.insist()) {
      journal_.note(fmt::format("settled {} in {} s", what, (executor_.now() - begun) / 1s));
      return true;
    }
    pass(2s);
  }
  if (journal_.clean())
    journal_.violation(fmt::format("not settled {} within {} min: {}", what, options_.settle_max / 1min, trouble));
  return false;
}

// Nodes report every five minutes; nobody else has a reason to write.
bool World::stay_quiet() {
  pass(60s);
  (void)server_.truth().take_written();
  pass(120s);
  for (const std::string& key : server_.truth().take_written())
    if (!key.starts_with("/registry/minions/"))
      journal_.violation(fmt::format("{} was written although nothing happened", key));
  if (const std::string trouble = audit_.why_not_settled(workload_); !trouble.empty())
    journal_.violation(fmt::format("unsettled without a reason: {}", trouble));
  return journal_.clean();
}

}  // namespace dure::sim
