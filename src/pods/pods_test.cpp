// The whole room over the in-memory runtime, on virtual time: what people see of a pod from its birth to its end.
#include "pods/pods.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cri/memory_runtime.h"
#include "cri/views/cri_v1.h"
#include "pods/node_status.h"
#include "pods/testing/world.h"
#include "run/loop.h"
#include "wire/grpc.h"

namespace dure::pods {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class World {
 public:
  explicit World(cri::MemoryRuntimeOptions runtime_options = {}) : api(executor), runtime(executor, runtime_options) {
    runtime.add_image("busybox:1");
    disk.make_directories("/etc").value();
    os::write_file_atomic(disk, "/etc/resolv.conf", "nameserver 192.0.2.53\nsearch lan\n").value();
    start_agent();
  }
  ~World() { stop_agent(); }

  void start_agent() {
    caches = client::Caches::create(*api.client, executor);
    events = client::EventRecorder::create(*api.client, executor, "kubelet", "n1");
    runner = client::Runner::create(*caches, executor);
    PodsOptions options;
    options.node.name = "n1";
    options.node.ips = {"192.0.2.10"};
    options.node.allocatable_cpu_milli = 4000;
    options.node.allocatable_memory = 4ll << 30;
    options.node_memory = 4ll << 30;
    options.cluster_dns.servers = {"10.96.0.10"};
    pods = std::make_unique<Pods>(
        PodsParts{*api.client, *caches, runtime, executor, executor, disk, *events, net, volumes(),
                  [this](const std::string& path) { removed.insert(path); return Status{}; },
                  [](const std::string&, int) { return Status{}; }},
        options);
    runner->add(pods->loop());
    pods->start(*runner);
    settle();
  }
  void stop_agent() {
    pods.reset();
    runner.reset();
    events.reset();
    caches.reset();
  }

  PodVolumes volumes() {
    PodVolumes out;
    out.mount = [this](const schema::Object& pod) -> Result<std::map<std::string, std::string>> {
      if (volume_error) return fail(*volume_error);
      std::map<std::string, std::string> paths;
      for (kinds::core_v1::Volume v : kinds::core_v1::Pod(pod).spec().volumes()) paths[std::string(v.name())] = "/vol/" + std::string(v.name());
      mounted.insert(std::string(client::uid_of(pod)));
      return paths;
    };
    out.sub_path = [](const schema::Object&, const std::string&, const std::string& path, const std::string& sub) -> Result<std::string> {
      return path + "/" + sub;
    };
    out.unmount = [this](const std::string& uid) { mounted.erase(uid); return Status{}; };
    out.uids = [this] { return std::vector<std::string>(mounted.begin(), mounted.end()); };
    return out;
  }

  void settle() { pass(50ms); }
  void pass(Duration time) { executor.advance(time); executor.run_until_idle(); }

