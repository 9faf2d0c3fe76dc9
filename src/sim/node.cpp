#include "sim/node.h"

#include <fmt/format.h>

#include "client/object_meta.h"
#include "cri/views/cri_v1.h"
#include "kinds/views/authentication_v1.h"
#include "kinds/views/core_v1.h"

namespace dure::sim {
namespace {

namespace core = kinds::core_v1;
namespace v1 = cri::v1;

constexpr int64_t memory_bytes = 8ll << 30, cpu_milli = 8000;

// Whoever dials a container gets through.
class OpenNet final : public pods::ProbeNet {
 public:
  pods::ProbeAnswer http(const Http&, Duration) override { return {true, ""}; }
  pods::ProbeAnswer tcp(const std::string&, int, Duration) override { return {true, ""}; }
  pods::ProbeAnswer grpc(const std::string&, int, const std::string&, Duration) override { return {true, ""}; }
};

}  // namespace

SimNode::SimNode(int number, run::VirtualExecutor& executor, Dice& dice, Journal& journal)
    : name_(fmt::format("n{}", number)),
      address_(fmt::format("192.0.2.{}", 10 + number)),
      executor_(executor),
      link_(name_, executor, dice, journal),
      runtime_(executor, {.address_prefix = fmt::format("10.244.{}.", number)}),
      probe_net_(std::make_unique<OpenNet>()) {
  for (int version = 1; version <= 9; ++version)
    runtime_.add_registry_image(fmt::format("example.com/app:{}", version));
  (void)disk_.make_directories("/etc");
  (void)os::write_file_atomic(disk_, "/etc/resolv.conf", "nameserver 192.0.2.53\n");
}

SimNode::~SimNode() { kill_agent(); }

void SimNode::start_agent() {
  link_.revive();
  agent_ = std::make_unique<Agent>(executor_);
  Agent& a = *agent_;
  a.client = link_.client();
  a.caches = client::Caches::create(*a.client, a.executor);
  a.events = client::EventRecorder::create(*a.client, a.executor, "kubelet", name_);
  a.runner = client::Runner::create(*a.caches, a.executor);
  pods::PodsOptions options;
  options.node.name = name_;
  options.node.ips = {address_};
  options.node.allocatable_cpu_milli = cpu_milli;
  options.node.allocatable_memory = memory_bytes;
  options.node_memory = memory_bytes;
  options.cluster_dns.servers = {"10.96.0.10"};
  options.relist = 3s;
  a.pods = std::make_unique<pods::Pods>(pods::PodsParts{*a.client,
                                                        *a.caches,
                                                        runtime_,
                                                        a.executor,
                                                        a.executor,
                                                        disk_,
                                                        *a.events,
                                                        *probe_net_,
                                                        pod_volumes(),
                                                        [](const std::string&) { return Status{}; },
                                                        [](const std::string&, int) { return Status{}; }},
                                        options);
  pods::NodeOptions node;
  node.name = name_;
  node.ips = {address_};
  node.cpu_milli = cpu_milli;
  node.memory_bytes = memory_bytes;
  node.ephemeral_storage_bytes = 100ll << 30;
  a.status = std::make_unique<pods::NodeStatus>(*a.client, runtime_, a.executor, a.executor, disk_, *a.events, node);
  a.runner->add(a.pods->loop());
  a.pods->start(*a.runner);
  a.status->start();
}

void SimNode::kill_agent() {
  if (!agent_) return;
  link_.kill();
  agent_->executor.close();
  agent_->status.reset();
  agent_->runner.reset();
  agent_->pods.reset();
  agent_->events.reset();
  agent_->caches.reset();
  agent_.reset();
}

void SimNode::lose_power() {
  kill_agent();
  runtime_.lose_power();
}

pods::PodVolumes SimNode::pod_volumes() {
  pods::PodVolumes out;
  out.mount = [this](const schema::Object& pod) { return mount(pod); };
  out.sub_path = [](const schema::Object&, const std::string&, const std::string& path,
                    const std::string& sub) -> Result<std::string> { return path + "/" + sub; };
  out.unmount = [this](const std::string& uid) {
    volumes_.erase(uid);
    return Status{};
  };
  out.uids = [this] { return std::vector<std::string>(volumes_.begin(), volumes_.end()); };
  return out;
}

// Asks the API for what the volumes room would ask, and writes nothing.
Result<std::map<std::string, std::string>> SimNode::mount(const schema::Object& object) {
  const core::Pod pod(object);
  const std::string ns(client::namespace_of(object)), uid(client::uid_of(object));
  const bool again = volumes_.contains(uid);
  std::map<std::string, std::string> paths;
  for (const core::Volume volume : pod.spec().volumes()) {
    paths[std::string(volume.name())] = fmt::format("/pods/{}/{}", uid, volume.name());
    if (volume.has_configMap() && !again)
      DURE_CHECK(agent_->client->get(core::configmaps, {ns, std::string(volume.configMap().name())}));
    for (const core::VolumeProjection source : volume.projected().sources()) {
      if (again) break;
      if (source.has_configMap())
        DURE_CHECK(agent_->client->get(core::configmaps, {ns, std::string(source.configMap().name())}));
      if (!source.has_serviceAccountToken()) continue;
      schema::Document request(kinds::authentication_v1::TokenRequest::schema_type());
      kinds::authentication_v1::TokenRequest out(request);
      out.mutable_spec().set_expirationSeconds(3607);
      auto bound = out.mutable_spec().mutable_boundObjectRef();
      bound.set_kind("Pod");
      bound.set_apiVersion("v1");
      bound.set_name(client::name_of(object));
      bound.set_uid(uid);
      DURE_CHECK(agent_->client->create_subresource(
          core::serviceaccounts, {ns, std::string(pod.spec().serviceAccountName())}, "token", request));
    }
  }
  volumes_.insert(uid);
  return paths;
}

std::vector<SimNode::Running> SimNode::running() {
  std::vector<Running> out;
  auto answer = runtime_.call("ListContainers", schema::Document(v1::ListContainersRequest::type()), 1s);
  if (!answer) return out;
  for (const v1::Container container : v1::ListContainersResponse(*answer).containers()) {
    if (container.state() != v1::CONTAINER_RUNNING) continue;
    const auto label = [&](std::string_view key) { return std::string(container.labels().get(key)); };
    out.push_back({label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name"),
                   label("io.kubernetes.pod.uid"), std::string(container.metadata().name()),
                   std::string(container.id())});
  }
  return out;
}

std::set<std::string> SimNode::sandbox_uids(bool ready_only) {
  std::set<std::string> out;
  auto answer = runtime_.call("ListPodSandbox", schema::Document(v1::ListPodSandboxRequest::type()), 1s);
  if (!answer) return out;
  for (const v1::PodSandbox sandbox : v1::ListPodSandboxResponse(*answer).items())
    if (!ready_only || sandbox.state() == v1::SANDBOX_READY) out.insert(std::string(sandbox.metadata().uid()));
  return out;
}

}  // namespace dure::sim
