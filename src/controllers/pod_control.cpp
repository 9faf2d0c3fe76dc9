#include "controllers/pod_control.h"

#include <algorithm>

namespace dure::controllers {

bool is_namespace_leaving(const Error& error) {
  return std::any_of(error.causes.begin(), error.causes.end(),
                     [](const Cause& cause) { return cause.reason == "NamespaceTerminating"; });
}

Status make_pod(Client& client, EventRecorder& events, const EventAbout& workload, const Document& pod,
                std::string_view namespace_) {
  auto made = client.create(core::pods, pod, namespace_);
  if (made) {
    events.normal(workload, "SuccessfulCreate", "Created pod: " + std::string(client::name_of(*made)));
    return {};
  }
  if (is_namespace_leaving(made.error())) return {};
  events.warning(workload, "FailedCreate", "Error creating: " + made.error().message);
  return fail(std::move(made).error());
}

Status remove_pods(Client& client, EventRecorder& events, const EventAbout& workload, const std::vector<Object>& pods) {
  Status worst;
  for (const Object& pod : pods) {
    client::DeleteOptions options;
    options.precondition_uid = std::string(client::uid_of(pod));
    Status removed = client.remove(core::pods, client::key_of(pod), options);
    if (removed) {
      events.normal(workload, "SuccessfulDelete", "Deleted pod: " + std::string(client::name_of(pod)));
    } else if (removed.error().code != 404) {
      events.warning(workload, "FailedDelete", "Error deleting: " + removed.error().message);
      if (worst) worst = std::move(removed);
    }
  }
  return worst;
}

Status slow_start(size_t count, const std::function<Status(size_t)>& act) {
  size_t done = 0;
  for (size_t batch = 1; done < count; batch *= 2) {
    Status worst;
    for (const size_t end = std::min(done + batch, count); done < end; ++done)
      if (Status one = act(done); !one && worst) worst = std::move(one);
    if (!worst) return worst;
  }
  return {};
}

}  // namespace dure::controllers
