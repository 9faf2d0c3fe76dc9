// The supervisor: builds a lab, keeps it, ends it. It runs in a process of its own (single-threaded: it forks and joins
// namespaces) and holds the lock of the lab's folder while it lives. It ends when it is told (SIGTERM), when the time
// limit is over, or when the lab's pid 1 dies; ending kills that pid 1, which takes every process, namespace and mount
// along, and removes the cgroups and the nodes' state.
#pragma once

#include <functional>
#include <string>

#include "lab/spec.h"

namespace dure::lab {

// One line per finished step, or "error: ..." last. Called in the supervisor's process.
using Progress = std::function<void(const std::string& line)>;

// Builds, reports "up" as the last line, then stays until the end. Answers the exit status.
int supervise(const LabSpec& spec, const Progress& progress);

}  // namespace dure::lab
