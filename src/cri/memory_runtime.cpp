#include "cri/memory_runtime.h"

#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <set>

#include "base/text.h"
#include "cri/methods.h"
#include "cri/views/cri_v1.h"

namespace dure::cri {

namespace {

Error not_found_error(std::string_view what, std::string_view id) {
  return {404, "NotFound", fmt::format("an error occurred when try to find {} \"{}\": not found", what, id)};
}

// What a container does by itself: how long it runs (nullopt: for ever) and with what it ends.
struct Script {
  std::optional<Duration> runs;
  int exit_code = 0;
  bool ignores_term = false;
};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  for (char c : text) {
    if (c == ' ' || c == ';' || c == '\n') {
      if (!word.empty()) out.push_back(std::move(word));
      word.clear();
    } else {
      word += c;
    }
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

Script script_of(const std::vector<std::string>& command) {
  Script script;
  std::vector<std::string> words;
  for (const std::string& part : command)
    for (std::string& word : words_of(part)) words.push_back(std::move(word));
  for (size_t i = 0; i < words.size(); ++i) {
    const auto number = i + 1 < words.size() ? parse_int(words[i + 1]) : std::nullopt;
    if (words[i] == "ignore-term") script.ignores_term = true;
    if (words[i] == "true" && !script.runs) script.runs = Duration::zero();
    if (words[i] == "sleep") {
      if (!number) return {std::nullopt, 0, script.ignores_term};
      script.runs = script.runs.value_or(Duration::zero()) + Duration(std::chrono::seconds(*number));
    }
    if (words[i] == "exit" && number) {
      script.runs = script.runs.value_or(Duration::zero());
      script.exit_code = static_cast<int>(*number);
      break;
    }
  }
  return script;
}

struct Sandbox {
  schema::Document config;
  std::string id, ip;
  bool ready = true;
  WallTime created_at;
};

struct Container {
  schema::Document config;
  std::string id, sandbox_id, image_ref;
  int64_t state = 0;  // CRI's numbers
  WallTime created_at, started_at, finished_at;
  int exit_code = 0;
  std::string reason;
  Script script;
  std::unique_ptr<run::Timer> end;
};

}  // namespace

struct MemoryRuntime::State : std::enable_shared_from_this<MemoryRuntime::State> {
  State(run::Executor& executor, Options options) : executor(executor), options(std::move(options)) {}

  using Answer = Result<schema::Document>;

  // --- Events

  void tell(const std::string& container_id, int64_t type) {
    if (listeners.empty()) return;
    auto event = std::make_shared<schema::Document>(v1::ContainerEventResponse::type());
    v1::ContainerEventResponse out(*event);
    out.set_container_id(container_id);
    out.set_container_event_type(type);
    out.set_created_at(executor.wall_now().nanoseconds);
    for (const auto& [number, listener] : listeners)
      executor.post([weak = weak_from_this(), number = number, event] {
        auto self = weak.lock();
        if (!self) return;
        std::function<void(const schema::Document&)> on_event;
        {
          std::lock_guard lock(self->mutex);
          auto found = self->listeners.find(number);
          if (found == self->listeners.end()) return;
          on_event = found->second.on_event;
        }
        on_event(*event);
      });
  }

  void end_listeners(const Error& why) {
    auto gone = std::move(listeners);
    listeners.clear();
    for (auto& [number, listener] : gone) executor.post([on_end = std::move(listener.on_end), why] { on_end(why); });
  }

  // --- Images

  static std::string normal_name(std::string_view name) {
    if (name.find('@') != std::string_view::npos) return std::string(name);
    const size_t slash = name.rfind('/');
    const size_t colon = name.find(':', slash == std::string_view::npos ? 0 : slash);
    return colon == std::string_view::npos ? std::string(name) + ":latest" : std::string(name);
  }
  static std::string image_id(const std::string& name) { return fmt::format("sha256:{:064x}", fnv1a_64(name)); }

  const std::string* find_image(std::string_view wanted) const {
    const std::string name = normal_name(wanted);
    for (const std::string& image : images)
      if (image == name || image_id(image) == wanted) return &image;
    return nullptr;
  }

