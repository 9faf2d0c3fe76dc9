// Cable: a process that carries Ethernet frames between two TAP devices with delay, jitter, loss and a rate, all of
// them settable while it runs. It stands in for netem, which many kernels lack.
//
// Order is kept. Bounds: 16 MB a direction in flight, and a rate limit queues at most 200 ms; what comes on top is
// dropped.
#pragma once

#include <string>

#include "base/result.h"
#include "lab/topology.h"

namespace dure::lab {

struct CableEnds {
  int pid_a = 0, pid_b = 0;  // processes whose network namespaces get the devices
  std::string name_a, name_b;
};

// A TAP device in the network namespace of `pid`, which is joined for it; -1 after saying why on stderr. Frames come
// with a virtio header. The device is there as long as the descriptor.
int open_tap(int pid, const std::string& name);

// Makes both devices and carries until the other end of `control` is closed. One byte goes out on `control` when the
// devices are there; each `Cable` (as bytes) that comes in applies from then on. Answers an exit status.
int run_cable(const CableEnds& ends, const Cable& cable, int control);

}  // namespace dure::lab
