// Lifecycle handlers: what postStart and preStop ask for, done through the runtime or the network. Blocks.
#pragma once

#include "kinds/views/core_v1.h"
#include "pods/parts.h"

namespace dure::pods {

struct HookTarget {
  std::string container_id;
  std::string pod_ip;
};

// exec and httpGet; sleep is left to the caller's timer. An error says what the handler answered.
Status run_handler(PodsParts& parts, const kinds::core_v1::Container& container,
                   const kinds::core_v1::LifecycleHandler& handler, const HookTarget& target, Duration timeout);

// A number, or the name of one of the container's ports; 0 when there is none.
int port_number(const kinds::core_v1::Container& container, const schema::Node* int_or_string);

// The command's output (stdout then stderr) and exit code.
struct ExecAnswer {
  int exit_code = 0;
  std::string output;
};
Result<ExecAnswer> exec_sync(cri::Runtime& runtime, const std::string& container_id,
                             const std::vector<std::string>& command, Duration timeout);

}  // namespace dure::pods
