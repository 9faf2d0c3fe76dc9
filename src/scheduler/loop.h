// The scheduling loop: takes the pods that wait for a node, highest priority first, then oldest; plans them against one
// snapshot and binds each. It looks again whenever a pod or node changed.
#pragma once

#include "client/client.h"
#include "client/events.h"
#include "client/loop.h"

namespace dure::scheduler {

inline constexpr std::string_view default_scheduler = "default-scheduler";

// `client`, `caches`, `events` and `executor` outlive the loop.
client::LoopSpec scheduling(client::Client& client, client::Caches& caches, client::EventRecorder& events,
                            run::Executor& executor);

}  // namespace dure::scheduler
