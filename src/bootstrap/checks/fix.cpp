#include "bootstrap/checks/fix.h"

#include <algorithm>

#include "base/text.h"
#include "bootstrap/checks/fact_files.h"
#include "bootstrap/settings.h"
#include "kernel/sysctl.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

constexpr const char* kSysctlFile = "/etc/sysctl.d/90-dure.conf";

class Fixer {
 public:
  Fixer(os::Disk& disk, kernel::Sysctl& sysctl, const Places& places,
        const std::function<Status(const std::string&)>& load_module)
      : disk_(disk), sysctl_(sysctl), places_(places), journal_(disk, places.journal()), load_module_(load_module) {}

  Status prepare() {
    DURE_CHECK(disk_.make_directories(places_.data, 0700));
    return journal_.record({Change::Kind::folder, places_.data});
  }

  Status apply(const FixAction& action) {
    if (action.change.kind == Change::Kind::sysctl) return set(action.change.what, action.value);
    if (action.change.kind == Change::Kind::file) return write(action.change.what, action.value);
    return fail(Error{501, "NotFixable", "this kind of change is made by init and join only"});
  }

 private:
  Status set(const std::string& name, const std::string& value) {
    DURE_TRY(const std::string former, sysctl_.get(name));
    DURE_CHECK(journal_.record({Change::Kind::sysctl, name, former}));
    DURE_CHECK(keep(name, value));
    return sysctl_.set(name, value);
  }

  Status keep(const std::string& name, const std::string& value) {
    std::string text;
    if (auto there = os::read_file(disk_, kSysctlFile)) text = *there;
    std::string key = name;
    std::ranges::replace(key, '/', '.');
    auto values = assignments(text);
    if (const auto found = values.find(key); found != values.end() && found->second == value) return {};
    return write(kSysctlFile, text + key + " = " + value + "\n");
  }

  Status write(const std::string& path, const std::string& text) {
    const std::string folder = path.substr(0, path.rfind('/'));
    if (!disk_.exists(folder)) {
      DURE_CHECK(journal_.record({Change::Kind::folder, folder}));
      DURE_CHECK(disk_.make_directories(folder, 0755));
    }
    DURE_TRY(const auto known, journal_.changes());
    const Change change{Change::Kind::file, path};
    if (disk_.exists(path) && std::ranges::find(known, change) == known.end())
      return fail(Error{409, "AlreadyExists", path + " is there already and not dure's", "edit it by hand"});
    DURE_CHECK(journal_.record(change));
    DURE_CHECK(os::write_file_atomic(disk_, path, text, 0644));
    if (!path.starts_with("/etc/modules-load.d/")) return {};
    for (const std::string& module : lines_of(text)) DURE_CHECK(load_module_(module));
    return {};
  }

  os::Disk& disk_;
  kernel::Sysctl& sysctl_;
  const Places& places_;
  Journal journal_;
  const std::function<Status(const std::string&)>& load_module_;
};

std::string line_of(const FixAction& action) {
  return action.change.kind == Change::Kind::sysctl
             ? "sysctl " + action.change.what + " = " + action.value + " (was " + action.change.former + ")"
             : "file " + action.change.what;
}

}  // namespace

FixReport apply_fixes(os::Disk& disk, kernel::Sysctl& sysctl, const Places& places,
                      const std::vector<Finding>& findings,
                      const std::function<Status(const std::string&)>& load_module) {
  FixReport report;
  Fixer fixer(disk, sysctl, places, load_module);
  bool prepared = false;
  for (const Finding& finding : findings)
    for (const FixAction& action : finding.actions) {
      Status done = prepared ? Status{} : fixer.prepare();
      if (done) {
        prepared = true;
        done = fixer.apply(action);
      }
      if (done)
        report.done.push_back(line_of(action));
      else
        report.failed.push_back(line_of(action) + ": " + done.error().message);
    }
  return report;
}

}  // namespace dure::bootstrap
