// The root file system of nodes of kind systemd: Debian with systemd and containerd, made once by mmdebstrap(1) and
// kept in the cache; every node lays its own changes over it.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "lab/cache.h"

namespace dure::lab {

// The folder of the root file system; made first when it is not there, which takes a minute or two and a Debian mirror.
// It has a kernel and its modules, too, for nodes of kind vm (vm_root.h). Errors: NoMmdebstrap, RootNotMade with the
// last lines of what mmdebstrap said. It stays while `holds` lives; those of former recipes go once a new one is made.
Result<std::string> systemd_root(CacheHolds& holds, const std::function<void(const std::string&)>& step);

// In a node's pid 1, with its own mounts: makes `root` (with changes in `state`/root) the node's root. Answers false
// after saying why on stderr. `program` becomes /usr/local/bin/dure.
bool enter_systemd_root(const std::string& root, const std::string& state, const std::string& program);
// Replaces pid 1 by /sbin/init; answers only when that fails.
void become_systemd();

}  // namespace dure::lab
