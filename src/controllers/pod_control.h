// Making and removing pods for a workload, with the events that kubectl users expect of it.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

// Says what happened as an event about the workload. That the namespace is leaving is no failure: nothing can be made
// there any more.
Status make_pod(Client& client, EventRecorder& events, const EventAbout& workload, const Document& pod,
                std::string_view namespace_);

// The first failure is the answer, when all were tried; a pod that is gone already is none.
Status remove_pods(Client& client, EventRecorder& events, const EventAbout& workload, const std::vector<Object>& pods);

// The server refused to make something because its namespace is being deleted.
bool is_namespace_leaving(const Error& error);

// Calls `act` for 0 to count - 1 in batches of 1, 2, 4, ...; stops at the first batch with a failure, so that a refused
// template costs a few requests and not hundreds. The first error is the answer.
Status slow_start(size_t count, const std::function<Status(size_t index)>& act);

}  // namespace dure::controllers
