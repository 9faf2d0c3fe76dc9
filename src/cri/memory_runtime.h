// MemoryRuntime: a Runtime that "runs" pods in memory, for unit tests and the simulator.
//
// Containers do what their command says: `sleep N` ends well after N seconds, `exit N` ends at once with N, `sh -c
// "sleep 5; exit 3"` both, anything else (a server) runs until it is stopped. `ignore-term` in the command makes
// SIGTERM useless (exit code 137 instead of 143). Time is the executor's, so that with a VirtualExecutor everything is
// deterministic. Stopping never blocks. Thread: any. Conformance suite: cri/conformance.h.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cri/runtime.h"

namespace dure::cri {

struct MemoryRuntimeOptions {
  std::string address_prefix = "10.244.1.";  // sandboxes get .2, .3, ... and take turns
  int addresses = 250;
  Duration event_lead =
      Duration::zero();  // ends by themselves are told this much before the lists show them, as containerd may
  bool events = true;    // false: "Unimplemented", as containerd 1.6 answers
};

struct MemoryExec {
  int exit_code = 0;
  std::string out, err;
};

class MemoryRuntime : public Runtime {
 public:
  using Options = MemoryRuntimeOptions;
  explicit MemoryRuntime(run::Executor& executor, Options options = {});
  ~MemoryRuntime() override;

  Result<schema::Document> call(std::string_view method, const schema::Document& request, Duration timeout) override;
  Result<std::unique_ptr<run::Timer>> events(std::function<void(const schema::Document&)> on_event,
                                             std::function<void(Error)> on_end) override;

  // --- The hand of the test.
  void add_image(const std::string& name);           // is on the node
  void add_registry_image(const std::string& name);  // can be pulled; unknown images cannot
  // What ExecSync answers; default: exit 0 and no output.
  void set_exec(
      std::function<MemoryExec(const std::string& container_id, const std::vector<std::string>& command)> exec);
  void end_container(const std::string& id, int exit_code, const std::string& reason = {});  // it died by itself
  void set_down(bool down);  // the runtime process is away: calls answer Unavailable, containers go on
  void lose_power();         // everything stopped at once; images and records stay
  void fail_next(const std::string& method, Error error, int times = 1);
  void set_network_ready(bool ready);

  int calls(const std::string& method) const;  // answered so far
  struct Running {
    std::string pod, container, id;
    uint32_t attempt = 0;
    std::vector<std::pair<std::string, std::string>> env;
    std::vector<std::string> command;
  };
  std::vector<Running> running() const;  // by pod and container name
  size_t sandboxes() const;              // ready ones

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dure::cri