  run::VirtualExecutor executor;
  testing::TestApi api;
  cri::MemoryRuntime runtime;
  os::MemoryDisk disk;
  testing::NoNet net;
  std::optional<Error> volume_error;
  std::set<std::string> mounted, removed;
  std::unique_ptr<client::Caches> caches;
  std::unique_ptr<client::EventRecorder> events;
  std::unique_ptr<client::Runner> runner;
  std::unique_ptr<Pods> pods;
};

constexpr const char* server = R"("containers":[{"name":"main","image":"busybox:1","command":["serve"]}])";

TEST(Pods, APodBecomesRunningAndReady) {
  World w;
  w.api.make_pod("web", server);
  w.settle();
  EXPECT_EQ(w.api.phase("web"), "Running");
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=0\n");
  for (const char* type : {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"})
    EXPECT_EQ(w.api.condition("web", type), "True") << type;
  const schema::Object object = w.api.pod("web");
  const kinds::core_v1::Pod pod(object);
  EXPECT_EQ(pod.status().podIP(), "10.244.1.2");
  EXPECT_EQ(pod.status().hostIP(), "192.0.2.10");
  EXPECT_EQ(pod.status().qosClass(), "BestEffort");
  for (auto s : pod.status().containerStatuses()) EXPECT_TRUE(s.containerID().starts_with("containerd://"));
  w.pass(5s);
  const auto events = w.api.events("web");
  EXPECT_THAT(events, Contains("Pulled Container image \"busybox:1\" already present on machine"));
  EXPECT_THAT(events, Contains("Created Created container: main"));
  EXPECT_THAT(events, Contains("Started Started container main"));
}

TEST(Pods, ARunningPodCostsNoWrites) {
  World w;
  w.api.make_pod("web", server);
  w.pass(10s);
  const auto before = w.api.store->revision();
  const int creates = w.runtime.calls("CreateContainer");
  w.pass(10min);
  EXPECT_EQ(w.api.store->revision(), before);
  EXPECT_EQ(w.runtime.calls("CreateContainer"), creates);
  EXPECT_EQ(w.runtime.calls("RunPodSandbox"), 1);
}

TEST(Pods, ACrashingContainerIsHeldBackLongerAndLonger) {
  World w;
  w.api.make_pod("bad", R"("containers":[{"name":"main","image":"busybox:1","command":["sh","-c","exit 3"]}])");
  w.pass(5s);
  EXPECT_EQ(w.api.containers("bad"), "main: waiting CrashLoopBackOff ready=false restarts=1\n");
  w.pass(8s);
  EXPECT_EQ(w.api.containers("bad"), "main: waiting CrashLoopBackOff ready=false restarts=2\n");
  w.pass(22s);
  EXPECT_EQ(w.api.containers("bad"), "main: waiting CrashLoopBackOff ready=false restarts=3\n");
  const schema::Object object = w.api.pod("bad");
  for (auto s : kinds::core_v1::Pod(object).status().containerStatuses()) {
    EXPECT_EQ(s.lastState().terminated().exitCode(), 3);
    EXPECT_THAT(std::string(s.state().waiting().message()), HasSubstr("back-off 40s restarting failed container=main pod=bad_default("));
  }
  EXPECT_EQ(w.api.phase("bad"), "Running");
}

TEST(Pods, RestartPoliciesDecideWhatAnEndMeans) {
  World w;
  w.api.make_pod("never", R"("restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1","command":["exit","3"]}])");
  w.api.make_pod("onfailure", R"("restartPolicy":"OnFailure","containers":[{"name":"main","image":"busybox:1","command":["exit","0"]}])");
  w.pass(5s);
  EXPECT_EQ(w.api.phase("never"), "Failed");
  EXPECT_EQ(w.api.containers("never"), "main: ended Error 3 ready=false restarts=0\n");
  EXPECT_EQ(w.api.phase("onfailure"), "Succeeded");
  EXPECT_EQ(w.api.condition("onfailure", "Ready"), "False PodCompleted");
  EXPECT_EQ(w.api.condition("onfailure", "Initialized"), "True PodCompleted");
  EXPECT_EQ(w.runtime.sandboxes(), 0u);
  EXPECT_TRUE(w.mounted.empty());
}

TEST(Pods, AnEndIsToldInTheContainersLastWords) {
  World w;
  for (const char* name : {"file", "log", "neither"})
    w.api.make_pod(name, R"("restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1","command":["serve"],
        "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":")" +
        std::string(name == std::string("neither") ? "File" : "FallbackToLogsOnError") + "\"}]");
  w.settle();
  for (const auto& running : w.runtime.running()) {
    schema::Document request(cri::v1::ContainerStatusRequest::type());
    cri::v1::ContainerStatusRequest(request).set_container_id(running.id);
    const auto answer = w.runtime.call("ContainerStatus", request, 1s);
    const auto status = cri::v1::ContainerStatusResponse(*answer).status();
    const std::string log(status.log_path());
    w.disk.make_directories(log.substr(0, log.rfind('/'))).value();
    os::write_file_atomic(w.disk, log, "2024-01-01T00:00:00.000000000Z stderr F no such file\n").value();
    for (auto mount : status.mounts())
      if (running.pod == "file" && mount.container_path() == "/dev/termination-log")
        os::write_file_atomic(w.disk, std::string(mount.host_path()), std::string(5000, 'x') + "the end").value();
    w.runtime.end_container(running.id, 3);
  }
  w.pass(5s);
  const auto message = [&](const char* name) {
    const schema::Object object = w.api.pod(name);
    for (auto s : kinds::core_v1::Pod(object).status().containerStatuses()) return std::string(s.state().terminated().message());
    return std::string("no status");
  };
  EXPECT_EQ(message("file"), std::string(4096 - 7, 'x') + "the end");
  EXPECT_EQ(message("log"), "no such file\n");
  EXPECT_EQ(message("neither"), "");
}

TEST(Pods, InitContainersRunInOrderBeforeTheRest) {
  World w;
  w.api.make_pod("init", R"("initContainers":[{"name":"one","image":"busybox:1","command":["sleep","5"]},
      {"name":"two","image":"busybox:1","command":["sleep","5"]}],
      "containers":[{"name":"main","image":"busybox:1","command":["serve"]}])");
  w.settle();
  EXPECT_EQ(w.api.containers("init"), "one: running ready=false restarts=0\ntwo: waiting PodInitializing ready=false restarts=0\n"
                                      "main: waiting PodInitializing ready=false restarts=0\n");
  EXPECT_EQ(w.api.condition("init", "Initialized"), "False ContainersNotInitialized");
  EXPECT_EQ(w.api.phase("init"), "Pending");
  w.pass(5s);
  EXPECT_THAT(w.api.containers("init"), HasSubstr("one: ended Completed 0 ready=true restarts=0\ntwo: running"));
  w.pass(6s);
  EXPECT_EQ(w.api.phase("init"), "Running");
  EXPECT_EQ(w.api.condition("init", "Initialized"), "True");
}

TEST(Pods, SidecarsStayAndEndAfterTheWork) {
  World w;
  w.api.make_pod("job", R"("restartPolicy":"Never","initContainers":[{"name":"proxy","image":"busybox:1","command":["serve"],"restartPolicy":"Always"}],
      "containers":[{"name":"main","image":"busybox:1","command":["sleep","5"]}])");
  w.settle();
  EXPECT_EQ(w.api.containers("job"), "proxy: running ready=true restarts=0\nmain: running ready=true restarts=0\n");
  w.pass(10s);
  EXPECT_EQ(w.api.phase("job"), "Succeeded");
  EXPECT_EQ(w.runtime.running().size(), 0u);
}

TEST(Pods, DeletionStopsGracefullyAndRemovesTheObject) {
  World w;
  w.api.make_pod("web", server);
  w.settle();
  ASSERT_TRUE(w.api.client->remove(kinds::core_v1::pods, {"default", "web"}));
  w.pass(2s);
  EXPECT_EQ(w.api.phase("web"), "gone");
  EXPECT_EQ(w.runtime.running().size(), 0u);
  EXPECT_EQ(w.runtime.sandboxes(), 0u);
  EXPECT_TRUE(w.mounted.empty());
  w.pass(2s);
  EXPECT_THAT(w.api.events("web"), Contains("Killing Stopping container main"));
}

TEST(Pods, AContainerThatCannotBeStoppedIsAskedAgainWithPauses) {
  World w;
  w.api.make_pod("web", server);
  w.settle();
  w.runtime.fail_next("StopContainer", {500, "InternalError", "unable to signal init"}, 1000);
  ASSERT_TRUE(w.api.client->remove(kinds::core_v1::pods, {"default", "web"}));
  for (int second = 0; second < 120 && w.runtime.calls("StopContainer") <= 25; ++second) w.pass(1s);
  EXPECT_GE(w.runtime.calls("StopContainer"), 8);
  EXPECT_LE(w.runtime.calls("StopContainer"), 25) << "a runtime in trouble is not helped by more calls";
}

TEST(Pods, PreStopSleepHoldsTheEndBack) {
  World w;
  w.api.make_pod("web", R"("terminationGracePeriodSeconds":60,"containers":[{"name":"main","image":"busybox:1","command":["serve"],
      "lifecycle":{"preStop":{"sleep":{"seconds":20}}}}])");
  w.settle();
  ASSERT_TRUE(w.api.client->remove(kinds::core_v1::pods, {"default", "web"}));
  w.pass(15s);
  EXPECT_EQ(w.runtime.running().size(), 1u);
  EXPECT_NE(w.api.phase("web"), "gone");
  w.pass(10s);
  EXPECT_EQ(w.api.phase("web"), "gone");
}

