#include "pods/container_starter.h"

#include <fmt/format.h>

#include "base/log.h"
#include "cri/views/cri_v1.h"
#include "pods/hooks.h"
#include "pods/runtime_config.h"
#include "pods/status.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::Pod;
using kinds::core_v1::VolumeMount;
namespace v1 = cri::v1;

namespace {

Status write_plain(os::Disk& disk, const std::string& path, std::string_view text, int mode) {
  DURE_TRY(std::unique_ptr<os::File> file, disk.open(path, os::OpenMode::create, mode));
  DURE_CHECK(file->truncate(0));
  return file->write_at(0, text);
}

void set_waiting(Memories& memories, const std::string& uid, const std::string& name, std::optional<Waiting> waiting) {
  memories.with(uid, [&](PodMemory& memory) { memory.containers[name].waiting = std::move(waiting); });
}

SandboxFacts sandbox_facts(const PodsOptions& options, DnsConfig node_dns) {
  return {options.cluster_dns, std::move(node_dns), options.pod_log_root, options.cgroup_root};
}

}  // namespace

ContainerStarter::ContainerStarter(PodsParts& parts, const PodsOptions& options, Memories& memories,
                                   ImagePuller& puller,
                                   std::function<std::vector<schema::Object>(std::string_view)> services)
    : parts_(parts), options_(options), memories_(memories), puller_(puller), services_(std::move(services)) {}

std::string ContainerStarter::pod_folder(const std::string& uid) const { return options_.root + "/pods/" + uid; }
std::string ContainerStarter::hosts_path(const std::string& uid) const { return pod_folder(uid) + "/etc-hosts"; }

DnsConfig ContainerStarter::node_dns() const {
  return parse_resolv_conf(os::read_file(parts_.disk, options_.resolv_conf, 1 << 16).value_or(""));
}

Status ContainerStarter::prepare_sandbox_folders(const Pod& pod) {
  DURE_CHECK(parts_.disk.make_directories(options_.pod_log_root, 0755));
  DURE_CHECK(parts_.disk.make_directories(pod_log_directory(pod, options_.pod_log_root), 0755));
  return parts_.disk.make_directories(pod_folder(std::string(pod.metadata().uid())), 0750);
}

Status ContainerStarter::create_sandbox(const schema::Object& object, const RuntimePod& runtime, uint32_t attempt) {
  const Pod pod(object);
  if (Status made = prepare_sandbox_folders(pod); !made) {
    parts_.events.warning(about_pod(object), "FailedCreatePodSandBox", made.error().message);
    return made;
  }
  if (auto mounted = parts_.volumes.mount(object); !mounted) {
    parts_.events.warning(about_pod(object), "FailedMount", mounted.error().message);
    return fail(std::move(mounted).error());
  }
  // The network of a sandbox that died is given back before there is another.
  for (const RuntimeSandbox& old : runtime.sandboxes) {
    schema::Document stop(v1::StopPodSandboxRequest::type());
    v1::StopPodSandboxRequest(stop).set_pod_sandbox_id(old.id);
    (void)parts_.runtime.call("StopPodSandbox", stop);
  }
  schema::Document request(v1::RunPodSandboxRequest::type());
  v1::RunPodSandboxRequest out(request);
  const schema::Document config = sandbox_config(pod, attempt, sandbox_facts(options_, node_dns()));
  request.copy(out.mutable_config().mutable_node(), config.root());
  auto answer = parts_.runtime.call("RunPodSandbox", request, 4min);
  if (!answer) {
    parts_.events.warning(about_pod(object), "FailedCreatePodSandBox",
                          fmt::format("Failed to create pod sandbox: {}", answer.error().message));
    return fail(std::move(answer).error());
  }
  return {};
}

ContainerStarter::Answer ContainerStarter::failed(const schema::Object& pod, const std::string& name,
                                                  const char* reason, const std::string& why) {
  set_waiting(memories_, std::string(Pod(pod).metadata().uid()), name, Waiting{reason, why});
  parts_.events.warning(about_container(pod, name), "Failed", "Error: " + why);
  return {false, 5s};
}