  void write_image(v1::Image out, const std::string& name) const {
    out.set_id(image_id(name));
    out.add_repo_tags(name);
    out.add_repo_digests(name.substr(0, name.rfind(':')) + "@" + image_id(name));
    out.set_size(1 << 20);
    out.mutable_uid().set_value(0);
  }

  Answer image_status(const schema::Document& request) {
    schema::Document answer(v1::ImageStatusResponse::type());
    if (const std::string* name = find_image(v1::ImageStatusRequest(request).image().image()))
      write_image(v1::ImageStatusResponse(answer).mutable_image(), *name);
    return answer;
  }
  Answer list_images() {
    schema::Document answer(v1::ListImagesResponse::type());
    for (const std::string& name : images) write_image(v1::ListImagesResponse(answer).add_images(), name);
    return answer;
  }
  Answer pull_image(const schema::Document& request) {
    const std::string name = normal_name(v1::PullImageRequest(request).image().image());
    if (!registry.contains(name) && !images.contains(name))
      return fail(
          Error{404, "NotFound",
                fmt::format("failed to pull and unpack image \"{}\": failed to resolve reference \"{}\": {}: not found",
                            name, name, name)});
    images.insert(name);
    schema::Document answer(v1::PullImageResponse::type());
    v1::PullImageResponse(answer).set_image_ref(image_id(name));
    return answer;
  }
  Answer remove_image(const schema::Document& request) {
    if (const std::string* name = find_image(v1::RemoveImageRequest(request).image().image())) images.erase(*name);
    return schema::Document(v1::RemoveImageResponse::type());
  }

  // --- Sandboxes

  std::string next_id() { return fmt::format("{:016x}{:048x}", fnv1a_64(fmt::format("{}", ++ids)), ids); }

  std::string next_address() {
    for (int tries = 0; tries < options.addresses; ++tries) {
      std::string ip = options.address_prefix + std::to_string(2 + (addresses++ % options.addresses));
      bool used = false;
      for (const auto& [id, sandbox] : sandboxes) used = used || (sandbox.ready && sandbox.ip == ip);
      if (!used) return ip;
    }
    return {};
  }

  Answer run_sandbox(const schema::Document& request) {
    const v1::PodSandboxConfig config = v1::RunPodSandboxRequest(request).config();
    const v1::PodSandboxMetadata metadata = config.metadata();
    for (const auto& [id, old] : sandboxes) {
      const v1::PodSandboxMetadata other = v1::PodSandboxConfig(old.config).metadata();
      if (other.uid() == metadata.uid() && other.name() == metadata.name() && other.attempt() == metadata.attempt())
        return fail(Error{409, "AlreadyExists",
                          fmt::format("failed to reserve sandbox name \"{}_{}_{}_{}\": name is reserved for \"{}\"",
                                      metadata.name(), metadata.namespace_(), metadata.uid(), metadata.attempt(), id)});
    }
    Sandbox sandbox;
    sandbox.config = schema::Document(v1::PodSandboxConfig::type());
    sandbox.config.copy(sandbox.config.root(), config.node());
    sandbox.id = next_id();
    sandbox.created_at = executor.wall_now();
    if (config.linux().security_context().namespace_options().network() != v1::NODE) {
      sandbox.ip = next_address();
      if (sandbox.ip.empty())
        return fail(Error{500, "Unknown", "failed to setup network for sandbox: no addresses left"});
    }
    schema::Document answer(v1::RunPodSandboxResponse::type());
    v1::RunPodSandboxResponse(answer).set_pod_sandbox_id(sandbox.id);
    const std::string id = sandbox.id;
    sandboxes.emplace(id, std::move(sandbox));
    tell(id, v1::CONTAINER_STARTED_EVENT);
    return answer;
  }

  Answer stop_sandbox(const schema::Document& request) {
    auto found = sandboxes.find(std::string(v1::StopPodSandboxRequest(request).pod_sandbox_id()));
    if (found != sandboxes.end()) {
      for (auto& [id, container] : containers)
        if (container.sandbox_id == found->first && container.state == v1::CONTAINER_RUNNING)
          finish(container, 137, "Error");
      if (found->second.ready) tell(found->first, v1::CONTAINER_STOPPED_EVENT);
      found->second.ready = false;
    }
    return schema::Document(v1::StopPodSandboxResponse::type());
  }

