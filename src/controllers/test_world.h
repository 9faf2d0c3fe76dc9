// For tests: the control loops over the real resource path, with a player for the scheduler and the nodes' agents.
#pragma once

#include <map>
#include <optional>
#include <set>

#include "client/test_server.h"
#include "controllers/api.h"
#include "controllers/controllers.h"
#include "controllers/daemon_plan.h"
#include "controllers/pod_facts.h"
#include "kinds/views/coordination_v1.h"

namespace dure::controllers {

class World {
 public:
  explicit World(uint64_t seed = 1, Options options = {}) : server(seed), options_(std::move(options)) { start(); }

  // The control loops die and others take their place, knowing nothing.
  void restart() {
    runner.reset();
    caches.reset();
    start();
  }
  void settle() { server.executor.run_until_idle(); }
  // Lets time pass in steps, with the nodes at work.
  void pass(Duration time, Duration step = 1s) {
    for (Duration done = Duration::zero(); done < time; done += step) {
      server.executor.advance(step);
      play();
    }
  }
  // Alternates loops and nodes until nothing changes any more.
  void converge(int rounds_max = 200) {
    settle();
    for (int round = 0; round < rounds_max; ++round) {
      const auto revision = server.store->revision();
      play();
      settle();
      if (server.store->revision() == revision) return;
    }
    ADD_FAILURE() << "no end after " << rounds_max << " rounds, seed " << server.seed;
  }

  void add_node(const std::string& name, std::string_view labels = "{}") {
    server.make(core::nodes, R"({"metadata":{"name":")" + name + R"(","labels":)" + std::string(labels) + "}}");
    server.patch(core::nodes, name,
                 R"({"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady",
        "message":"ok","lastHeartbeatTime":")" +
                     now() + R"(","lastTransitionTime":")" + now() + R"("}]}})",
                 "status");
    nodes.insert(name);
  }
  std::string now() const { return format_time(server.executor.wall_now()); }
  void renew_lease(const std::string& node) {
    namespace coordination = kinds::coordination_v1;
    const std::string spec = R"("spec":{"holderIdentity":")" + node + R"(","leaseDurationSeconds":40,"renewTime":")" +
                             format_micro_time(server.executor.wall_now()) + R"("})";
    if (server.get(coordination::leases, node, "kube-node-lease"))
      server.patch(coordination::leases, node, "{" + spec + "}", "", "kube-node-lease");
    else
      server.make(coordination::leases, R"({"metadata":{"name":")" + node + R"("},)" + spec + "}", "kube-node-lease");
  }

  // One look of the scheduler and of every agent.
  void play() {
    for (const Object& object : server.list(core::pods)) {
      const core::Pod pod(object);
      const std::string node(pod.spec().nodeName());
      if (node.empty()) {
        if (schedules) bind(object);
      } else if (nodes.contains(node)) {
        play_agent(object);
      }
    }
  }

  std::vector<Object> pods(std::string labels = {}) { return server.list(core::pods, "default", std::move(labels)); }
  std::vector<Object> living(std::string labels = {}) { return active_pods(pods(std::move(labels))); }
  void set_phase(const Object& pod, std::string_view phase) {
    server.patch(core::pods, client::name_of(pod), R"({"status":{"phase":")" + std::string(phase) + R"("}})", "status",
                 client::namespace_of(pod));
  }

  client::TestServer server;
  std::unique_ptr<client::Caches> caches;
  std::unique_ptr<client::Runner> runner;
  std::set<std::string> nodes;  // whose agents live
  bool schedules = true;
  bool ready = true;                                                  // pods become ready
  bool dies_at_once = true;                                           // deleted pods are gone at the agent's next look
  std::function<std::optional<std::string>(const Object&)> phase_of;  // absent: Running

 private:
  void start() {
    caches = client::Caches::create(*server.client, server.executor);
    runner = client::Runner::create(*caches, server.executor);
    add_all(*runner, *server.client, *caches, options_);
  }

  void bind(const Object& pod) {
    if (client::is_terminating(pod)) return;
    std::string node = node_of(pod);
    if (node.empty() && !nodes.empty()) {
      auto at = nodes.begin();
      std::advance(at, static_cast<long>(next_node_++ % nodes.size()));
      node = *at;
    }
    if (!nodes.contains(node)) return;
    Document binding = server.document(core::bindings, R"({"metadata":{"name":")" + std::string(client::name_of(pod)) +
                                                           R"("},"target":{"kind":"Node","name":")" + node + R"("}})");
    auto bound = server.client->create_subresource(core::pods, client::key_of(pod), "binding", binding);
    EXPECT_TRUE(bound) << (bound ? "" : bound.error().message);
  }

  void play_agent(const Object& object) {
    const core::Pod pod(object);
    const std::string_view ns = client::namespace_of(object), name = client::name_of(object);
    if (client::is_terminating(object)) {
      if (!dies_at_once) return;
      client::DeleteOptions options;
      options.grace_period_seconds = 0;
      (void)server.client->remove(core::pods, client::key_of(object), options);
      return;
    }
    const std::string phase = (phase_of ? phase_of(object) : std::nullopt).value_or("Running");
    const bool is_up = phase == "Running" && ready;
    if (pod.status().phase() == phase && is_ready(pod) == is_up) return;
    if (is_finished(pod)) return;
    std::string ip(pod.status().podIP());
    if (ip.empty()) {
      ++addresses_;
      ip = "10.244." + std::to_string(addresses_ / 250) + "." + std::to_string(addresses_ % 250 + 1);
    }
    server.patch(core::pods, name,
                 R"({"status":{"phase":")" + phase + R"(","podIP":")" + ip + R"(","podIPs":[{"ip":")" + ip +
                     R"("}],"conditions":[{"type":"Ready","status":")" + (is_up ? "True" : "False") +
                     R"(","lastTransitionTime":")" + now() + R"("}]}})",
                 "status", ns);
  }

  Options options_;
  size_t next_node_ = 0;
  int addresses_ = 0;
};

inline std::string pod_template_json(std::string_view app, std::string_view image = "nginx:1") {
  return R"({"metadata":{"labels":{"app":")" + std::string(app) + R"("}},"spec":{"containers":[{"name":"c","image":")" +
         std::string(image) + R"("}]}})";
}

}  // namespace dure::controllers
