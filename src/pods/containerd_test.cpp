// The room on a real containerd: pods of Debian's static busybox, in namespaces of their own. Skipped where there is no root or no containerd.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "cri/conformance.h"
#include "cri/testing/private_containerd.h"
#include "kernel/mounts.h"
#include "pods/hooks.h"
#include "pods/image_archive.h"
#include "pods/kubelet_api.h"
#include "pods/node_status.h"
#include "kinds/views/coordination_v1.h"
#include "pods/log_reader.h"
#include "pods/testing/world.h"
#include "volumes/files.h"
#include "volumes/volumes.h"
#include "wire/http.h"

namespace dure::pods {
namespace {

using ::testing::HasSubstr;
constexpr const char* busybox_image = "localhost/busybox:1";

std::string read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string busybox_archive() {
  ImageRecipe recipe;
  recipe.name = busybox_image;
  const bool in_bin = std::filesystem::exists("/bin/busybox");
  recipe.files.push_back({"bin/busybox", read_whole(in_bin ? "/bin/busybox" : "/usr/bin/busybox"), 0755});
  for (const char* tool : {"sh", "sleep", "true", "false", "cat", "echo", "env", "id", "ls", "httpd", "hostname", "ps", "grep", "touch", "dd", "stat", "mkdir", "yes", "head", "date"})
    recipe.files.push_back({std::string("bin/") + tool, "", 0755, "busybox"});
  recipe.files.push_back({"etc/passwd", "root:x:0:0:root:/:/bin/sh\n", 0644});
  recipe.files.push_back({"tmp/.keep", "", 0644});
  recipe.command = {"/bin/sh"};
  return image_archive(recipe);
}

void nap(Duration time) { std::this_thread::sleep_for(time); }

// One node: our API in process, a real containerd, real files.
class Node {
 public:
  Node()
      : containerd(std::string(pause_image_name)), loop("loop"), pool(run::make_pool("jobs", 8)), reconcilers(run::make_pool("reconcile", 8)),
        disk(os::make_disk()), mounts(kernel::linux_mounts()), api(*pool), runtime(cri::connect(loop.loop(), containerd.endpoint())) {
    EXPECT_TRUE(import_image(containerd.endpoint(), pause_image_archive()));
    EXPECT_TRUE(import_image(containerd.endpoint(), busybox_archive()));
    start_agent();
  }
  ~Node() {
    stop_agent();
    for (const RuntimePodPtr& pod : leftovers()) {
      for (const RuntimeSandbox& s : pod->sandboxes) {
        schema::Document stop(cri::v1::StopPodSandboxRequest::schema_type()), remove(cri::v1::RemovePodSandboxRequest::schema_type());
        cri::v1::StopPodSandboxRequest(stop).set_pod_sandbox_id(s.id);
        cri::v1::RemovePodSandboxRequest(remove).set_pod_sandbox_id(s.id);
        (void)runtime->call("StopPodSandbox", stop);
        (void)runtime->call("RemovePodSandbox", remove);
      }
    }
  }
  std::vector<RuntimePodPtr> leftovers() {
    RuntimeState state(*runtime, *disk);
    (void)state.refresh();
    return state.all();
  }

