// Machine: one node of a lab as the supervisor holds it: its namespaces, its services, its power switch.
//
// Thread: that of the supervisor. The folder keeps the node's state while it is switched off.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "lab/cgroup.h"
#include "lab/network.h"
#include "lab/spec.h"
#include "lab/vm_root.h"

namespace dure::lab {

class Machine {
 public:
  Machine(const LabSpec& lab, const NodeSpec& spec, const std::vector<Hierarchy>& groups);

  // What the lab has for all of its nodes.
  struct Ground {
    int init_pid = 0;          // of the lab
    std::string hosts;         // further lines of /etc/hosts
    std::string systemd_root;  // below nodes of kind systemd
    VmRoot vm_root;            // below nodes of kind vm
  };
  // Namespaces and pid 1, under the lab's pid 1; of a vm its QEMU, which boots for a while from then on.
  Status switch_on(const Ground& ground, const Plug& plug);
  // As if the plug was pulled: everything in it is killed at once. Its network device is gone.
  void switch_off();
  bool on() const { return pid_ > 0; }

  // Starts a service; it starts again by itself when it dies, and with the machine.
  void add_service(const std::string& name, const std::vector<std::string>& arguments);
  void start_services();  // all of them, after switch_on
  bool has_service(const std::string& name) const;
  void send_signal(const std::string& service, int number);
  // Of every dure service; they start again.
  void set_environment(const std::vector<std::string>& pairs);

  Status freeze(bool frozen);
  // Of a vm, whose kernel has devices and a clock of its own; the others share the machine's.
  bool vm() const { return spec_.kind == NodeKind::vm; }
  Status set_carrier(bool carrier) const;
  Status set_address(const Plug& plug) const;
  Status set_clock(Duration ahead) const;
  Status await_containerd() const;
  // Runs a command to its end and answers its output; "LabNodeFailed" with the output when it fails. Waits for a vm
  // that boots.
  Result<std::string> inside(const std::vector<std::string>& arguments) const;
  void write_hosts(const std::string& hosts) const;  // nothing while it is frozen

  const NodeSpec& spec() const { return spec_; }
  int pid() const { return pid_; }
  const std::string& folder() const { return folder_; }
  bool frozen() const { return frozen_; }
  int launcher() const { return on() ? launcher_ : 0; }  // the child that holds it
  std::string skew;                                      // as it was given: "+2h"; empty: none

 private:
  struct Service {
    std::string name;
    std::vector<std::string> arguments;
  };
  int launch(const Ground& ground, int control) const;
  int launch_vm(const Ground& ground, const Plug& plug, int control) const;
  Result<int> await_ready() const;
  Result<int> run(const std::vector<std::string>& arguments, int output) const;
  void order(const std::string& line) const;
  bool systemd() const { return spec_.kind != NodeKind::ns; }
  void start_unit(const Service& service) const;
  void control_unit(const std::vector<std::string>& words) const;

  const LabSpec& lab_;
  const NodeSpec& spec_;
  const std::vector<Hierarchy>& groups_;
  std::string folder_;
  std::vector<Service> services_;
  std::vector<std::string> environment_;
  int pid_ = 0, launcher_ = 0, control_ = -1;
  bool frozen_ = false;
};

}  // namespace dure::lab
