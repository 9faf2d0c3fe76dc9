#include "bootstrap/journal.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"file", "folder", "sysctl", "link", "table"};

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

}  // namespace dure::bootstrap