  void start_agent() {
    net = make_probe_net(loop.loop());
    caches = client::Caches::create(*api.client, *pool);
    events = client::EventRecorder::create(*api.client, *pool, "kubelet", "n1");
    runner = client::Runner::create(*caches, *reconcilers);
    volumes::PodFacts facts;
    facts.field = [](const schema::Object& pod, std::string_view path) {
      return field_value(kinds::core_v1::Pod(pod), path, NodeFacts{"n1", {"192.0.2.10"}}, {});
    };
    facts.resource = [](const schema::Object& pod, std::string_view container, std::string_view resource, std::string_view divisor) {
      return resource_value(kinds::core_v1::Pod(pod), container, resource, divisor, NodeFacts{});
    };
    volumes::VolumesOptions volume_options;
    volume_options.root = containerd.folder + "/kubelet";
    files = std::make_unique<volumes::Volumes>(*api.client, *pool, *pool, *mounts, facts, volume_options);
    PodVolumes functions;
    functions.mount = [this](const schema::Object& pod) { return files->mount(pod); };
    functions.sub_path = [this](const schema::Object& pod, const std::string& v, const std::string& p, const std::string& s) {
      return files->sub_path(pod, v, p, s);
    };
    functions.unmount = [this](const std::string& uid) { return files->unmount(uid); };
    functions.uids = [this] { return files->uids(); };
    PodsOptions options;
    options.node.name = "n1";
    options.node.ips = {"192.0.2.10"};
    options.root = containerd.folder + "/kubelet";
    options.pod_log_root = containerd.folder + "/logs";
    options.cgroup_root = std::getenv("DURE_TEST_CGROUP");
    options.cluster_dns.servers = {"10.96.0.10"};
    options.log_bytes_max = 64 << 10;
    pods = std::make_unique<Pods>(PodsParts{*api.client, *caches, *runtime, loop.loop(), *pool, *disk, *events, *net, functions,
                                            [this](const std::string& path) { return files->remove_tree(path); },
                                            [](const std::string& path, int mode) { return volumes::set_mode(path, static_cast<mode_t>(mode)); }},
                                  options);
    runner->add(pods->loop());
    pods->start(*runner);
  }
  void stop_agent() {
    pods.reset();
    runner.reset();
    files.reset();
    events.reset();
    caches.reset();
  }

  bool wait(const std::function<bool()>& met, Duration patience = 30s) {
    for (int i = 0; i < patience / 20ms; ++i) {
      if (met()) return true;
      nap(20ms);
    }
    return false;
  }
  bool ready(const std::string& name) {
    return wait([&] { return api.condition(name, "Ready") == "True"; });
  }
  RuntimePodPtr running(const std::string& name) {
    return *pods->runtime_state().refresh_pod(std::string(client::uid_of(api.pod(name))));
  }
  std::string exec(const std::string& name, std::vector<std::string> command) {
    auto done = exec_sync(*runtime, running(name)->newest("main")->id, command, 20s);
    return done ? done->output : "error: " + done.error().message;
  }
  std::string problems(const std::string& name) {
    std::string out = api.containers(name);
    for (const std::string& event : api.events(name)) out += event + "\n";
    return out;
  }

