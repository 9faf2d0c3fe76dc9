// Questions one asks a RuntimePod.
#include "pods/runtime_state.h"

namespace dure::pods {

const RuntimeContainer* RuntimePod::newest(std::string_view container_name) const {
  for (const RuntimeContainer& c : containers)
    if (c.name == container_name) return &c;
  return nullptr;
}

const RuntimeContainer* RuntimePod::previous(std::string_view container_name) const {
  const RuntimeContainer* first = nullptr;
  for (const RuntimeContainer& c : containers) {
    if (c.name != container_name) continue;
    if (first && c.state == ContainerState::exited) return &c;
    first = &c;
  }
  return nullptr;
}

const RuntimeContainer* RuntimePod::by_id(std::string_view id) const {
  for (const RuntimeContainer& c : containers)
    if (c.id == id) return &c;
  return nullptr;
}

const RuntimeSandbox* RuntimePod::ready_sandbox() const {
  for (const RuntimeSandbox& s : sandboxes)
    if (s.ready) return &s;
  return nullptr;
}

bool RuntimePod::any_running() const {
  for (const RuntimeContainer& c : containers)
    if (c.state == ContainerState::running || c.state == ContainerState::unknown) return true;
  return false;
}

}  // namespace dure::pods