Result<Environment> ContainerStarter::make_environment(const schema::Object& object, const Container& container,
                                                       const std::vector<std::string>& ips) {
  const Pod pod(object);
  EnvironmentSources sources;
  std::optional<Error> broken;                  // the API did not answer: that is not the same as "not there"
  std::map<std::string, schema::Object> asked;  // each object once, however many variables are taken from it
  const auto lookup = [&](const client::Resource& resource) {
    return [&](std::string_view namespace_, std::string_view name) -> schema::Object {
      const auto [at, is_new] = asked.try_emplace(fmt::format("{}/{}", resource.plural, name));
      if (!is_new) return at->second;
      auto found = parts_.client.get(resource, {std::string(namespace_), std::string(name)});
      if (!found && found.error().code != 404) broken = found.error();
      return at->second = found ? *found : nullptr;
    };
  };
  sources.config_map = lookup(kinds::core_v1::configmaps);
  sources.secret = lookup(kinds::core_v1::secrets);
  sources.services = services_(pod.metadata().namespace_());
  sources.node = options_.node;
  sources.pod_ips = ips;
  auto made = environment(pod, container, sources);
  if (broken) return fail(*std::move(broken));
  return made;
}

Result<std::vector<MountRow>> ContainerStarter::make_mounts(const schema::Object& object, const Container& container,
                                                            const Environment& variables,
                                                            const std::vector<std::string>& ips, uint32_t attempt) {
  const Pod pod(object);
  const std::string uid(pod.metadata().uid());
  DURE_TRY(auto paths, parts_.volumes.mount(object));
  std::vector<MountRow> rows;
  bool has_hosts = false;
  for (VolumeMount mount : container.volumeMounts()) {
    auto path = paths.find(std::string(mount.name()));
    if (path == paths.end())
      return fail(internal(fmt::format("volume {} of container {} is not mounted", mount.name(), container.name())));
    std::string host_path = path->second;
    std::string sub(mount.subPath());
    if (!mount.subPathExpr().empty()) sub = expand(mount.subPathExpr(), variables);
    if (!sub.empty()) {
      DURE_TRY(host_path, parts_.volumes.sub_path(object, path->first, path->second, sub));
    }
    std::string inside(mount.mountPath());
    if (!inside.starts_with('/')) inside = "/" + inside;
    has_hosts = has_hosts || inside == "/etc/hosts";
    rows.push_back({inside, host_path, mount.readOnly(), std::string(mount.mountPropagation())});
  }
  if (!has_hosts) {
    const std::string node_hosts =
        pod.spec().hostNetwork() ? os::read_file(parts_.disk, options_.hosts, 1 << 20).value_or("") : "";
    DURE_CHECK(
        write_plain(parts_.disk, hosts_path(uid), hosts_file(pod, ips, options_.cluster_dns.domain, node_hosts), 0644));
    DURE_CHECK(parts_.set_mode(hosts_path(uid), 0644));
    rows.push_back({"/etc/hosts", hosts_path(uid)});
  }
  if (!container.terminationMessagePath().empty()) {
    const std::string folder = fmt::format("{}/containers/{}", pod_folder(uid), container.name());
    DURE_CHECK(parts_.disk.make_directories(folder, 0750));
    const std::string path = fmt::format("{}/termination-log-{}", folder, attempt);
    DURE_CHECK(write_plain(parts_.disk, path, "", 0666));
    DURE_CHECK(parts_.set_mode(path, 0666));  // any user of the container may write it
    rows.push_back({std::string(container.terminationMessagePath()), path});
  }
  return rows;
}

