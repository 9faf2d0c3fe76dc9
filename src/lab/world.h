// World: a running lab as one thing: its network, its machines, the cluster on them, the way in; and what can be done
// to it while it runs.
//
// Thread: that of the supervisor. A change answers one sentence about what it did. Changes are idempotent: asking for
// what already is says so. What makes no sense is refused: NoSuchSite, NoSuchNode, NotPossible.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/cache.h"
#include "lab/cgroup.h"
#include "lab/machine.h"
#include "lab/network.h"
#include "lab/spec.h"

namespace dure::lab {

class World {
 public:
  // `step` is told each finished step of `build`.
  World(const LabSpec& spec, std::function<void(const std::string&)> step);

  // Everything up to the cluster. The calling process must be the one that waits for the children.
  Status build();
  // Ends every process. Answers how many cgroup folders stayed.
  int end();
  bool alive() const;  // is the lab's pid 1
  void fill(LabState& state) const;

  Result<std::string> cut(const std::string& a, const std::string& b);
  Result<std::string> heal(const std::string& a, const std::string& b);  // both empty: everything
  Result<std::string> roam(const std::string& node, const std::string& site);
  Result<std::string> link(const std::string& site, const std::vector<std::string>& parts);
  Result<std::string> kill_service(const std::string& node, const std::string& what);  // agent server containerd power
  Result<std::string> start(const std::string& node);
  Result<std::string> freeze(const std::string& node, bool frozen);
  Result<std::string> renumber(const std::string& site);
  Result<std::string> reboot(const std::string& site);
  Result<std::string> skew(const std::string& node, const std::string& by);  // "+2h", "-90s", "0"

 private:
  Status start_init();
  Status switch_on_all();
  Status await_vms();
  Status start_cluster();
  Status start_server(Machine& machine);
  Status join_cluster(Machine& machine, const std::string& join_command);
  Status open_door();
  Status write_kubeconfig(const Machine& server) const;
  std::string hosts() const;
  Status find_roots();
  Status switch_on(Machine& machine);
  Status set_plugged(Machine& machine, bool plugged);
  Result<Machine*> machine(const std::string& name);
  Result<Machine*> running(const std::string& name);
  Status known_site(const std::string& name) const;
  bool is_site(const std::string& name) const { return spec_.topology.site(name) != nullptr; }
  Status check_cut(const std::string& a, const std::string& b);
  Result<std::string> unplug(const std::string& node, bool plugged);
  std::string condition(const Machine& machine) const;

  const LabSpec& spec_;
  std::function<void(const std::string&)> step_;
  Network network_;
  std::vector<Hierarchy> groups_;
  std::list<Machine> machines_;
  CacheHolds cache_holds_;
  Machine::Ground ground_;
  int init_pid_ = 0, door_fd_ = -1, door_pid_ = 0, api_port_ = 0;
};

// The name that stands for the public address of a site in every node's /etc/hosts, as a dynamic DNS name would.
std::string site_host(const std::string& site);

}  // namespace dure::lab