  cri::testing::PrivateContainerd containerd;
  run::LoopThread loop;
  std::unique_ptr<run::Executor> pool, reconcilers;
  std::unique_ptr<os::Disk> disk;
  std::unique_ptr<kernel::Mounts> mounts;
  testing::TestApi api;
  std::unique_ptr<cri::Runtime> runtime;
  std::unique_ptr<ProbeNet> net;
  std::unique_ptr<client::Caches> caches;
  std::unique_ptr<client::EventRecorder> events;
  std::unique_ptr<client::Runner> runner;
  std::unique_ptr<volumes::Volumes> files;
  std::unique_ptr<Pods> pods;
};

// All tests of the disabled suite, inside of namespaces; so they count as one.
TEST(Containerd, RunsPods) {
  if (const std::string why = cri::testing::why_not(); !why.empty()) GTEST_SKIP() << why;
  EXPECT_TRUE(cri::testing::run_inside("DISABLED_InsideContainerd.*"));
}

TEST(DISABLED_InsideContainerd, Conforms) {
  cri::testing::PrivateContainerd containerd{std::string(pause_image_name)};
  ASSERT_TRUE(import_image(containerd.endpoint(), pause_image_archive()));
  ASSERT_TRUE(import_image(containerd.endpoint(), busybox_archive()));
  run::LoopThread loop("loop");
  auto runtime = cri::connect(loop.loop(), containerd.endpoint());
  std::atomic<int> events = 0;
  auto subscription = runtime->events([&](const schema::Document&) { ++events; }, [](Error) {});
  EXPECT_TRUE(subscription) << subscription.error().message;
  std::filesystem::create_directories(containerd.folder + "/logs");
  cri::RuntimeCheck({*runtime, busybox_image, containerd.folder + "/logs", [] { nap(100ms); }}).all();
  EXPECT_GE(events, 4) << "starts and ends are told";
  if (HasFailure()) std::fprintf(stderr, "%s", containerd.log().c_str());
}

TEST(DISABLED_InsideContainerd, APodLivesWithItsFilesAndGoes) {
  Node n;
  n.api.make(kinds::core_v1::configmaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"color":"blue"}})", "default");
  n.api.make(kinds::core_v1::secrets, R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"key"},"data":{"k":"c2VjcmV0"}})", "default");
  n.api.make(kinds::core_v1::serviceaccounts, R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})", "default");
  n.api.make_pod("web", R"("terminationGracePeriodSeconds":2,"subdomain":"sub","securityContext":{"fsGroup":2000},
    "initContainers":[{"name":"first","image":"localhost/busybox:1","command":["sh","-c","echo made > /data/made"],"volumeMounts":[{"name":"data","mountPath":"/data"}]}],
    "containers":[{"name":"main","image":"localhost/busybox:1","command":["sh","-c","echo hello $(COLOR); trap 'echo bye > /dev/termination-log; exit 0' TERM; httpd -p 80 -h /data; while true; do sleep 0.1; done"],
      "env":[{"name":"COLOR","valueFrom":{"configMapKeyRef":{"name":"settings","key":"color"}}},{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}],
      "terminationMessagePath":"/dev/termination-log","resources":{"limits":{"memory":"64Mi","cpu":"500m"}},
      "readinessProbe":{"httpGet":{"path":"/made","port":80},"periodSeconds":1},
      "volumeMounts":[{"name":"data","mountPath":"/data"},{"name":"conf","mountPath":"/conf"},{"name":"all","mountPath":"/all"},{"name":"mem","mountPath":"/mem"},
        {"name":"data","mountPath":"/part","subPath":"deep/part"},{"name":"conf","mountPath":"/one","subPath":"color"}]}],
    "volumes":[{"name":"data","emptyDir":{}},{"name":"mem","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}},{"name":"conf","configMap":{"name":"settings"}},
      {"name":"all","projected":{"sources":[{"secret":{"name":"key"}},{"serviceAccountToken":{"path":"token","expirationSeconds":3600}},
        {"downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}}]}}])",
                 R"(,"labels":{"app":"web"})");
  ASSERT_TRUE(n.ready("web")) << n.problems("web") << n.containerd.log();
  EXPECT_EQ(n.api.phase("web"), "Running");
  EXPECT_EQ(n.exec("web", {"cat", "/data/made"}), "made\n");
  EXPECT_EQ(n.exec("web", {"cat", "/conf/color"}), "blue");
  EXPECT_EQ(n.exec("web", {"cat", "/one"}), "blue");
  EXPECT_EQ(n.exec("web", {"cat", "/all/k", "/all/token", "/all/labels"}), "secrettoken-1-of-defaultapp=\"web\"");
  EXPECT_EQ(n.exec("web", {"stat", "-c", "%a %g", "/data"}), "2777 2000\n");
  EXPECT_EQ(n.exec("web", {"sh", "-c", "echo x > /part/x && cat /data/deep/part/x"}), "x\n");
  EXPECT_THAT(n.exec("web", {"cat", "/proc/mounts"}), HasSubstr("tmpfs /mem tmpfs"));
  EXPECT_THAT(n.exec("web", {"cat", "/etc/hosts"}), HasSubstr("web.sub.default.svc.cluster.local\tweb"));
  EXPECT_THAT(n.exec("web", {"cat", "/etc/resolv.conf"}), HasSubstr("nameserver 10.96.0.10"));
  EXPECT_EQ(n.exec("web", {"hostname"}), "web\n");
  const std::string ip(kinds::core_v1::Pod(n.api.pod("web")).status().podIP());
  EXPECT_THAT(n.exec("web", {"env"}), HasSubstr("IP=" + ip));
  EXPECT_THAT(read_whole(n.running("web")->newest("main")->log_path), HasSubstr("stdout F hello blue"));
  // Live update.
  ASSERT_TRUE(n.api.client->patch(kinds::core_v1::configmaps, {"default", "settings"}, client::PatchType::merge, R"({"data":{"color":"red"}})"));
  EXPECT_TRUE(n.wait([&] { return n.exec("web", {"cat", "/conf/color"}) == "red"; }, 10s));
  // The end.
  const std::string uid(client::uid_of(n.api.pod("web")));
  ASSERT_TRUE(n.api.client->remove(kinds::core_v1::pods, {"default", "web"}));
  EXPECT_TRUE(n.wait([&] { return n.api.phase("web") == "gone"; }));
  EXPECT_FALSE(std::filesystem::exists(n.containerd.folder + "/kubelet/pods/" + uid));
  EXPECT_FALSE(std::filesystem::exists(n.containerd.folder + "/logs/default_web_" + uid));
  auto entries = n.mounts->list();
  ASSERT_TRUE(entries);
  for (const kernel::MountEntry& entry : *entries) EXPECT_EQ(entry.target.find(uid), std::string::npos) << entry.target;
  ASSERT_TRUE(n.pods->runtime_state().refresh());
  EXPECT_TRUE(n.pods->runtime_state().all().empty());
}

TEST(DISABLED_InsideContainerd, EndsAreToldWithTheirReasons) {
  Node n;
  n.api.make_pod("three", R"("restartPolicy":"Never","containers":[{"name":"main","image":"localhost/busybox:1","terminationMessagePath":"/dev/termination-log",
      "command":["sh","-c","echo last words > /dev/termination-log; exit 3"]}])");
  n.api.make_pod("big", R"("restartPolicy":"Never","containers":[{"name":"main","image":"localhost/busybox:1","resources":{"limits":{"memory":"16Mi"}},
      "command":["sh","-c","sleep 1; exec dd if=/dev/zero of=/dev/null bs=200M count=1"]}])");  // the shim listens for it only once it has started
  n.api.make_pod("none", R"("restartPolicy":"Never","containers":[{"name":"main","image":"localhost/busybox:1","command":["/no/such/program"]}])");
  EXPECT_TRUE(n.wait([&] { return n.api.phase("three") == "Failed"; })) << n.problems("three");
  for (auto s : kinds::core_v1::Pod(n.api.pod("three")).status().containerStatuses()) {
    EXPECT_EQ(s.state().terminated().exitCode(), 3);
    EXPECT_EQ(s.state().terminated().message(), "last words\n");
    EXPECT_EQ(s.state().terminated().reason(), "Error");
  }
  EXPECT_TRUE(n.wait([&] { return n.api.containers("big") == "main: ended OOMKilled 137 ready=false restarts=0\n"; })) << n.problems("big");
  EXPECT_TRUE(n.wait([&] { return n.api.phase("none") == "Failed"; })) << n.problems("none");
  EXPECT_EQ(n.api.containers("none"), "main: ended StartError 128 ready=false restarts=0\n");
}

TEST(DISABLED_InsideContainerd, RestartsOfAgentAndRuntimeTouchNothing) {
  Node n;
  n.api.make_pod("web", R"("containers":[{"name":"main","image":"localhost/busybox:1","command":["sh","-c","while true; do sleep 1; done"]}])");
  ASSERT_TRUE(n.ready("web")) << n.problems("web");
  const RuntimeContainer before = *n.running("web")->newest("main");
  n.stop_agent();
  n.start_agent();
  nap(2s);
  EXPECT_EQ(n.running("web")->newest("main")->id, before.id);
  n.containerd.kill();
  nap(1500ms);
  n.containerd.start();
  nap(2500ms);
  const RuntimeContainer after = *n.running("web")->newest("main");
  EXPECT_EQ(after.id, before.id);
  EXPECT_EQ(after.started_at, before.started_at);
  EXPECT_EQ(n.api.containers("web"), "main: running ready=true restarts=0\n");
  // And life goes on: a container that dies is found.
  (void)n.exec("web", {"sh", "-c", "kill -9 1; true"});
  n.api.make_pod("second", R"("containers":[{"name":"main","image":"localhost/busybox:1","command":["sleep","1000"]}])");
  EXPECT_TRUE(n.ready("second")) << n.problems("second");
}

TEST(DISABLED_InsideContainerd, LogsAreReadFollowedAndRotated) {
  Node n;
  n.api.make_pod("talk", R"("terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"localhost/busybox:1",
      "command":["sh","-c","i=0; while true; do i=$((i+1)); echo line $i of a log that has to be rotated soon enough to be seen; [ $((i % 200)) = 0 ] && sleep 0.5; done"]}])");
  ASSERT_TRUE(n.ready("talk")) << n.problems("talk");
  wire::Handler handler = kubelet_api(*n.pods, n.loop.loop(), *n.pool, {.node_name = "n1"});
  auto server = wire::Server::listen("127.0.0.1:0", std::nullopt, {&n.loop.loop()}, handler);
  ASSERT_TRUE(server) << server.error().message;
  auto client = wire::HttpClient::create(n.loop.loop(), "http://127.0.0.1:" + std::to_string((*server)->port()));
  ASSERT_TRUE(client);
  wire::Request tail;
  tail.target = "/containerLogs/default/talk/main?tailLines=3";
  auto answer = (*client)->call(tail);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(std::count(answer->body.begin(), answer->body.end(), '\n'), 3) << answer->body;
  // Followed over rotations: every line once, in order.
  std::mutex mutex;
  std::string got;
  wire::Request follow;
  follow.target = "/containerLogs/default/talk/main?follow=true";
  wire::HttpClient::Streaming callbacks;
  callbacks.on_data = [&](std::string_view bytes) {
    std::lock_guard lock(mutex);
    got.append(bytes);
  };
  callbacks.on_start = [](int, const wire::Headers&) {};
  callbacks.on_end = [](Result<void>) {};
  auto stream = (*client)->stream(follow, std::move(callbacks));
  const auto path = n.running("talk")->newest("main")->log_path;
  EXPECT_TRUE(n.wait([&] { return rotated_logs(*n.disk, path).size() >= 1; }, 30s)) << "no rotation";
  nap(2s);
  stream.reset();
  std::lock_guard lock(mutex);
  int64_t expected = 1;
  for (std::string_view line : split(got, '\n')) {
    if (!line.starts_with("line ")) continue;
    const auto number = parse_int(line.substr(5, line.find(' ', 5) - 5));
    ASSERT_TRUE(number) << line;
    ASSERT_EQ(*number, expected) << line;
    ++expected;
  }
  EXPECT_GT(expected, 1000);
}

