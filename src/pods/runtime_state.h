// RuntimeState: what the container runtime runs, as plain values, one RuntimePod per pod uid.
//
// Everything is read back from the runtime (labels and annotations that the agent wrote when it created things), so an
// agent that restarts adopts what runs. `refresh` lists and asks for details only where something changed. Thread: any;
// readers get immutable snapshots. Cost of an idle refresh: two list calls.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/client.h"
#include "cri/runtime.h"
#include "os/disk.h"

namespace dure::pods {

enum class ContainerState { created, running, exited, unknown };

struct RuntimeContainer {
  std::string id, name, sandbox_id;
  std::string image;     // as the runtime names it
  std::string image_id;  // what the runtime resolved it to
  uint32_t attempt = 0;  // restart count
  ContainerState state = ContainerState::unknown;
  std::string hash;  // of the container's spec when it was created
  WallTime created_at, started_at, finished_at;
  int exit_code = 0;
  std::string reason, message;  // of the runtime, or the termination message
  std::string log_path;
  friend bool operator==(const RuntimeContainer&, const RuntimeContainer&) = default;
};

struct RuntimeSandbox {
  std::string id;
  uint32_t attempt = 0;
  bool ready = false;
  WallTime created_at;
  std::vector<std::string> ips;
  friend bool operator==(const RuntimeSandbox&, const RuntimeSandbox&) = default;
};

struct RuntimePod {
  std::string name, namespace_, uid;
  std::vector<RuntimeSandbox> sandboxes;     // newest first
  std::vector<RuntimeContainer> containers;  // newest first
  int64_t grace_seconds = 30;                // terminationGracePeriodSeconds as it was when containers were made

  client::Key key() const { return {namespace_, name}; }
  const RuntimeContainer* newest(std::string_view container_name) const;
  // The one before the newest that ended; for lastState and `logs --previous`.
  const RuntimeContainer* previous(std::string_view container_name) const;
  const RuntimeContainer* by_id(std::string_view id) const;
  const RuntimeSandbox* ready_sandbox() const;  // null when none is
  bool any_running() const;
  friend bool operator==(const RuntimePod&, const RuntimePod&) = default;
};

using RuntimePodPtr = std::shared_ptr<const RuntimePod>;

class RuntimeState {
 public:
  RuntimeState(cri::Runtime& runtime, os::Disk& disk);
  // Lists everything; answers the keys of pods that look different from before.
  Result<std::vector<client::Key>> refresh();
  // The same for one pod, for whoever acts on what it sees: `refresh` does not tell of it again.
  Result<RuntimePodPtr> refresh_pod(const std::string& uid);
  // One pod as it is now, for readers: nothing is taken over, so a change is still told by the next `refresh`.
  Result<RuntimePodPtr> look_at(const std::string& uid);
  RuntimePodPtr of_uid(const std::string& uid) const;  // never null: an empty pod when unknown
  std::vector<RuntimePodPtr> of_name(const client::Key& key) const;
  std::vector<RuntimePodPtr> all() const;
  bool refreshed_once() const;

 private:
  Result<std::map<std::string, RuntimePod>> read(const std::string& uid);
  void add_sandbox_details(RuntimeSandbox& sandbox);
  void add_container_details(RuntimeContainer& container);

  cri::Runtime& runtime_;
  os::Disk& disk_;
  mutable std::mutex mutex_;
  std::map<std::string, RuntimePodPtr> pods_;  // by uid
  // Details of things in their last state, by id; dropped with the thing.
  std::map<std::string, RuntimeSandbox> known_sandboxes_;
  std::map<std::string, RuntimeContainer> known_containers_;
  bool refreshed_ = false;
  // Orders whole listings and readings of one pod by when they began: only the one that began last surely saw all that
  // was told before it.
  uint64_t sequence_ = 0, listed_at_ = 0;
  std::map<std::string, uint64_t> read_at_;  // by uid
};

// Labels and annotations, spelt as the kubelet spells them so that crictl and other tools understand them.
namespace label {
inline constexpr std::string_view pod_name = "io.kubernetes.pod.name";
inline constexpr std::string_view pod_namespace = "io.kubernetes.pod.namespace";
inline constexpr std::string_view pod_uid = "io.kubernetes.pod.uid";
inline constexpr std::string_view container_name = "io.kubernetes.container.name";
}  // namespace label
namespace annotation {
inline constexpr std::string_view hash = "io.kubernetes.container.hash";
inline constexpr std::string_view restart_count = "io.kubernetes.container.restartCount";
inline constexpr std::string_view termination_message_path = "io.kubernetes.container.terminationMessagePath";
inline constexpr std::string_view termination_message_policy = "io.kubernetes.container.terminationMessagePolicy";
inline constexpr std::string_view pod_grace = "io.kubernetes.pod.terminationGracePeriod";
}  // namespace annotation

}  // namespace dure::pods
