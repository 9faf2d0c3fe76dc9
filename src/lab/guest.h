// Commands inside a node that is a virtual machine, over its virtio serial ports: neither network nor login is needed.
// A port carries one command at a time; what is started here looks like a process of this machine.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dure::lab {

constexpr int guest_ports = 6;  // commands at a time; a further one waits

// The host's end of port number `port` (a UNIX socket of QEMU, in the node's folder), and its name in the guest.
std::string guest_socket(int port);
std::string guest_port_name(int port);

struct GuestCommand {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;                         // "KEY=VALUE"
  int input = -1, output = -1, errors = -1;                     // descriptors of the caller; -1: nothing
  bool terminal = false;                                        // `input` is one: the command gets one, too
  Duration start_within = 180s, end_within = Duration::zero();  // zero: as long as it takes
  std::function<bool()> alive = [] { return true; };            // is the machine still there
};

// Waits for a free port, for the guest (which may still boot), and for the command's end. Answers its exit status, as
// wait_for. When the caller ends, the command is killed. Errors: GuestSilent, GuestGone.
Result<int> run_in_guest(const std::string& folder, const GuestCommand& command);

// The end in the guest: serves every port of that name until it is killed. "NotFound" where there is none.
Status serve_guest();

}  // namespace dure::lab
