// The way into a lab: one TCP port on the machine's loopback, forwarded to an address inside a node's network
// namespace.
#pragma once

#include <string>

#include "base/result.h"

namespace dure::lab {

// Listens on 127.0.0.1:`port` (0: chosen) in the caller's namespace and answers the descriptor and the port.
struct Listener {
  int fd = -1, port = 0;
};
Result<Listener> listen_on_loopback(int port);

// Joins the network namespace of `pid`, then forwards until the process ends. Single-threaded; up to 256 connections at
// a time, further ones wait in the listener's backlog.
int forward(int listener, int pid, const std::string& address, int port);

}  // namespace dure::lab
