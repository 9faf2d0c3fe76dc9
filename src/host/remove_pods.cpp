#include "host/remove_pods.h"

#include "cri/runtime.h"
#include "cri/views/cri_v1.h"
#include "run/loop.h"

namespace dure::host {

namespace v1 = cri::v1;

Status remove_pods(const std::string& runtime_endpoint) {
  run::LoopThread thread("dure-reset");
  const auto runtime = cri::connect(thread.loop(), runtime_endpoint);
  const schema::Document all(v1::ListPodSandboxRequest::schema_type());
  DURE_TRY(const schema::Document listed, runtime->call("ListPodSandbox", all, 10s));
  for (const auto& sandbox : v1::ListPodSandboxResponse(listed).items()) {
    if (!sandbox.labels().contains("io.kubernetes.pod.uid")) continue;
    schema::Document stop(v1::StopPodSandboxRequest::schema_type());
    v1::StopPodSandboxRequest(stop).set_pod_sandbox_id(sandbox.id());
    if (auto stopped = runtime->call("StopPodSandbox", stop); !stopped) return fail(std::move(stopped.error()));
    schema::Document remove(v1::RemovePodSandboxRequest::schema_type());
    v1::RemovePodSandboxRequest(remove).set_pod_sandbox_id(sandbox.id());
    if (auto removed = runtime->call("RemovePodSandbox", remove); !removed) return fail(std::move(removed.error()));
  }
  return {};
}

}  // namespace dure::host