  Answer remove_sandbox(const schema::Document& request) {
    const std::string id(v1::RemovePodSandboxRequest(request).pod_sandbox_id());
    if (auto found = sandboxes.find(id); found != sandboxes.end()) {
      std::erase_if(containers, [&](const auto& entry) { return entry.second.sandbox_id == id; });
      sandboxes.erase(found);
      tell(id, v1::CONTAINER_DELETED_EVENT);
    }
    return schema::Document(v1::RemovePodSandboxResponse::type());
  }

  template <class Out>
  void write_sandbox(Out out, const Sandbox& sandbox) {
    const v1::PodSandboxConfig config(sandbox.config);
    out.set_id(sandbox.id);
    auto metadata = out.mutable_metadata();
    metadata.set_name(config.metadata().name());
    metadata.set_uid(config.metadata().uid());
    metadata.set_namespace(config.metadata().namespace_());
    metadata.set_attempt(config.metadata().attempt());
    out.set_state(sandbox.ready ? v1::SANDBOX_READY : v1::SANDBOX_NOTREADY);
    out.set_created_at(sandbox.created_at.nanoseconds);
    for (const auto& [key, value] : config.labels()) out.set_labels(key, value);
    for (const auto& [key, value] : config.annotations()) out.set_annotations(key, value);
  }

  Answer sandbox_status(const schema::Document& request) {
    const std::string id(v1::PodSandboxStatusRequest(request).pod_sandbox_id());
    auto found = sandboxes.find(id);
    if (found == sandboxes.end()) return fail(not_found_error("sandbox", id));
    schema::Document answer(v1::PodSandboxStatusResponse::type());
    auto status = v1::PodSandboxStatusResponse(answer).mutable_status();
    write_sandbox(status, found->second);
    if (found->second.ready && !found->second.ip.empty()) status.mutable_network().set_ip(found->second.ip);
    status.mutable_linux().mutable_namespaces().mutable_options().set_network(
        v1::PodSandboxConfig(found->second.config).linux().security_context().namespace_options().network());
    return answer;
  }

  static bool matches(const auto& selector, const auto& labels) {
    for (const auto& [key, value] : selector)
      if (labels.get(key) != value) return false;
    return true;
  }

  Answer list_sandboxes(const schema::Document& request) {
    const auto filter = v1::ListPodSandboxRequest(request).filter();
    schema::Document answer(v1::ListPodSandboxResponse::type());
    for (const auto& [id, sandbox] : sandboxes) {
      if (!filter.id().empty() && filter.id() != id) continue;
      if (filter.has_state() && (filter.state().state() == v1::SANDBOX_READY) != sandbox.ready) continue;
      if (!matches(filter.label_selector(), v1::PodSandboxConfig(sandbox.config).labels())) continue;
      write_sandbox(v1::ListPodSandboxResponse(answer).add_items(), sandbox);
    }
    return answer;
  }

  // --- Containers

  Answer create_container(const schema::Document& request) {
    const v1::CreateContainerRequest in(request);
    auto sandbox = sandboxes.find(std::string(in.pod_sandbox_id()));
    if (sandbox == sandboxes.end()) return fail(not_found_error("sandbox", in.pod_sandbox_id()));
    if (!sandbox->second.ready)
      return fail(Error{500, "Unknown", "failed to get sandbox container task: sandbox is not running"});
    const std::string* image = find_image(in.config().image().image());
    if (!image) return fail(not_found_error("image", in.config().image().image()));
    for (const auto& [id, old] : containers) {
      const v1::ContainerMetadata other = v1::ContainerConfig(old.config).metadata();
      if (old.sandbox_id == sandbox->first && other.name() == in.config().metadata().name() &&
          other.attempt() == in.config().metadata().attempt())
        return fail(Error{409, "AlreadyExists",
                          fmt::format("failed to reserve container name \"{}_{}\": name is reserved for \"{}\"",
                                      other.name(), other.attempt(), id)});
    }
    Container container;
    container.config = schema::Document(v1::ContainerConfig::type());
    container.config.copy(container.config.root(), in.config().node());
    container.id = next_id();
    container.sandbox_id = sandbox->first;
    container.image_ref = image_id(*image);
    container.created_at = executor.wall_now();
    std::vector<std::string> command;
    for (std::string_view word : in.config().command()) command.emplace_back(word);
    for (std::string_view word : in.config().args()) command.emplace_back(word);
    container.script = script_of(command);
    schema::Document answer(v1::CreateContainerResponse::type());
    v1::CreateContainerResponse(answer).set_container_id(container.id);
    const std::string id = container.id;
    containers.emplace(id, std::move(container));
    tell(id, v1::CONTAINER_CREATED_EVENT);
    return answer;
  }

