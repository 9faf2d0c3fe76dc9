// What the pod workers are made of: the world they are given and the settings of the node. Owner: the host's wiring.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "client/cache.h"
#include "client/client.h"
#include "client/events.h"
#include "cri/runtime.h"
#include "os/disk.h"
#include "pods/dns_config.h"
#include "pods/fields.h"
#include "pods/memory.h"
#include "run/loop.h"

namespace dure::pods {

// The volumes of a pod, as the volumes room provides them. Every call may block on disk and API.
struct PodVolumes {
  // Volume name -> path on the node, for every volume of the pod; idempotent, and brings contents up to date.
  std::function<Result<std::map<std::string, std::string>>(const schema::Object& pod)> mount;
  // The path to mount for a subPath below a volume's path; never leads outside of it.
  std::function<Result<std::string>(const schema::Object& pod, const std::string& volume, const std::string& path,
                                    const std::string& sub_path)>
      sub_path;
  // A pod that runs, as it is now: its volumes show its labels and annotations and go on being kept up to date, also by
  // an agent that did not mount them. Returns at once; cheap when nothing changed.
  std::function<void(const schema::Object& pod)> follow;
  std::function<Status(const std::string& uid)> unmount;
  std::function<std::vector<std::string>()> uids;  // of pods that have something on this node's disk
};

struct ProbeAnswer {
  bool ok = false;
  std::string text;  // why not, for the event
};

// Dials for HTTP, TCP and gRPC probes and for hooks; blocks up to the timeout.
class ProbeNet {
 public:
  struct Http {
    std::string scheme = "http", host, path = "/";
    int port = 80;
    std::vector<std::pair<std::string, std::string>> headers;
  };
  virtual ~ProbeNet() = default;
  virtual ProbeAnswer http(const Http& request, Duration timeout) = 0;
  virtual ProbeAnswer tcp(const std::string& host, int port, Duration timeout) = 0;
  // grpc.health.v1.Health/Check of `service` (may be empty: of the whole server).
  virtual ProbeAnswer grpc(const std::string& host, int port, const std::string& service, Duration timeout) = 0;
};
std::unique_ptr<ProbeNet> make_probe_net(run::Loop& loop);

struct PodsOptions {
  NodeFacts node;
  std::string root = "/var/lib/kubelet";  // pods/<uid>/... lives here
  std::string pod_log_root = "/var/log/pods";
  ClusterDns cluster_dns;
  std::string resolv_conf = "/etc/resolv.conf", hosts = "/etc/hosts";  // of the node
  std::string cgroup_root;                                             // see SandboxFacts
  int64_t node_memory = 0;                                             // bytes; weighs out-of-memory scores
  int64_t oom_score_adj_min = -1000;
  std::string runtime_name = "containerd";
  Duration relist = 1s;  // of the runtime, when it has no events
  int workers = 8;
  int pulls_max = 3;
  int64_t pods_max = 110;
  uint64_t log_bytes_max = 10 << 20;
  int log_files_max = 5;
};

struct PodsParts {
  client::Client& client;
  client::Caches& caches;
  cri::Runtime& runtime;
  run::Executor& executor;  // timers
  run::Executor& jobs;      // a pool: image pulls, stops and probes block on it
  os::Disk& disk;
  client::EventRecorder& events;
  ProbeNet& probe_net;
  PodVolumes volumes;
  std::function<Status(const std::string& path)> remove_tree;  // files of pods that are gone
  std::function<Status(const std::string& path, int mode)> set_mode;
};

// The soft state of all pods; every access is under one lock and short.
class Memories {
 public:
  template <class Change>
  auto with(const std::string& uid, Change change) {
    std::lock_guard lock(mutex_);
    return change(memories_[uid]);
  }
  PodMemory snapshot(const std::string& uid) const {
    std::lock_guard lock(mutex_);
    auto found = memories_.find(uid);
    return found == memories_.end() ? PodMemory{} : found->second;
  }
  bool contains(const std::string& uid) const {
    std::lock_guard lock(mutex_);
    return memories_.contains(uid);
  }
  void erase(const std::string& uid) {
    std::lock_guard lock(mutex_);
    memories_.erase(uid);
  }
  std::vector<std::string> uids() const {
    std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [uid, memory] : memories_) out.push_back(uid);
    return out;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, PodMemory> memories_;
};

client::EventAbout about_pod(const schema::Object& pod);
// With fieldPath spec.containers{name}, as events about a container have it.
client::EventAbout about_container(const schema::Object& pod, std::string_view container);

}  // namespace dure::pods
