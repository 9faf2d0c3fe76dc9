// Processes and namespaces as the lab needs them: clone into new namespaces, join those of another process, run a
// command there. Everything here must be called from a single-threaded process: setns(2) of mounts demands it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace dure::lab {

// A child in new namespaces (CLONE_NEW* flags); it dies with the calling thread and exits with what `body` answers. The
// pid is the caller's.
Result<int> clone_child(int namespace_flags, const std::function<int()>& body);

// Joins the namespaces of `pid` ("pid", "mnt", "net", "uts", "ipc", "cgroup"); a joined pid namespace holds for
// children only.
Status join_namespaces(int pid, const std::vector<std::string>& which);

// What the caller's environment says (a proxy, a kubeconfig) is not true inside a node: of it only PATH, TERM and LANG
// are kept.
void clean_environment();

struct Command {
  std::vector<std::string> arguments;                            // arguments[0] is found on PATH
  std::vector<std::pair<std::string, std::string>> environment;  // added to the caller's
  int output = -1;                                               // stdout and stderr go there; -1: the caller's
  bool die_with_parent = true;
};

// Replaces the process; answers only on failure (exit status 127 is the habit).
[[noreturn]] void execute(const Command& command);
// fork + execute in the caller's namespaces.
Result<int> spawn(const Command& command);
// Waits; 128 + signal when it was killed.
int wait_for(int pid);
// Has ended, or was killed, though perhaps it is not reaped yet.
bool has_ended(int pid);
// Runs `work` in a child, which may have threads and join namespaces, and answers what it answered there.
Status run_in_child(const std::function<Status()>& work);
// Runs the command inside all namespaces of `pid` and its cgroup, in a clean environment, and waits.
Result<int> run_inside(int pid, const Command& command);

}  // namespace dure::lab
