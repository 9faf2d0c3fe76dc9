// Installing for good: dure as systemd units that start at boot and again after every end: dure-server.service and
// dure-agent.service, the program in a place that stays, and the proxy variables of the shell that installed it. Each
// step is in the journal before it is done, so that reset undoes an installation that was killed anywhere.
//
// Where there is no systemd nothing is installed, and the caller says how to run in the foreground.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "bootstrap/settings.h"

namespace dure::os {
class Disk;
}

namespace dure::bootstrap {

class Journal;

inline constexpr std::string_view server_unit_name = "dure-server.service", agent_unit_name = "dure-agent.service";
inline constexpr std::string_view unit_folder = "/etc/systemd/system";
inline constexpr std::string_view installed_program = "/usr/local/bin/dure";

// What is asked of an init system. Thread: one. Calls block, at most a minute each.
class ServiceManager {
 public:
  virtual ~ServiceManager() = default;
  virtual bool is_there() const = 0;
  virtual Status reload() = 0;                                     // unit files changed
  virtual Status start(const std::string& unit) = 0;               // now and at every boot; does not wait
  virtual Status stop(const std::string& unit) = 0;                // now and for good; an unknown unit is success
  virtual Result<std::string> state(const std::string& unit) = 0;  // "active", "activating", "inactive", "failed"
  virtual std::string last_words(const std::string& unit) = 0;     // of its log; empty: none
};
std::unique_ptr<ServiceManager> systemd(os::Disk& disk);

struct InstallRequest {
  std::string program;                   // the file that runs now
  bool with_server = false;              // agent alone otherwise
  std::vector<std::string> environment;  // "HTTPS_PROXY=...": for both units
};

// Pure: the text of a unit.
std::string unit_text(std::string_view unit, std::string_view program, const Places& places);
// HTTP_PROXY, HTTPS_PROXY, NO_PROXY and their lower-case forms out of an environment.
std::vector<std::string> proxy_variables(const char* const* environment);

// Writes, enables and starts. Errors: those of the disk and of systemctl.
Status install_services(os::Disk& disk, Journal& journal, ServiceManager& services, const Places& places,
                        const InstallRequest& request);
// Blocks until `unit` runs; "ServiceFailed" with its last words when it ended or did not get there in time. `pause` is
// called between looks.
Status await_service(ServiceManager& services, const std::string& unit, int looks, const std::function<void()>& pause);

}  // namespace dure::bootstrap