TEST(Pods, AnAgentThatRestartsAdoptsWhatRuns) {
  World w;
  w.api.make_pod("web", R"("containers":[{"name":"main","image":"busybox:1","command":["serve"],
      "readinessProbe":{"httpGet":{"port":80},"periodSeconds":10}}])");
  w.pass(15s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=0\n");
  const auto id = w.runtime.running().at(0).id;
  w.stop_agent();
  w.pass(10s);
  const auto revision = w.api.store->revision();
  w.start_agent();
  w.pass(20s);
  ASSERT_EQ(w.runtime.running().size(), 1u);
  EXPECT_EQ(w.runtime.running().at(0).id, id);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=0\n");
  EXPECT_EQ(w.api.store->revision(), revision) << "nothing changed, so nothing is written";
}

TEST(Pods, ARuntimeThatIsAwayChangesNothing) {
  World w;
  w.api.make_pod("web", server);
  w.settle();
  const auto id = w.runtime.running().at(0).id;
  w.runtime.set_down(true);
  w.pass(30s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=0\n");
  w.runtime.set_down(false);
  w.pass(10s);
  EXPECT_EQ(w.runtime.running().at(0).id, id);
  w.runtime.end_container(id, 1);
  w.pass(5s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=1\n");
}

TEST(Pods, APowerLossMakesANewSandbox) {
  World w;
  w.api.make_pod("web", server);
  w.settle();
  w.runtime.lose_power();
  w.pass(15s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=1\n");
  EXPECT_EQ(w.runtime.sandboxes(), 1u);
  w.pass(5s);
  EXPECT_THAT(w.api.events("web"), Contains("SandboxChanged Pod sandbox changed, it will be killed and re-created."));
}

TEST(Pods, LivenessRestartsAndReadinessHidesOnly) {
  World w;
  w.api.make_pod("web", R"("containers":[{"name":"main","image":"busybox:1","command":["serve"],
      "livenessProbe":{"exec":{"command":["check"]},"periodSeconds":5,"failureThreshold":2},
      "readinessProbe":{"tcpSocket":{"port":80},"periodSeconds":5,"failureThreshold":1}}])");
  w.pass(10s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=0\n");
  w.net.answer = {false, "connection refused"};
  w.pass(10s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=false restarts=0\n");
  EXPECT_EQ(w.api.condition("web", "Ready"), "False ContainersNotReady");
  w.net.answer = {true, ""};
  w.runtime.set_exec([](auto&, auto&) { return cri::MemoryExec{1, "not well", ""}; });
  w.pass(11s);
  w.runtime.set_exec({});
  w.pass(8s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=1\n");
  const auto events = w.api.events("web");
  EXPECT_THAT(events, Contains("Unhealthy Liveness probe failed: not well"));
  EXPECT_THAT(events, Contains("Unhealthy Readiness probe failed: connection refused"));
  EXPECT_THAT(events, Contains("Killing Container main failed liveness probe, will be restarted"));
}

TEST(Pods, StartupProbeHoldsTheOthersBack) {
  World w;
  w.runtime.set_exec([](auto&, auto&) { return cri::MemoryExec{1, "", ""}; });
  w.api.make_pod("web", R"("containers":[{"name":"main","image":"busybox:1","command":["serve"],
      "startupProbe":{"exec":{"command":["up"]},"periodSeconds":1,"failureThreshold":100},
      "livenessProbe":{"exec":{"command":["check"]},"periodSeconds":1,"failureThreshold":1}}])");
  w.pass(20s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=false restarts=0\n");
  w.runtime.set_exec({});
  w.pass(5s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=0\n");
}

TEST(Pods, ImagesThatCannotBeHadAreTriedAgain) {
  World w;
  w.api.make_pod("web", R"("containers":[{"name":"main","image":"nothing:1","command":["serve"]}])");
  w.pass(500ms);
  EXPECT_EQ(w.api.containers("web"), "main: waiting ErrImagePull ready=false restarts=0\n");
  w.pass(3s);
  EXPECT_EQ(w.api.containers("web"), "main: waiting ImagePullBackOff ready=false restarts=0\n");
  w.runtime.add_registry_image("nothing:1");
  w.pass(10s);
  EXPECT_EQ(w.api.phase("web"), "Running");
  w.pass(3s);
  const auto events = w.api.events("web");
  EXPECT_THAT(events, Contains("Pulling Pulling image \"nothing:1\""));
  EXPECT_THAT(events, Contains("Failed Error: ErrImagePull"));
  EXPECT_THAT(events, Contains("Failed Error: ImagePullBackOff"));
  EXPECT_THAT(events, Contains("BackOff Back-off pulling image \"nothing:1\""));
}

TEST(Pods, PullPolicyNeverSaysSo) {
  World w;
  w.api.make_pod("web", R"("containers":[{"name":"main","image":"other:1","imagePullPolicy":"Never"}])");
  w.pass(1s);
  EXPECT_EQ(w.api.containers("web"), "main: waiting ErrImageNeverPull ready=false restarts=0\n");
  EXPECT_EQ(w.runtime.calls("PullImage"), 0);
}

TEST(Pods, MissingConfigMapsAreNamedAndWaitedFor) {
  World w;
  w.api.make_pod("web", R"("containers":[{"name":"main","image":"busybox:1","command":["serve"],
      "env":[{"name":"COLOR","valueFrom":{"configMapKeyRef":{"name":"settings","key":"color"}}},{"name":"SAY","value":"$(COLOR)!"}]}])");
  w.pass(2s);
  EXPECT_EQ(w.api.containers("web"), "main: waiting CreateContainerConfigError ready=false restarts=0\n");
  EXPECT_THAT(w.api.events("web"), Contains("Failed Error: configmap \"settings\" not found"));
  w.api.make(kinds::core_v1::configmaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"color":"blue"}})", "default");
  w.pass(10s);
  ASSERT_EQ(w.runtime.running().size(), 1u);
  EXPECT_THAT(w.runtime.running().at(0).env, Contains(std::pair<std::string, std::string>("SAY", "blue!")));
}