Result<schema::Document> ContainerStarter::create_request(const schema::Object& object, const Container& container,
                                                          const RuntimePod& runtime, const StartContainer& what,
                                                          const ImageAnswer& image) {
  const Pod pod(object);
  const std::vector<std::string> ips = pod_ips(pod, runtime, options_.node.ips.get());
  ContainerFacts facts;
  facts.image_id = image.image_id;
  facts.image_user = image.user;
  facts.attempt = what.attempt;
  facts.node_memory = options_.node_memory;
  facts.oom_score_adj_min = options_.oom_score_adj_min;
  DURE_TRY(facts.environment, make_environment(object, container, ips));
  DURE_TRY(facts.mounts, make_mounts(object, container, facts.environment, ips, what.attempt));
  if (run_as_non_root(pod, container)) {
    const auto user = run_as_user(pod, container);
    if (user == 0) return fail(bad_request("container's runAsUser breaks non-root policy"));
    if (!user && image.user_is_name)
      return fail(
          bad_request("container has runAsNonRoot and image has non-numeric user, cannot verify user is non-root"));
    if (!user && image.user.value_or(0) == 0)
      return fail(bad_request("container has runAsNonRoot and image will run as root"));
  }
  schema::Document request(v1::CreateContainerRequest::type());
  v1::CreateContainerRequest out(request);
  const RuntimeSandbox* sandbox = runtime.ready_sandbox();
  if (!sandbox) return fail(unavailable("the pod's sandbox is not ready"));
  out.set_pod_sandbox_id(sandbox->id);
  const schema::Document config = container_config(pod, container, facts);
  request.copy(out.mutable_config().mutable_node(), config.root());
  const schema::Document sandbox_document = sandbox_config(pod, sandbox->attempt, sandbox_facts(options_, node_dns()));
  request.copy(out.mutable_sandbox_config().mutable_node(), sandbox_document.root());
  return request;
}

ContainerStarter::Answer ContainerStarter::start(const schema::Object& object, const RuntimePod& runtime,
                                                 const StartContainer& what) {
  const Pod pod(object);
  const std::string uid(pod.metadata().uid());
  const Container container = find_container(pod, what.name);
  const ImageAnswer image = puller_.ensure(object, container);
  if (image.kind == ImageAnswer::Kind::pulling) return {};
  if (image.kind == ImageAnswer::Kind::failed) {
    set_waiting(memories_, uid, what.name, image.why);
    return {false, image.again_after};
  }
  auto request = create_request(object, container, runtime, what, image);
  if (!request) return failed(object, what.name, "CreateContainerConfigError", request.error().message);
  if (Status made = parts_.disk.make_directories(
          fmt::format("{}/{}", pod_log_directory(pod, options_.pod_log_root), what.name), 0755);
      !made)
    return failed(object, what.name, "CreateContainerError", made.error().message);
  auto created = parts_.runtime.call("CreateContainer", *request, 2min);
  if (!created) return failed(object, what.name, "CreateContainerError", created.error().message);
  const std::string id(v1::CreateContainerResponse(*created).container_id());
  const auto about = about_container(object, what.name);
  parts_.events.normal(about, "Created", fmt::format("Created container: {}", what.name));
  const RuntimeContainer* before = runtime.newest(what.name);
  memories_.with(uid, [&](PodMemory& memory) {
    ContainerMemory& known = memory.containers[what.name];
    if (before && before->state == ContainerState::exited)
      known.restart = next_backoff(before->hash == container_hash(container) ? known.restart : Backoff{},
                                   parts_.executor.wall_now());
    known.waiting.reset();
    known.restart_id.clear();
  });
  schema::Document start_request(v1::StartContainerRequest::type());
  v1::StartContainerRequest(start_request).set_container_id(id);
  if (auto started = parts_.runtime.call("StartContainer", start_request, 2min); !started) {
    Answer answer = failed(object, what.name, "RunContainerError", started.error().message);
    answer.changed = true;
    return answer;
  }
  parts_.events.normal(about, "Started", fmt::format("Started container {}", what.name));
  if (container.lifecycle().has_postStart()) post_start(object, container, runtime, id);
  return {true, std::nullopt};
}

void ContainerStarter::post_start(const schema::Object& object, const Container& container, const RuntimePod& runtime,
                                  const std::string& id) {
  const auto hook = container.lifecycle().postStart();
  if (hook.has_sleep()) return;  // nothing waits for it: the container runs meanwhile
  const std::vector<std::string> ips = pod_ips(Pod(object), runtime, options_.node.ips.get());
  Status done = run_handler(parts_, container, hook, {id, ips.empty() ? std::string() : ips.front()}, 2min);
  if (done) return;
  parts_.events.warning(about_container(object, container.name()), "FailedPostStartHook", "PostStartHook failed");
  set_waiting(memories_, std::string(Pod(object).metadata().uid()), std::string(container.name()),
              Waiting{"PostStartHookError", done.error().message});
  schema::Document stop(v1::StopContainerRequest::type());
  v1::StopContainerRequest out(stop);
  out.set_container_id(id);
  out.set_timeout(2);
  (void)parts_.runtime.call("StopContainer", stop);
}

}  // namespace dure::pods
