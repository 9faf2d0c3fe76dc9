#include "bootstrap/reset.h"

#include <algorithm>

#include "bootstrap/journal.h"
#include "bootstrap/service.h"
#include "kernel/links.h"
#include "kernel/mounts.h"
#include "kernel/nft.h"
#include "kernel/sysctl.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

std::string describe(const Change& change) {
  switch (change.kind) {
    case Change::Kind::file:
      return "file " + change.what;
    case Change::Kind::folder:
      return "folder " + change.what;
    case Change::Kind::sysctl:
      return "sysctl " + change.what + " = " + change.former;
    case Change::Kind::link:
      return "link " + change.what;
    case Change::Kind::table:
      return "nft table " + change.what;
    case Change::Kind::unit:
      return "unit " + change.what;
  }
  return {};
}

Status gone_is_fine(Status status) {
  if (!status && (status.error().is("NotFound") || status.error().is("FileNotFound"))) return {};
  return status;
}

Status undo(Machine& machine, const Change& change) {
  switch (change.kind) {
    case Change::Kind::file:
      DURE_CHECK(gone_is_fine(machine.disk.remove(change.what + ".new")));
      return gone_is_fine(machine.disk.remove(change.what));
    case Change::Kind::folder:
      DURE_CHECK(machine.mounts.unmount_all(change.what));
      return remove_tree(machine.disk, change.what);
    case Change::Kind::sysctl:
      return gone_is_fine(machine.sysctl.set(change.what, change.former));
    case Change::Kind::link:
      return machine.links.remove(change.what);
    case Change::Kind::table:
      return machine.nft.remove_table();
    case Change::Kind::unit:
      return machine.services ? machine.services->stop(change.what) : Status();
  }
  return {};
}

// Nothing was recorded, so nothing was made but the folder that the journal would have been in. A key may lie there
// that was copied from a member.
bool is_only_begun(os::Disk& disk, const Places& places) {
  const auto names = disk.list(places.data);
  return names && std::ranges::all_of(*names, [](const std::string& name) {
           return name == "journal" || name == "journal.new" || name == "snapshot" || name == "snapshot.new" ||
                  name == "wireguard.key";
         });
}

}  // namespace

Status remove_tree(os::Disk& disk, const std::string& path) {
  if (!disk.exists(path)) return {};
  auto names = disk.list(path);
  if (names) {
    for (const std::string& name : *names) {
      const std::string child = path + "/" + name;
      if (disk.remove(child)) continue;  // a file, a link or an empty folder
      DURE_CHECK(remove_tree(disk, child));
    }
  }
  return gone_is_fine(disk.remove(path));
}

ResetReport reset(Machine machine, const Places& places, const std::function<Status()>& remove_pods) {
  ResetReport report;
  auto note = [&](const std::string& what, const Status& status) {
    if (status)
      report.undone.push_back(what);
    else
      report.refused.push_back(what + ": " + status.error().message);
  };
  const Journal journal(machine.disk, places.journal());
  auto changes = journal.changes();
  if (!changes) {
    report.refused.push_back("journal " + places.journal() + ": " + changes.error().message);
    return report;
  }
  const Change data{Change::Kind::folder, places.data};
  if (changes->empty()) {
    if (is_only_begun(machine.disk, places)) note(describe(data), undo(machine, data));
    return report;
  }
  bool had_units = false;
  for (auto change = changes->rbegin(); change != changes->rend(); ++change) {
    if (change->kind != Change::Kind::unit) continue;
    had_units = true;
    note(describe(*change), undo(machine, *change));
  }
  // Until its unit stopped, the agent was at work and wrote down more.
  if (had_units)
    if (auto now = journal.changes()) changes = std::move(now);
  if (remove_pods) note("pods of this node", remove_pods());
  // The folder that holds the journal goes last, and only when everything else went: a second reset can then finish the
  // work.
  for (auto change = changes->rbegin(); change != changes->rend(); ++change)
    if (change->what != places.data && change->kind != Change::Kind::unit)
      note(describe(*change), undo(machine, *change));
  if (had_units && machine.services) note("unit files that systemd remembered", machine.services->reload());
  if (report.refused.empty()) note(describe(data), undo(machine, data));
  return report;
}

}  // namespace dure::bootstrap