TEST(Pods, VolumesThatFailHoldThePod) {
  World w;
  w.volume_error = Error{404, "NotFound", "MountVolume.SetUp failed for volume \"v\" : configmap \"x\" not found"};
  w.api.make_pod("web", server);
  w.pass(5s);
  EXPECT_EQ(w.api.containers("web"), "main: waiting ContainerCreating ready=false restarts=0\n");
  EXPECT_THAT(w.api.events("web"), Contains("FailedMount MountVolume.SetUp failed for volume \"v\" : configmap \"x\" not found"));
  w.volume_error.reset();
  w.pass(10s);
  EXPECT_EQ(w.api.phase("web"), "Running");
}

TEST(Pods, WhatRunsWithoutAPodIsRetired) {
  World w;
  w.api.make_pod("web", server);
  w.settle();
  w.stop_agent();
  client::DeleteOptions now;
  now.grace_period_seconds = 0;
  ASSERT_TRUE(w.api.client->remove(kinds::core_v1::pods, {"default", "web"}, now));
  EXPECT_EQ(w.runtime.running().size(), 1u);
  w.start_agent();
  w.pass(5s);
  EXPECT_EQ(w.runtime.running().size(), 0u);
  EXPECT_EQ(w.runtime.sandboxes(), 0u);
}

