#include <algorithm>
#include <optional>

#include "kinds/hooks/columns.h"
#include "kinds/views/core_v1.h"

namespace dure::kinds::columns {
namespace {

using core_v1::ContainerStatus;
using core_v1::Pod;
using schema::Cell;
using schema::Node;

bool is_sidecar(const Pod& pod, std::string_view name) {
  for (const auto& container : pod.spec().initContainers())
    if (container.name() == name) return container.restartPolicy() == "Always";
  return false;
}

std::string ended_reason(const ContainerStatus& status, const char* prefix) {
  const auto terminated = status.state().terminated();
  if (!terminated.reason().empty()) return prefix + std::string(terminated.reason());
  if (terminated.signal() != 0) return prefix + ("Signal:" + std::to_string(terminated.signal()));
  return prefix + ("ExitCode:" + std::to_string(terminated.exitCode()));
}

struct Picture {
  std::string reason;
  int64_t restarts = 0, ready = 0, total = 0;
  std::optional<WallTime> last_restart;

  void note_restart(const ContainerStatus& status) {
    const auto finished = parse_time(status.lastState().terminated().finishedAt());
    if (finished && (!last_restart || *last_restart < *finished)) last_restart = finished;
  }
};

// The first init container that is not done; false: all are.
bool look_at_init(const Pod& pod, Picture& picture) {
  int64_t index = 0;
  const int64_t count = pod.spec().initContainers().size();
  for (const ContainerStatus& status : pod.status().initContainerStatuses()) {
    const bool sidecar = is_sidecar(pod, status.name());
    picture.restarts += status.restartCount();
    picture.note_restart(status);
    const auto state = status.state();
    ++index;
    if (state.has_terminated() && state.terminated().exitCode() == 0) continue;
    if (sidecar && status.started()) {
      if (status.ready()) ++picture.ready;
      continue;
    }
    if (state.has_terminated())
      picture.reason = ended_reason(status, "Init:");
    else if (state.has_waiting() && !state.waiting().reason().empty() && state.waiting().reason() != "PodInitializing")
      picture.reason = "Init:" + std::string(state.waiting().reason());
    else
      picture.reason = "Init:" + std::to_string(index - 1) + "/" + std::to_string(count);
    return true;
  }
  return false;
}

void look_at_containers(const Pod& pod, Picture& picture) {
  std::vector<ContainerStatus> statuses;
  for (const ContainerStatus& status : pod.status().containerStatuses()) statuses.push_back(status);
  picture.restarts = 0;
  picture.last_restart.reset();
  for (const ContainerStatus& status : pod.status().initContainerStatuses())
    if (is_sidecar(pod, status.name())) {
      picture.restarts += status.restartCount();
      picture.note_restart(status);
    }
  bool running = false;
  for (auto it = statuses.rbegin(); it != statuses.rend(); ++it) {
    const auto state = it->state();
    picture.restarts += it->restartCount();
    picture.note_restart(*it);
    if (state.has_waiting() && !state.waiting().reason().empty())
      picture.reason = std::string(state.waiting().reason());
    else if (state.has_terminated())
      picture.reason = ended_reason(*it, "");
    else if (it->ready() && state.has_running()) {
      running = true;
      ++picture.ready;
    }
  }
  if (picture.reason == "Completed" && running)
    picture.reason = condition_is(pod.node(), "Ready", "True") ? "Running" : "NotReady";
}

Picture picture_of(const Pod& pod) {
  Picture picture;
  picture.total = pod.spec().containers().size();
  for (const auto& container : pod.spec().initContainers())
    if (container.restartPolicy() == "Always") ++picture.total;
  picture.reason = std::string(pod.status().reason().empty() ? pod.status().phase() : pod.status().reason());
  if (const Node* scheduled = condition(pod.node(), "PodScheduled");
      scheduled && text_at(scheduled, "reason") == "SchedulingGated")
    picture.reason = "SchedulingGated";
  if (!look_at_init(pod, picture)) look_at_containers(pod, picture);
  const bool over = pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed";
  if (pod.metadata().has_deletionTimestamp())
    picture.reason = pod.status().reason() == "NodeLost" ? "Unknown" : over ? picture.reason : "Terminating";
  return picture;
}

Cell ready(const Node* object, WallTime) {
  const Picture picture = picture_of(Pod(object));
  return std::to_string(picture.ready) + "/" + std::to_string(picture.total);
}

Cell status(const Node* object, WallTime) { return picture_of(Pod(object)).reason; }

Cell restarts(const Node* object, WallTime now) {
  const Picture picture = picture_of(Pod(object));
  std::string text = std::to_string(picture.restarts);
  if (picture.restarts != 0 && picture.last_restart)
    text += " (" + human_duration(now - *picture.last_restart) + " ago)";
  return text;
}

Cell ip(const Node* object, WallTime) {
  const Pod pod(object);
  const auto first = pod.status().podIPs().empty() ? pod.status().podIP() : pod.status().podIPs().front().ip();
  return first.empty() ? std::string("<none>") : std::string(first);
}

Cell gates(const Node* object, WallTime) {
  const Pod pod(object);
  if (pod.spec().readinessGates().empty()) return std::string("<none>");
  int64_t open = 0;
  for (const auto& gate : pod.spec().readinessGates())
    if (condition_is(object, gate.conditionType(), "True")) ++open;
  return std::to_string(open) + "/" + std::to_string(pod.spec().readinessGates().size());
}

}  // namespace

std::vector<Row> pod_rows() {
  return {{"Pod", "Ready", ready},
          {"Pod", "Status", status},
          {"Pod", "Restarts", restarts},
          {"Pod", "IP", ip},
          {"Pod", "Readiness Gates", gates}};
}

}  // namespace dure::kinds::columns
