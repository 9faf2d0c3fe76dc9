// A node of kind vm: its disk, its QEMU, and the one thing that is done to the running machine from outside its kernel:
// pulling the network cable. Everything in it goes through guest.h.
//
// QEMU emulates the processor (there is no need for KVM), which is slow: a boot takes 10 to 20 seconds of one core.
#pragma once

#include <string>

#include "base/result.h"
#include "lab/network.h"
#include "lab/spec.h"
#include "lab/vm_root.h"

namespace dure::lab {

constexpr const char* qemu_program = "qemu-system-x86_64";

// The machine's own disk in its folder, with what makes the node itself and the program; kept when it is there.
Status make_vm_disk(const NodeSpec& node, const std::string& folder, const std::string& program,
                    const std::string& hosts);

// In a process of its own: makes the network device, says "ready" on `control` and becomes QEMU. Answers an exit status
// when it cannot.
int run_vm(const NodeSpec& node, const std::string& folder, const VmRoot& root, const Plug& plug, int control);

// The network device of the running machine has a carrier or not.
Status set_vm_carrier(const std::string& folder, bool carrier);

}  // namespace dure::lab