  Container* find_container(std::string_view id) {
    auto found = containers.find(std::string(id));
    return found == containers.end() ? nullptr : &found->second;
  }

  Answer start_container(const schema::Document& request) {
    const std::string id(v1::StartContainerRequest(request).container_id());
    Container* container = find_container(id);
    if (!container) return fail(not_found_error("container", id));
    if (container->state != v1::CONTAINER_CREATED)
      return fail(
          Error{409, "FailedPrecondition", fmt::format("container \"{}\" is in state {}", id, container->state)});
    container->state = v1::CONTAINER_RUNNING;
    container->started_at = executor.wall_now();
    tell(id, v1::CONTAINER_STARTED_EVENT);
    if (container->script.runs)
      container->end = executor.after(*container->script.runs, [weak = weak_from_this(), id] {
        if (auto self = weak.lock()) self->ended_by_itself(id);
      });
    return schema::Document(v1::StartContainerResponse::type());
  }

  void ended_by_itself(const std::string& id, bool told = false) {
    std::lock_guard lock(mutex);
    Container* container = find_container(id);
    if (!container || container->state != v1::CONTAINER_RUNNING) return;
    if (!told && options.event_lead > Duration::zero()) {
      if (!down) tell(id, v1::CONTAINER_STOPPED_EVENT);
      container->end = executor.after(options.event_lead, [weak = weak_from_this(), id] {
        if (auto self = weak.lock()) self->ended_by_itself(id, true);
      });
      return;
    }
    finish(*container, container->script.exit_code, container->script.exit_code == 0 ? "Completed" : "Error", told);
  }

  void finish(Container& container, int exit_code, std::string reason, bool told = false) {
    container.state = v1::CONTAINER_EXITED;
    container.exit_code = exit_code;
    container.finished_at = executor.wall_now();
    container.reason = std::move(reason);
    if (down || told) return;
    tell(container.id, v1::CONTAINER_STOPPED_EVENT);
  }

  Answer stop_container(const schema::Document& request) {
    const v1::StopContainerRequest in(request);
    Container* container = find_container(in.container_id());
    if (!container) return fail(not_found_error("container", in.container_id()));
    if (container->state == v1::CONTAINER_RUNNING)
      finish(*container, container->script.ignores_term || in.timeout() == 0 ? 137 : 143, "Error");
    return schema::Document(v1::StopContainerResponse::type());
  }

  Answer remove_container(const schema::Document& request) {
    const std::string id(v1::RemoveContainerRequest(request).container_id());
    if (containers.erase(id) > 0) tell(id, v1::CONTAINER_DELETED_EVENT);
    return schema::Document(v1::RemoveContainerResponse::type());
  }

  template <class Out>
  void write_container(Out out, const Container& container) {
    const v1::ContainerConfig config(container.config);
    out.set_id(container.id);
    auto metadata = out.mutable_metadata();
    metadata.set_name(config.metadata().name());
    metadata.set_attempt(config.metadata().attempt());
    const std::string* image = find_image(container.image_ref);
    out.mutable_image().set_image(image ? std::string_view(*image) : config.image().image());
    out.set_image_ref(container.image_ref);
    out.set_state(container.state);
    out.set_created_at(container.created_at.nanoseconds);
    for (const auto& [key, value] : config.labels()) out.set_labels(key, value);
    for (const auto& [key, value] : config.annotations()) out.set_annotations(key, value);
  }