TEST(DISABLED_InsideContainerd, StreamsReachTheRuntime) {
  Node n;
  n.api.make_pod("web", R"("containers":[{"name":"main","image":"localhost/busybox:1","command":["sleep","1000"]}])");
  ASSERT_TRUE(n.ready("web")) << n.problems("web");
  wire::Handler handler = kubelet_api(*n.pods, n.loop.loop(), *n.pool, {.node_name = "n1"});
  auto server = wire::Server::listen("127.0.0.1:0", std::nullopt, {&n.loop.loop()}, handler);
  ASSERT_TRUE(server);
  auto client = wire::HttpClient::create(n.loop.loop(), "http://127.0.0.1:" + std::to_string((*server)->port()));
  for (const char* target : {"/exec/default/web/main?command=cat&input=1&output=1&error=1", "/portForward/default/web"}) {
    wire::Request request;
    request.method = "POST";
    request.target = target;
    request.headers.set("connection", "Upgrade");
    request.headers.set("upgrade", "SPDY/3.1");
    const bool exec = std::string_view(target).starts_with("/exec");
    request.headers.set("x-stream-protocol-version", exec ? "v4.channel.k8s.io" : "portforward.k8s.io");
    auto upgraded = (*client)->upgrade(request);
    ASSERT_TRUE(upgraded) << target << ": " << upgraded.error().message;
    EXPECT_EQ(upgraded->headers.get("x-stream-protocol-version"), exec ? "v4.channel.k8s.io" : "portforward.k8s.io");
  }
  wire::Request summary;
  summary.target = "/stats/summary";
  auto stats = (*client)->call(summary);
  ASSERT_TRUE(stats);
  EXPECT_THAT(stats->body, HasSubstr("\"podRef\":{\"name\":\"web\",\"namespace\":\"default\""));
}

