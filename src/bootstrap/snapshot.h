// Snapshot: what a machine looks like where dure changes something, as lines of text: links, routes, our nftables
// table, sysctls, mounts, files and units. Taken before anything is changed and kept beside the journal; after `reset`
// the two must be equal (`dure reset --verify`).
//
// What comes and goes by itself is left out: veth devices (of Docker's containers) unless they are ours, routes that
// the kernel or DHCP made, mounts of container runtimes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bootstrap/reset.h"
#include "bootstrap/settings.h"

namespace dure::bootstrap {

using SnapshotLines = std::vector<std::string>;  // sorted

// What cannot be read is a line that says so, which is then a difference or none.
SnapshotLines take_snapshot(Machine machine, const Places& places);

// The first thing that init and join do to a machine: the data folder with the journal in it, and the snapshot, which
// is then the one from before. A snapshot that is there is kept.
Status begin_journal(Machine machine, const Places& places);
Result<SnapshotLines> read_snapshot(os::Disk& disk, const Places& places);

// "- LINE": was there and is gone; "+ LINE": was left.
std::vector<std::string> snapshot_difference(const SnapshotLines& before, const SnapshotLines& after);

}  // namespace dure::bootstrap