  Answer container_status(const schema::Document& request) {
    const v1::ContainerStatusRequest in(request);
    Container* container = find_container(in.container_id());
    if (!container) return fail(not_found_error("container", in.container_id()));
    schema::Document answer(v1::ContainerStatusResponse::type());
    auto status = v1::ContainerStatusResponse(answer).mutable_status();
    write_container(status, *container);
    status.set_started_at(container->started_at.nanoseconds);
    status.set_finished_at(container->finished_at.nanoseconds);
    status.set_exit_code(container->exit_code);
    status.set_reason(container->reason);
    const v1::ContainerConfig config(container->config);
    status.set_log_path(std::string(v1::PodSandboxConfig(sandboxes.at(container->sandbox_id).config).log_directory()) +
                        "/" + std::string(config.log_path()));
    for (v1::Mount mount : config.mounts()) answer.copy(status.add_mounts().mutable_node(), mount.node());
    return answer;
  }

  Answer list_containers(const schema::Document& request) {
    const auto filter = v1::ListContainersRequest(request).filter();
    schema::Document answer(v1::ListContainersResponse::type());
    for (const auto& [id, container] : containers) {
      if (!filter.id().empty() && filter.id() != id) continue;
      if (filter.has_state() && filter.state().state() != container.state) continue;
      if (!filter.pod_sandbox_id().empty() && filter.pod_sandbox_id() != container.sandbox_id) continue;
      if (!matches(filter.label_selector(), v1::ContainerConfig(container.config).labels())) continue;
      auto out = v1::ListContainersResponse(answer).add_containers();
      write_container(out, container);
      out.set_pod_sandbox_id(container.sandbox_id);
    }
    return answer;
  }

  // --- The rest

  Answer version() {
    schema::Document answer(v1::VersionResponse::type());
    v1::VersionResponse out(answer);
    out.set_version("0.1.0");
    out.set_runtime_name("memory");
    out.set_runtime_version("1");
    out.set_runtime_api_version("v1");
    return answer;
  }

  Answer status() {
    schema::Document answer(v1::StatusResponse::type());
    auto out = v1::StatusResponse(answer).mutable_status();
    auto runtime = out.add_conditions();
    runtime.set_type("RuntimeReady");
    runtime.set_status(true);
    auto network = out.add_conditions();
    network.set_type("NetworkReady");
    network.set_status(network_ready);
    if (!network_ready) {
      network.set_reason("NetworkPluginNotReady");
      network.set_message("Network plugin returns error: cni plugin not initialized");
    }
    return answer;
  }

  Answer list_stats() {
    schema::Document answer(v1::ListContainerStatsResponse::type());
    for (const auto& [id, container] : containers) {
      if (container.state != v1::CONTAINER_RUNNING) continue;
      auto out = v1::ListContainerStatsResponse(answer).add_stats();
      auto attributes = out.mutable_attributes();
      attributes.set_id(id);
      const v1::ContainerConfig config(container.config);
      attributes.mutable_metadata().set_name(config.metadata().name());
      for (const auto& [key, value] : config.labels()) attributes.set_labels(key, value);
      const int64_t now = executor.wall_now().nanoseconds;
      out.mutable_cpu().set_timestamp(now);
      out.mutable_cpu().mutable_usage_core_nano_seconds().set_value((now - container.started_at.nanoseconds) / 100);
      out.mutable_memory().set_timestamp(now);
      out.mutable_memory().mutable_working_set_bytes().set_value(1 << 20);
    }
    return answer;
  }

