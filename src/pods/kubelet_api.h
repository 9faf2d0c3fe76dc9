// The node's HTTP API, as the kubelet has it: container logs, exec, attach, port-forward, pods, stats, metrics.
//
// A Handler to be served over the reverse tunnel (wire::serve_stream): there is no port, and who may ask is decided by
// the API server before it opens a tunnel stream. exec, attach and port-forward ask the runtime for a streaming address
// on loopback and then pass the bytes of the upgraded connection (SPDY/3.1) both ways without looking at them.
#pragma once

#include <functional>
#include <memory>

#include "pods/pods.h"
#include "wire/http.h"

namespace dure::pods {

struct KubeletApiOptions {
  std::string node_name;
  Duration follow_interval = 200ms;     // how often a followed log is looked at
  size_t unsent_bytes_max = 256 << 10;  // a slow reader of logs is waited for
};

// `jobs` reads files and calls the runtime. `pods` and both executors outlive every request.
wire::Handler kubelet_api(Pods& pods, run::Executor& executor, run::Executor& jobs, KubeletApiOptions options);

}  // namespace dure::pods