TEST(Pods, HostPortsOfTwoPodsClash) {
  World w;
  const char* spec = R"("containers":[{"name":"main","image":"busybox:1","command":["serve"],"ports":[{"containerPort":80,"hostPort":8080}]}])";
  w.api.make_pod("a", spec);
  w.pass(2s);
  w.api.make_pod("b", spec);
  w.pass(2s);
  EXPECT_EQ(w.api.phase("a"), "Running");
  EXPECT_EQ(w.api.phase("b"), "Failed");
  const schema::Object object = w.api.pod("b");
  EXPECT_EQ(kinds::core_v1::Pod(object).status().reason(), "NodePorts");
  // The ports of a sidecar count, those of a plain init container do not.
  const auto beside = [](const std::string& words) {
    return R"("initContainers":[{"name":"first","image":"busybox:1","command":["exit","0"],)" + words + R"("ports":[{"containerPort":80,
      "hostPort":8080,"hostIP":"192.0.2.10"}]}],"containers":[{"name":"main","image":"busybox:1","command":["serve"]}])";
  };
  w.api.make_pod("c", beside(R"("restartPolicy":"Always",)"));
  w.api.make_pod("d", beside(""));
  w.pass(5s);
  EXPECT_EQ(w.api.phase("c"), "Failed");
  EXPECT_EQ(w.api.phase("d"), "Running");
}