TEST(DISABLED_InsideContainerd, ANodeIsRegisteredAndReady) {
  Node n;
  NodeOptions options;
  options.name = "n1";
  options.ips = {"192.0.2.10"};
  options.cpu_milli = 1500;
  options.memory_bytes = 1ll << 30;
  const auto events = client::EventRecorder::create(*n.api.client, *n.pool, "kubelet");
  NodeStatus status(*n.api.client, *n.runtime, n.loop.loop(), *n.pool, *n.disk, *events, options);
  status.start();
  EXPECT_TRUE(n.wait([&] { return status.ready(); }));
  auto object = n.api.client->get(kinds::core_v1::nodes, {"", "n1"});
  ASSERT_TRUE(object);
  const kinds::core_v1::Node node(*object);
  EXPECT_EQ(node.status().capacity().get("cpu"), "1500m");
  EXPECT_EQ(node.status().nodeInfo().containerRuntimeVersion().substr(0, 16), "containerd://1.6");
  EXPECT_TRUE(n.wait([&] { return n.api.client->get(kinds::coordination_v1::leases, {"kube-node-lease", "n1"}).has_value(); }));
}

// What a pod costs on top of the runtime's own three calls.
TEST(DISABLED_InsideContainerd, StartTimes) {
  Node n;
  n.stop_agent();
  std::vector<double> raw, whole;
  using clock = std::chrono::steady_clock;
  for (int i = 0; i < 6; ++i) {
    const auto begun = clock::now();
    schema::Document run(cri::v1::RunPodSandboxRequest::schema_type());
    auto config = cri::v1::RunPodSandboxRequest(run).mutable_config();
    const std::string name = "raw" + std::to_string(i);
    config.mutable_metadata().set_name(name);
    config.mutable_metadata().set_uid("uid-" + name);
    config.mutable_metadata().set_namespace("default");
    config.set_log_directory(n.containerd.folder + "/rawlogs");
    config.mutable_linux().set_cgroup_parent(std::string(std::getenv("DURE_TEST_CGROUP")) + "/" + name);
    auto sandbox = n.runtime->call("RunPodSandbox", run);
    ASSERT_TRUE(sandbox) << sandbox.error().message;
    const std::string id(cri::v1::RunPodSandboxResponse(*sandbox).pod_sandbox_id());
    schema::Document create(cri::v1::CreateContainerRequest::schema_type());
    cri::v1::CreateContainerRequest request(create);
    request.set_pod_sandbox_id(id);
    request.mutable_config().mutable_metadata().set_name("main");
    request.mutable_config().mutable_image().set_image(busybox_image);
    request.mutable_config().set_log_path("main.log");
    for (const char* word : {"sleep", "1000"}) request.mutable_config().add_command(word);
    create.copy(request.mutable_sandbox_config().mutable_node(), cri::v1::RunPodSandboxRequest(run).config().node());
    auto container = n.runtime->call("CreateContainer", create);
    ASSERT_TRUE(container) << container.error().message;
    schema::Document start(cri::v1::StartContainerRequest::schema_type());
    cri::v1::StartContainerRequest(start).set_container_id(std::string(cri::v1::CreateContainerResponse(*container).container_id()));
    ASSERT_TRUE(n.runtime->call("StartContainer", start));
    raw.push_back(std::chrono::duration<double, std::milli>(clock::now() - begun).count());
    schema::Document stop(cri::v1::StopPodSandboxRequest::schema_type());
    cri::v1::StopPodSandboxRequest(stop).set_pod_sandbox_id(id);
    ASSERT_TRUE(n.runtime->call("StopPodSandbox", stop));
    schema::Document remove(cri::v1::RemovePodSandboxRequest::schema_type());
    cri::v1::RemovePodSandboxRequest(remove).set_pod_sandbox_id(id);
    ASSERT_TRUE(n.runtime->call("RemovePodSandbox", remove));
  }
  n.start_agent();
  nap(1s);
  for (int i = 0; i < 6; ++i) {
    const std::string name = "pod" + std::to_string(i);
    const auto begun = clock::now();
    n.api.make_pod(name, R"("terminationGracePeriodSeconds":0,"containers":[{"name":"main","image":"localhost/busybox:1","command":["sleep","1000"]}])");
    while (n.api.phase(name) != "Running" && clock::now() - begun < std::chrono::seconds(20)) nap(1ms);
    whole.push_back(std::chrono::duration<double, std::milli>(clock::now() - begun).count());
    EXPECT_EQ(n.api.phase(name), "Running") << n.problems(name);
    (void)n.api.client->remove(kinds::core_v1::pods, {"default", name});
    n.wait([&] { return n.api.phase(name) == "gone"; });
  }
  std::sort(raw.begin(), raw.end());
  std::sort(whole.begin(), whole.end());
  std::printf("figure: pod to Running %.0f ms, the runtime's own calls %.0f ms, ratio %.2f (medians of 6)\n", whole[3], raw[3], whole[3] / raw[3]);
}

}  // namespace
}  // namespace dure::pods
