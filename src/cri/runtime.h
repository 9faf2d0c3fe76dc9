// Runtime: the container runtime as the agent sees it, CRI v1 (RuntimeService and ImageService).
//
// Messages are views over rows (cri/cri_v1.rows, compiled by rowc into namespace dure::cri::v1). Implementations:
// connect (gRPC over a unix socket, containerd or CRI-O) and MemoryRuntime (cri/memory_runtime.h: "runs" pods, for
// tests and the simulator). One conformance suite, cri/conformance.h. Thread: any; calls block up to `timeout`. Errors
// keep gRPC's code in `reason`
// ("NotFound", "DeadlineExceeded", "Unavailable", ...).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "run/loop.h"
#include "schema/document.h"

namespace dure::cri {

class Runtime {
 public:
  virtual ~Runtime() = default;
  // One unary call: `method` as in the proto ("RunPodSandbox"; the service is found by the method), request and
  // response are Documents of the method's row types. e.g. call("Version", request_document).
  virtual Result<schema::Document> call(std::string_view method, const schema::Document& request,
                                        Duration timeout = 2min) = 0;
  // Container events (GetContainerEvents) where the runtime has them. Returns an error "Unimplemented" where not
  // (containerd 1.6): the agent then lists at intervals. The handle ends the stream.
  virtual Result<std::unique_ptr<run::Timer>> events(std::function<void(const schema::Document&)> on_event,
                                                     std::function<void(Error)> on_end) = 0;
  // The same without holding a thread: for calls that last (StopContainer, PullImage). `done` runs once, on a thread
  // that must not be blocked.
  using Done = std::move_only_function<void(Result<schema::Document>)>;
  virtual void call_async(std::string_view method, const schema::Document& request, Duration timeout, Done done) {
    done(call(method, request, timeout));
  }
  // Ends calls in flight with "Canceled", so that an agent that is told to end does not wait for a container's grace
  // period. Later calls work as before.
  virtual void interrupt_calls() {}
};

// endpoint: "unix:///run/containerd/containerd.sock". Connects lazily and reconnects by itself.
std::unique_ptr<Runtime> connect(run::Loop& loop, std::string endpoint);

}  // namespace dure::cri