TEST(ProbeNet, AsksTheGrpcHealthService) {
  run::LoopThread server_thread("server"), client_thread("client");
  std::shared_ptr<wire::Exchange> silent;
  const auto handle = [&](std::shared_ptr<wire::Exchange> exchange) {
    if (exchange->request().target != "/grpc.health.v1.Health/Check") return exchange->abort();
    const std::string body = exchange->request().body.substr(5);
    if (body == "\x0a\x04slow") {
      silent = std::move(exchange);
      return;
    }
    if (body == "\x0a\x04none") {
      wire::Response response;
      response.headers = wire::grpc_trailers(5, "unknown service");
      return exchange->respond(std::move(response));
    }
    exchange->start(200, {});
    exchange->write(SharedBytes(wire::grpc_frame(body.empty() ? "\x08\x01" : body == "\x0a\x02" "db" ? "\x08\x02" : "\x08\x03")));
    exchange->finish_with_trailers(wire::grpc_trailers(0));
  };
  auto server = wire::Server::listen("127.0.0.1:0", std::nullopt, {&server_thread.loop()}, handle).value();
  const auto net = make_probe_net(client_thread.loop());
  const auto asked = [&](const char* service, Duration timeout = 5s) {
    return net->grpc("127.0.0.1", server->port(), service, timeout);
  };
  EXPECT_TRUE(asked("").ok);
  EXPECT_EQ(asked("db").text, "service unhealthy (responded with \"NOT_SERVING\")");
  EXPECT_EQ(asked("none").text, "error: health rpc probe failed: NotFound: unknown service");
  EXPECT_EQ(asked("slow", 100ms).text.substr(0, 40), "timeout: health rpc did not complete wit");
  const int port = server->port();
  server.reset();
  EXPECT_FALSE(net->grpc("127.0.0.1", port, "", 1s).ok);
}

TEST(ProbeNet, SaysWhyNobodyAnswersInTheWordsOfUpstream) {
  run::LoopThread thread("client");
  const int port = wire::Server::listen("127.0.0.1:0", std::nullopt, {&thread.loop()}, [](auto) {}).value()->port();
  const auto net = make_probe_net(thread.loop());
  const std::string refused = fmt::format("dial tcp 127.0.0.1:{}: connect: connection refused", port);
  EXPECT_EQ(net->tcp("127.0.0.1", port, 5s).text, refused);
  ProbeNet::Http request{.scheme = "http", .host = "127.0.0.1", .path = "/healthz", .port = port};
  EXPECT_EQ(net->http(request, 5s).text, fmt::format("Get \"http://127.0.0.1:{}/healthz\": {}", port, refused));
}

TEST(Pods, ServiceVariablesAndClusterDns) {
  World w;
  w.api.make(kinds::core_v1::services, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"kubernetes"},"spec":{"clusterIP":"10.96.0.1","ports":[{"name":"https","port":443,"protocol":"TCP"}]}})", "default");
  w.pass(1s);
  w.api.make_pod("web", server);
  w.pass(2s);
  ASSERT_EQ(w.runtime.running().size(), 1u);
  EXPECT_THAT(w.runtime.running().at(0).env, Contains(std::pair<std::string, std::string>("KUBERNETES_SERVICE_HOST", "10.96.0.1")));
  EXPECT_THAT(w.runtime.running().at(0).env, Contains(std::pair<std::string, std::string>("KUBERNETES_PORT_443_TCP", "tcp://10.96.0.1:443")));
}