  Answer dispatch(std::string_view method, const schema::Document& request) {
    if (method == "Version") return version();
    if (method == "Status") return status();
    if (method == "RunPodSandbox") return run_sandbox(request);
    if (method == "StopPodSandbox") return stop_sandbox(request);
    if (method == "RemovePodSandbox") return remove_sandbox(request);
    if (method == "PodSandboxStatus") return sandbox_status(request);
    if (method == "ListPodSandbox") return list_sandboxes(request);
    if (method == "CreateContainer") return create_container(request);
    if (method == "StartContainer") return start_container(request);
    if (method == "StopContainer") return stop_container(request);
    if (method == "RemoveContainer") return remove_container(request);
    if (method == "ContainerStatus") return container_status(request);
    if (method == "ListContainers") return list_containers(request);
    if (method == "ImageStatus") return image_status(request);
    if (method == "ListImages") return list_images();
    if (method == "PullImage") return pull_image(request);
    if (method == "RemoveImage") return remove_image(request);
    if (method == "ListContainerStats") return list_stats();
    if (method == "ReopenContainerLog") return schema::Document(v1::ReopenContainerLogResponse::type());
    if (method == "UpdateContainerResources") return schema::Document(v1::UpdateContainerResourcesResponse::type());
    if (method == "UpdateRuntimeConfig") return schema::Document(v1::UpdateRuntimeConfigResponse::type());
    if (method == "ImageFsInfo") return schema::Document(v1::ImageFsInfoResponse::type());
    return fail(Error{501, "Unimplemented", fmt::format("the memory runtime has no {}", method)});
  }

  Answer exec_sync(const schema::Document& request) {
    const v1::ExecSyncRequest in(request);
    std::function<MemoryExec(const std::string&, const std::vector<std::string>&)> run;
    {
      std::lock_guard lock(mutex);
      Container* container = find_container(in.container_id());
      if (!container) return fail(not_found_error("container", in.container_id()));
      if (container->state != v1::CONTAINER_RUNNING)
        return fail(Error{500, "Unknown", "container is in CONTAINER_EXITED state"});
      run = exec;
    }
    std::vector<std::string> command;
    for (std::string_view word : in.cmd()) command.emplace_back(word);
    const MemoryExec done = run ? run(std::string(in.container_id()), command) : MemoryExec{};
    schema::Document answer(v1::ExecSyncResponse::type());
    v1::ExecSyncResponse out(answer);
    out.set_exit_code(done.exit_code);
    out.set_stdout(base64_encode(done.out));
    out.set_stderr(base64_encode(done.err));
    return answer;
  }

  struct Listener {
    std::function<void(const schema::Document&)> on_event;
    std::function<void(Error)> on_end;
  };

  run::Executor& executor;
  const Options options;
  mutable std::mutex mutex;
  std::set<std::string> images, registry;
  std::map<std::string, Sandbox> sandboxes;
  std::map<std::string, Container> containers;
  std::map<uint64_t, Listener> listeners;
  std::function<MemoryExec(const std::string&, const std::vector<std::string>&)> exec;
  std::map<std::string, std::vector<Error>> failures;
  std::map<std::string, int> counts;
  uint64_t ids = 0, listener_numbers = 0;
  int addresses = 0;
  bool down = false, network_ready = true;
};

MemoryRuntime::MemoryRuntime(run::Executor& executor, Options options)
    : state_(std::make_shared<State>(executor, std::move(options))) {}

MemoryRuntime::~MemoryRuntime() {
  std::lock_guard lock(state_->mutex);
  state_->listeners.clear();
}

Result<schema::Document> MemoryRuntime::call(std::string_view method, const schema::Document& request, Duration) {
  if (!find_method(method)) return fail(Error{501, "Unimplemented", fmt::format("unknown method {}", method)});
  std::unique_lock lock(state_->mutex);
  if (state_->down)
    return fail(Error{503, "Unavailable", "connection error: desc = \"transport: the container runtime is away\""});
  ++state_->counts[std::string(method)];
  if (auto planned = state_->failures.find(std::string(method));
      planned != state_->failures.end() && !planned->second.empty()) {
    Error error = std::move(planned->second.back());
    planned->second.pop_back();
    return fail(std::move(error));
  }
  if (method == "ExecSync") {
    lock.unlock();
    return state_->exec_sync(request);
  }
  return state_->dispatch(method, request);
}

namespace {

class Subscription : public run::Timer {
 public:
  explicit Subscription(std::function<void()> end) : end_(std::move(end)) {}
  ~Subscription() override { cancel(); }
  void cancel() override {
    if (auto end = std::exchange(end_, nullptr)) end();
  }

