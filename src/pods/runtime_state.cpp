#include "pods/runtime_state.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "cri/views/cri_v1.h"
#include "pods/log_reader.h"

namespace dure::pods {

namespace v1 = cri::v1;

namespace {

constexpr size_t message_bytes_max = 4096;
constexpr size_t message_log_bytes_max = 2048;
constexpr int64_t message_log_lines_max = 80;

ContainerState container_state(int64_t value) {
  switch (value) {
    case 0:
      return ContainerState::created;
    case 1:
      return ContainerState::running;
    case 2:
      return ContainerState::exited;
    default:
      return ContainerState::unknown;
  }
}

int64_t number_of(const auto& map, std::string_view key, int64_t otherwise) {
  return map.contains(key) ? parse_int(map.get(key)).value_or(otherwise) : otherwise;
}

RuntimePod& pod_of(std::map<std::string, RuntimePod>& pods, const auto& labels) {
  const std::string uid(labels.get(label::pod_uid));
  RuntimePod& pod = pods[uid];
  if (pod.uid.empty()) {
    pod.uid = uid;
    pod.name = labels.get(label::pod_name);
    pod.namespace_ = labels.get(label::pod_namespace);
  }
  return pod;
}

void sort_newest_first(RuntimePod& pod) {
  const auto newer = [](const auto& a, const auto& b) {
    return a.created_at != b.created_at ? a.created_at > b.created_at : a.attempt > b.attempt;
  };
  std::stable_sort(pod.sandboxes.begin(), pod.sandboxes.end(), newer);
  std::stable_sort(pod.containers.begin(), pod.containers.end(), newer);
}

std::string last_bytes(os::Disk& disk, const std::string& path, size_t bytes_max) {
  const auto file = disk.open(path, os::OpenMode::read);
  const uint64_t size = file ? (*file)->size().value_or(0) : 0;
  std::string out(std::min<uint64_t>(size, bytes_max), '\0');
  if (!out.empty()) out.resize((*file)->read_at(size - out.size(), out).value_or(0));
  return out;
}

std::string last_log_lines(os::Disk& disk, std::string_view path) {
  LogReader reader(disk, std::string(path), LogOptions{.tail_lines = message_log_lines_max});
  std::string out;
  for (auto text = reader.next(); text && !text->empty(); text = reader.next()) {
    out += *text;
    if (out.size() > message_log_bytes_max) out.erase(0, out.size() - message_log_bytes_max);
  }
  return out;
}

// The last of the container's own words about its end; where it left none and asked for it, the last of its log.
std::string termination_message(os::Disk& disk, const v1::ContainerStatus& status) {
  const auto annotations = status.annotations();
  const std::string_view path = annotations.get(annotation::termination_message_path);
  for (v1::Mount mount : status.mounts()) {
    if (path.empty() || mount.container_path() != path) continue;
    if (std::string out = last_bytes(disk, std::string(mount.host_path()), message_bytes_max); !out.empty()) return out;
  }
  if (annotations.get(annotation::termination_message_policy) != "FallbackToLogsOnError") return {};
  return status.exit_code() == 0 || status.log_path().empty() ? "" : last_log_lines(disk, status.log_path());
}

}  // namespace

RuntimeState::RuntimeState(cri::Runtime& runtime, os::Disk& disk) : runtime_(runtime), disk_(disk) {}

Result<std::map<std::string, RuntimePod>> RuntimeState::read(const std::string& uid) {
  schema::Document sandbox_request(v1::ListPodSandboxRequest::type());
  schema::Document container_request(v1::ListContainersRequest::type());
  if (!uid.empty()) {
    v1::ListPodSandboxRequest(sandbox_request).mutable_filter().set_label_selector(label::pod_uid, uid);
    v1::ListContainersRequest(container_request).mutable_filter().set_label_selector(label::pod_uid, uid);
  }
  DURE_TRY(schema::Document sandboxes, runtime_.call("ListPodSandbox", sandbox_request, 30s));
  DURE_TRY(schema::Document containers, runtime_.call("ListContainers", container_request, 30s));
  std::map<std::string, RuntimePod> pods;
  for (v1::PodSandbox item : v1::ListPodSandboxResponse(sandboxes).items()) {
    if (item.labels().get(label::pod_uid).empty()) continue;  // not a pod of ours
    RuntimeSandbox sandbox{std::string(item.id()), static_cast<uint32_t>(item.metadata().attempt()), item.state() == 0};
    sandbox.created_at = {item.created_at()};
    add_sandbox_details(sandbox);
    pod_of(pods, item.labels()).sandboxes.push_back(std::move(sandbox));
  }
  for (v1::Container item : v1::ListContainersResponse(containers).containers()) {
    if (item.labels().get(label::pod_uid).empty()) continue;
    RuntimeContainer container;
    container.id = item.id();
    container.name = item.labels().get(label::container_name);
    container.sandbox_id = item.pod_sandbox_id();
    container.attempt =
        static_cast<uint32_t>(number_of(item.annotations(), annotation::restart_count, item.metadata().attempt()));
    container.state = container_state(item.state());
    container.hash = item.annotations().get(annotation::hash);
    container.created_at = {item.created_at()};
    container.image = item.image().image();
    container.image_id = item.image_ref();
    add_container_details(container);
    RuntimePod& pod = pod_of(pods, item.labels());
    pod.grace_seconds = number_of(item.annotations(), annotation::pod_grace, pod.grace_seconds);
    pod.containers.push_back(std::move(container));
  }
  for (auto& [key, pod] : pods) sort_newest_first(pod);
  return pods;
}

// A sandbox's addresses do not change while it is ready.
void RuntimeState::add_sandbox_details(RuntimeSandbox& sandbox) {
  {
    std::lock_guard lock(mutex_);
    auto known = known_sandboxes_.find(sandbox.id);
    if (known != known_sandboxes_.end() && known->second.ready == sandbox.ready) {
      sandbox = known->second;
      return;
    }
  }
  schema::Document request(v1::PodSandboxStatusRequest::type());
  v1::PodSandboxStatusRequest(request).set_pod_sandbox_id(sandbox.id);
  auto answer = runtime_.call("PodSandboxStatus", request, 30s);
  if (!answer) return;
  const v1::PodSandboxStatus status = v1::PodSandboxStatusResponse(*answer).status();
  if (!status.network().ip().empty()) sandbox.ips.emplace_back(status.network().ip());
  for (v1::PodIP ip : status.network().additional_ips()) sandbox.ips.emplace_back(ip.ip());
  std::lock_guard lock(mutex_);
  known_sandboxes_[sandbox.id] = sandbox;
}

// A container's details change only with its state.
void RuntimeState::add_container_details(RuntimeContainer& container) {
  {
    std::lock_guard lock(mutex_);
    auto known = known_containers_.find(container.id);
    if (known != known_containers_.end() && known->second.state == container.state) {
      container = known->second;
      return;
    }
  }
  schema::Document request(v1::ContainerStatusRequest::type());
  v1::ContainerStatusRequest(request).set_container_id(container.id);
  auto answer = runtime_.call("ContainerStatus", request, 30s);
  if (!answer) return;
  const v1::ContainerStatus status = v1::ContainerStatusResponse(*answer).status();
  container.state = container_state(status.state());
  container.started_at = {status.started_at()};
  container.finished_at = {status.finished_at()};
  container.exit_code = static_cast<int>(status.exit_code());
  container.reason = status.reason();
  container.message = status.message();
  container.log_path = status.log_path();
  if (!status.image().image().empty()) container.image = status.image().image();
  if (!status.image_ref().empty()) container.image_id = status.image_ref();
  if (container.state == ContainerState::exited)
    if (std::string words = termination_message(disk_, status); !words.empty()) container.message = std::move(words);
  std::lock_guard lock(mutex_);
  known_containers_[container.id] = container;
}

Result<std::vector<client::Key>> RuntimeState::refresh() {
  uint64_t begun = 0;
  {
    std::lock_guard lock(mutex_);
    begun = ++sequence_;
  }
  DURE_TRY(auto found, read({}));
  std::vector<client::Key> changed;
  std::lock_guard lock(mutex_);
  if (begun < listed_at_) return changed;
  listed_at_ = begun;
  for (auto& [uid, at] : read_at_) {
    if (at < begun) continue;
    if (auto newer = pods_.find(uid); newer != pods_.end())
      found[uid] = *newer->second;
    else
      found.erase(uid);
  }
  std::erase_if(read_at_, [&](const auto& entry) { return entry.second < begun; });
  std::map<std::string, RuntimePodPtr> next;
  std::map<std::string, RuntimeSandbox> sandboxes;
  std::map<std::string, RuntimeContainer> containers;
  for (auto& [uid, pod] : found) {
    for (const RuntimeSandbox& s : pod.sandboxes)
      if (auto known = known_sandboxes_.extract(s.id)) sandboxes.insert(std::move(known));
    for (const RuntimeContainer& c : pod.containers)
      if (auto known = known_containers_.extract(c.id)) containers.insert(std::move(known));
    auto old = pods_.find(uid);
    const bool same = old != pods_.end() && *old->second == pod;
    if (!same) changed.push_back(pod.key());
    next[uid] = same ? old->second : std::make_shared<const RuntimePod>(std::move(pod));
  }
  for (const auto& [uid, pod] : pods_)
    if (!next.contains(uid)) changed.push_back(pod->key());
  pods_ = std::move(next);
  known_sandboxes_ = std::move(sandboxes);
  known_containers_ = std::move(containers);
  refreshed_ = true;
  return changed;
}

Result<RuntimePodPtr> RuntimeState::refresh_pod(const std::string& uid) {
  uint64_t begun = 0;
  {
    std::lock_guard lock(mutex_);
    begun = ++sequence_;
  }
  DURE_TRY(RuntimePodPtr pod, look_at(uid));
  std::lock_guard lock(mutex_);
  if (begun < listed_at_ || begun < read_at_[uid]) {
    auto newer = pods_.find(uid);
    return newer == pods_.end() ? std::make_shared<const RuntimePod>() : newer->second;
  }
  read_at_[uid] = begun;
  if (pod->uid.empty())
    pods_.erase(uid);
  else
    pods_[uid] = pod;
  return pod;
}

Result<RuntimePodPtr> RuntimeState::look_at(const std::string& uid) {
  DURE_TRY(auto found, read(uid));
  auto own = found.find(uid);
  return own == found.end() ? std::make_shared<const RuntimePod>()
                            : std::make_shared<const RuntimePod>(std::move(own->second));
}

RuntimePodPtr RuntimeState::of_uid(const std::string& uid) const {
  static const RuntimePodPtr none = std::make_shared<const RuntimePod>();
  std::lock_guard lock(mutex_);
  auto found = pods_.find(uid);
  return found == pods_.end() ? none : found->second;
}

std::vector<RuntimePodPtr> RuntimeState::of_name(const client::Key& key) const {
  std::vector<RuntimePodPtr> out;
  std::lock_guard lock(mutex_);
  for (const auto& [uid, pod] : pods_)
    if (pod->key() == key) out.push_back(pod);
  return out;
}

std::vector<RuntimePodPtr> RuntimeState::all() const {
  std::vector<RuntimePodPtr> out;
  std::lock_guard lock(mutex_);
  for (const auto& [uid, pod] : pods_) out.push_back(pod);
  return out;
}

bool RuntimeState::refreshed_once() const {
  std::lock_guard lock(mutex_);
  return refreshed_;
}

}  // namespace dure::pods
