// Journal: every lasting change to the machine, written down before it is made, so that reset can undo it in reverse
// order.
//
// One line per change in an append-only text, synced before `record` returns. Replaying after a crash is safe: undoing
// a change that was never made, or twice, does nothing. Thread: one.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::os {
class Disk;
}

namespace dure::bootstrap {

struct Change {
  // file: a file of ours; folder: one of ours with everything in it; sysctl: path under /proc/sys with its former
  // value; link: a network device of ours; table: an nftables table of ours ("inet dure"); unit: a systemd unit of
  // ours, enabled and started (its file is a change of its own).
  enum class Kind { file, folder, sysctl, link, table, unit };
  Kind kind;
  std::string what;
  std::string former = {};  // sysctl only
  friend bool operator==(const Change&, const Change&) = default;
};

struct Places;

class Journal {
 public:
  Journal(os::Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  // Recording the same change again is free; the first former value of a sysctl is the one that is kept.
  Status record(const Change& change);
  Result<std::vector<Change>> changes() const;  // oldest first; a torn last line is left out

 private:
  os::Disk& disk_;
  std::string path_;
};

// Links that the journal at `places` knows as ours.
std::set<std::string> own_links(os::Disk& disk, const Places& places);

// Records what `init` and `join` are going to make at `places`: a folder as a whole where there was none, otherwise
// only our own files in it. Call before making anything.
Status record_places(os::Disk& disk, Journal& journal, const Places& places);

}  // namespace dure::bootstrap
