#include "bootstrap/journal.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "bootstrap/settings.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"file", "folder", "sysctl", "link", "table", "unit"};

std::string line_of(const Change& change) {
  return std::string(kNames[static_cast<size_t>(change.kind)]) + "\t" + change.what + "\t" + change.former + "\n";
}

}  // namespace

Result<std::vector<Change>> Journal::changes() const {
  std::vector<Change> out;
  if (!disk_.exists(path_)) return out;
  DURE_TRY(const std::string text, os::read_file(disk_, path_));
  size_t at = 0;
  for (size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const auto parts = split(std::string_view(text).substr(at, end - at), '\t');
    const auto name = std::find(kNames.begin(), kNames.end(), parts[0]);
    if (parts.size() != 3 || name == kNames.end()) continue;
    out.push_back({static_cast<Change::Kind>(name - kNames.begin()), std::string(parts[1]), std::string(parts[2])});
  }
  return out;
}

Status Journal::record(const Change& change) {
  DURE_TRY(const std::vector<Change> known, changes());
  for (const Change& one : known)
    if (one.kind == change.kind && one.what == change.what) return {};
  std::string text;
  for (const Change& one : known) text += line_of(one);
  return os::write_file_atomic(disk_, path_, text + line_of(change));
}

std::set<std::string> own_links(os::Disk& disk, const Places& places) {
  std::set<std::string> out;
  const auto changes = Journal(disk, places.journal()).changes();
  if (!changes) return out;
  for (const Change& change : *changes)
    if (change.kind == Change::Kind::link) out.insert(change.what);
  return out;
}

Status record_places(os::Disk& disk, Journal& journal, const Places& places) {
  using Kind = Change::Kind;
  DURE_CHECK(journal.record({Kind::folder, places.data}));
  auto record = [&](const std::string& folder, const std::vector<Change>& ours) -> Status {
    if (!disk.exists(folder)) return journal.record({Kind::folder, folder});
    for (const Change& change : ours)
      if (!disk.exists(folder + "/" + change.what))
        DURE_CHECK(journal.record({change.kind, folder + "/" + change.what}));
    return {};
  };
  DURE_CHECK(record(places.settings, {{Kind::file, "server.conf"}, {Kind::file, "agent.conf"}}));
  DURE_CHECK(record(places.kubelet, {{Kind::folder, "pods"}}));
  return record(places.kubernetes, {{Kind::folder, "pki"},
                                    {Kind::file, "admin.conf"},
                                    {Kind::file, "super-admin.conf"},
                                    {Kind::file, "controller-manager.conf"},
                                    {Kind::file, "scheduler.conf"},
                                    {Kind::file, "bootstrap-kubelet.conf"},
                                    {Kind::file, "kubelet.conf"}});
}

}  // namespace dure::bootstrap
