// Volumes: the volumes of this node's pods: emptyDir (disk and memory), hostPath, configMap, secret, projected (tokens
// among them), downwardAPI, and claims that are bound to a hostPath or local volume.
//
// Everything is on disk below <root>/pods/<uid>/volumes, in the kubelet's layout; what is mounted is read back from the
// kernel, so a new agent carries on where the old one ended. ConfigMaps, Secrets, labels and tokens are kept up to date
// while the pod is there. Owner: the host's wiring. Thread: any; calls block on disk and API; calls for one pod are put
// in order.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "kernel/mounts.h"
#include "run/loop.h"

namespace dure::volumes {

struct VolumesOptions {
  std::string root = "/var/lib/kubelet";
  Duration token_check = 60s;  // how often tokens that need renewal are looked for
  bool owners = true;          // false: files keep the agent's owner (tests without root)
};

// Values of a pod that downwardAPI files show; the pods room knows them.
struct PodFacts {
  std::function<Result<std::string>(const schema::Object& pod, std::string_view field_path)> field;
  std::function<Result<std::string>(const schema::Object& pod, std::string_view container, std::string_view resource,
                                    std::string_view divisor)>
      resource;
};

class Volumes {
 public:
  Volumes(client::Client& client, run::Executor& executor, run::Executor& jobs, kernel::Mounts& mounts, PodFacts facts,
          VolumesOptions options = {});
  ~Volumes();

  // Volume name -> path on the node; idempotent; brings contents up to date. The first volume that cannot be had is the
  // error, in upstream's words
  // (`MountVolume.SetUp failed for volume "x" : configmap "y" not found`).
  Result<std::map<std::string, std::string>> mount(const schema::Object& pod);
  // A path that shows what lies at `sub_path` of a volume; links cannot lead it outside.
  Result<std::string> sub_path(const schema::Object& pod, const std::string& volume, const std::string& path,
                               const std::string& sub_path);
  // A pod that runs, as it is now. Where its labels or annotations changed, or an agent before us mounted its volumes,
  // their contents are brought up to date as a job; one that fails is tried again with the next call. Never blocks.
  void follow(const schema::Object& pod);
  // Unmounts and removes all volumes of a pod.
  Status unmount(const std::string& uid);
  std::vector<std::string> uids() const;
  // Removes a folder of files when nothing is mounted below it.
  Status remove_tree(const std::string& path);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dure::volumes
