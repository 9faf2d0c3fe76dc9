// PodMemory: the soft state of one pod's worker. Nothing here is truth: losing it costs a repeated back-off or probe
// delay, never a container.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/time.h"
#include "schema/document.h"

namespace dure::pods {

struct Backoff {
  Duration delay = Duration::zero();  // zero: none yet
  WallTime updated;
  friend bool operator==(const Backoff&, const Backoff&) = default;
};

// Why a container is not running although it should; what its status shows as waiting.
struct Waiting {
  std::string reason, message;
  friend bool operator==(const Waiting&, const Waiting&) = default;
};

struct ContainerMemory {
  Backoff restart;
  std::optional<Waiting> waiting;
  // Results of probes for the container with this id; a new container starts afresh.
  std::string probed_id;
  std::optional<bool> ready;                // readiness probe's last word
  bool started = false;                     // startup probe passed
  std::optional<std::string> failed_probe;  // "liveness" or "startup": restart it
  std::string restart_id;    // this container was stopped in order to be restarted, whatever its exit code
  std::string backoff_told;  // the container whose back-off was told as an event
  bool killing = false;      // a stop of this container id is under way
  std::string killing_id;
  int64_t killing_grace = 0;
  int kills = 0;  // stops of killing_id that came to an end; more than one: it does not go
};

struct PodMemory {
  std::map<std::string, ContainerMemory> containers;  // by container name
  Duration sandbox_backoff = Duration::zero();
  bool finished = false;  // volumes and the sandbox of an ended or deleted pod are gone
  std::optional<std::string> rejected_reason, rejected_message;  // refused by the node
  schema::Object last_written;                                   // answer to our last status write
  WallTime first_seen;
};

}  // namespace dure::pods
