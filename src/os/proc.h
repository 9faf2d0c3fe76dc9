// Proc: child processes. Thread: any.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dure::os {

struct ProcessSpec {
  std::vector<std::string> argv;                // argv[0] is looked up on PATH when it holds no slash
  std::optional<std::vector<std::string>> env;  // "NAME=value"; absent: ours
  std::string working_directory;                // empty: ours
  // {child's, ours}: descriptors the child gets; others are closed on exec. 0, 1 and 2 default to /dev/null, ours,
  // ours.
  std::vector<std::pair<int, int>> descriptors;
  int parent_death_signal = 0;  // e.g. SIGKILL: the child does not outlive the thread that spawned it
  bool new_process_group = false;
  bool new_session = false;
  // Namespaces to enter before exec, as open descriptors (setns), in this order.
  std::vector<int> namespaces;
};

struct ProcessExit {
  int code = -1;   // when it ended by itself
  int signal = 0;  // when a signal ended it
  bool ok() const { return signal == 0 && code == 0; }
};

// A child; destroying it does not end the child, but a child that has ended is then reaped by whoever waits for its
// pid.
class Process {
 public:
  virtual ~Process() = default;
  virtual pid_t pid() const = 0;
  virtual Result<ProcessExit> wait() = 0;                             // blocks; the same answer when asked again
  virtual Result<std::optional<ProcessExit>> wait_for(Duration) = 0;  // empty when it still runs
  virtual Status kill(int signal) = 0;                                // to the process group when it has its own
};

// An exec that fails is an error here, not an exit code.
Result<std::unique_ptr<Process>> spawn(const ProcessSpec& spec);

struct Output {
  ProcessExit exit;
  std::string out, err;
};
// Runs to the end and collects what it wrote (each at most `bytes_max`, then it is killed); kills after `timeout`.
Result<Output> run_command(ProcessSpec spec, std::string_view input = {}, Duration timeout = 30s,
                           size_t bytes_max = 16 << 20);

}  // namespace dure::os