// Failures at every step of a start heal without leaving anything behind.
TEST(Pods, AnyCallMayFailOnce) {
  for (const char* method : {"RunPodSandbox", "CreateContainer", "StartContainer", "ImageStatus", "ListContainers", "ListPodSandbox"}) {
    World w;
    w.runtime.fail_next(method, {500, "Unknown", "it broke"});
    w.api.make_pod("web", server);
    w.pass(60s);
    EXPECT_EQ(w.api.phase("web"), "Running") << method;
    EXPECT_EQ(w.runtime.running().size(), 1u) << method;
    EXPECT_EQ(w.runtime.sandboxes(), 1u) << method;
    ASSERT_TRUE(w.api.client->remove(kinds::core_v1::pods, {"default", "web"}));
    w.pass(60s);
    EXPECT_EQ(w.api.phase("web"), "gone") << method;
  }
}

TEST(Pods, AnEventThatComesBeforeItsEffectIsFollowedUp) {
  World w(cri::MemoryRuntimeOptions{.event_lead = 300ms});
  w.api.make_pod("web", R"("restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1","command":["sleep","20"]}])");
  w.pass(19s);
  EXPECT_EQ(w.api.phase("web"), "Running");
  w.pass(2s);
  EXPECT_EQ(w.api.phase("web"), "Succeeded");
}

TEST(Pods, WithoutRuntimeEventsTheRelistFindsEnds) {
  World w(cri::MemoryRuntimeOptions{.events = false});
  w.api.make_pod("web", server);
  w.pass(3s);
  w.runtime.end_container(w.runtime.running().at(0).id, 1);
  w.pass(3s);
  EXPECT_EQ(w.api.containers("web"), "main: running ready=true restarts=1\n");
}

// `kubectl logs` at the moment when a container ends.
TEST(Pods, WhoLooksAtAPodTakesNoNewsFromItsWorker) {
  World w(cri::MemoryRuntimeOptions{.events = false});
  w.api.make_pod("web", R"("restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1","command":["serve"]}])");
  w.pass(3s);
  w.runtime.end_container(w.runtime.running().at(0).id, 0);
  const std::string uid(client::uid_of(w.api.pod("web")));
  EXPECT_FALSE(w.pods->runtime_state().look_at(uid).value()->any_running());
  w.pass(3s);
  EXPECT_EQ(w.api.phase("web"), "Succeeded");
}

TEST(Nodes, ComeBackAtOnceAfterTheServerGaveThemUp) {
  run::VirtualExecutor executor;
  testing::TestApi api(executor);
  bool cut = false;
  int requests = 0;
  apiserver::ApiGuards guards;
  guards.authorize = [&](const apiserver::User& user, const apiserver::Attributes&) {
    ++requests;
    return apiserver::Verdict{!cut || user.name != "system:node:n1", ""};
  };
  api.api.set_guards(std::move(guards));
  cri::MemoryRuntime runtime(executor, {});
  os::MemoryDisk disk;
  const auto agent = plane::in_process_client(api.api, std::make_shared<apiserver::User>(apiserver::User{.name = "system:node:n1"}), executor);
  NodeOptions options;
  options.name = "n1";
  options.ips = {"192.0.2.10"};
  options.memory_bytes = 4ll << 30;
  options.ephemeral_storage_bytes = 100ll << 30;
  const auto events = client::EventRecorder::create(*agent, executor, "kubelet");
  NodeStatus status(*agent, runtime, executor, executor, disk, *events, options);
  status.start();
  const auto pass = [&](Duration time) {
    executor.advance(time);
    executor.run_until_idle();
  };
  const auto ready = [&] {
    auto node = api.client->get(kinds::core_v1::nodes, {"", "n1"});
    for (auto c : kinds::core_v1::Node(*node).status().conditions())
      if (c.type() == "Ready") return std::string(c.status());
    return std::string("none");
  };
  pass(15s);
  ASSERT_EQ(ready(), "True");
  cut = true;
  pass(60s);
  ASSERT_TRUE(api.client->patch(kinds::core_v1::nodes, {"", "n1"}, client::PatchType::strategic,
                                R"({"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown","message":"x"}]}})", "status"));
  ASSERT_EQ(ready(), "Unknown");
  cut = false;
  pass(5s);
  EXPECT_EQ(ready(), "True");
  // At rest the Lease is renewed, and nothing else is asked or written.
  requests = 0;
  pass(60s);
  EXPECT_LE(requests, 7);
}

}  // namespace
}  // namespace dure::pods