 private:
  std::function<void()> end_;
};

}  // namespace

Result<std::unique_ptr<run::Timer>> MemoryRuntime::events(std::function<void(const schema::Document&)> on_event,
                                                          std::function<void(Error)> on_end) {
  std::lock_guard lock(state_->mutex);
  if (!state_->options.events) return fail(Error{501, "Unimplemented", "unknown method GetContainerEvents"});
  if (state_->down) return fail(Error{503, "Unavailable", "the container runtime is away"});
  const uint64_t number = ++state_->listener_numbers;
  state_->listeners[number] = {std::move(on_event), std::move(on_end)};
  return std::make_unique<Subscription>([weak = std::weak_ptr(state_), number] {
    if (auto state = weak.lock()) {
      std::lock_guard inner(state->mutex);
      state->listeners.erase(number);
    }
  });
}

void MemoryRuntime::add_image(const std::string& name) {
  std::lock_guard lock(state_->mutex);
  state_->images.insert(State::normal_name(name));
}

void MemoryRuntime::add_registry_image(const std::string& name) {
  std::lock_guard lock(state_->mutex);
  state_->registry.insert(State::normal_name(name));
}

void MemoryRuntime::set_exec(std::function<MemoryExec(const std::string&, const std::vector<std::string>&)> exec) {
  std::lock_guard lock(state_->mutex);
  state_->exec = std::move(exec);
}

void MemoryRuntime::end_container(const std::string& id, int exit_code, const std::string& reason) {
  std::lock_guard lock(state_->mutex);
  Container* container = state_->find_container(id);
  if (container && container->state == v1::CONTAINER_RUNNING)
    state_->finish(*container, exit_code, !reason.empty() ? reason : exit_code == 0 ? "Completed" : "Error");
}

void MemoryRuntime::set_down(bool down) {
  std::lock_guard lock(state_->mutex);
  state_->down = down;
  if (down) state_->end_listeners({503, "Unavailable", "the container runtime went away"});
}

void MemoryRuntime::lose_power() {
  std::lock_guard lock(state_->mutex);
  for (auto& [id, container] : state_->containers)
    if (container.state == v1::CONTAINER_RUNNING) state_->finish(container, 255, "Unknown");
  for (auto& [id, sandbox] : state_->sandboxes) sandbox.ready = false;
  state_->end_listeners({503, "Unavailable", "the container runtime went away"});
}

void MemoryRuntime::fail_next(const std::string& method, Error error, int times) {
  std::lock_guard lock(state_->mutex);
  for (int i = 0; i < times; ++i) state_->failures[method].push_back(error);
}

void MemoryRuntime::set_network_ready(bool ready) {
  std::lock_guard lock(state_->mutex);
  state_->network_ready = ready;
}

int MemoryRuntime::calls(const std::string& method) const {
  std::lock_guard lock(state_->mutex);
  auto found = state_->counts.find(method);
  return found == state_->counts.end() ? 0 : found->second;
}

std::vector<MemoryRuntime::Running> MemoryRuntime::running() const {
  std::lock_guard lock(state_->mutex);
  std::map<std::pair<std::string, std::string>, Running> sorted;
  for (const auto& [id, container] : state_->containers) {
    if (container.state != v1::CONTAINER_RUNNING) continue;
    const v1::ContainerConfig config(container.config);
    Running out{std::string(config.labels().get("io.kubernetes.pod.name")), std::string(config.metadata().name()), id,
                static_cast<uint32_t>(config.metadata().attempt())};
    for (v1::KeyValue variable : config.envs())
      out.env.emplace_back(variable.key(), base64_decode(variable.value()).value_or(std::string(variable.value())));
    for (std::string_view word : config.command()) out.command.emplace_back(word);
    for (std::string_view word : config.args()) out.command.emplace_back(word);
    sorted[{out.pod, out.container + id}] = std::move(out);
  }
  std::vector<Running> list;
  for (auto& [key, value] : sorted) list.push_back(std::move(value));
  return list;
}

size_t MemoryRuntime::sandboxes() const {
  std::lock_guard lock(state_->mutex);
  size_t count = 0;
  for (const auto& [id, sandbox] : state_->sandboxes) count += sandbox.ready;
  return count;
}

}  // namespace dure::cri
