#include "bootstrap/service.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/journal.h"
#include "os/disk.h"
#include "os/proc.h"

namespace dure::bootstrap {
namespace {

constexpr size_t program_bytes_max = 512 << 20;

class Systemd final : public ServiceManager {
 public:
  explicit Systemd(os::Disk& disk) : disk_(disk) {}

  // As sd_booted(3).
  bool is_there() const override { return disk_.exists("/run/systemd/system"); }
  Status reload() override { return ask({"daemon-reload"}); }
  Status start(const std::string& unit) override {
    DURE_CHECK(ask({"enable", "--quiet", unit}));
    return ask({"restart", "--no-block", unit});
  }
  Status stop(const std::string& unit) override {
    if (!disk_.exists(fmt::format("{}/{}", unit_folder, unit))) return {};
    DURE_CHECK(ask({"disable", "--quiet", "--now", unit}));
    (void)ask({"reset-failed", unit});  // it may not have failed
    return {};
  }
  Result<std::string> state(const std::string& unit) override {
    DURE_TRY(const os::Output output, run({"systemctl", "is-active", unit}));
    return std::string(trim(output.out));
  }
  std::string last_words(const std::string& unit) override {
    const auto output = run({"journalctl", "--unit", unit, "--lines", "8", "--no-pager", "--output", "cat"});
    return output ? std::string(trim(output->out)) : std::string();
  }

 private:
  static Result<os::Output> run(std::vector<std::string> argv) {
    os::ProcessSpec spec;
    spec.argv = std::move(argv);
    return os::run_command(std::move(spec), {}, 60s);
  }
  static Status ask(std::vector<std::string> words) {
    words.insert(words.begin(), "systemctl");
    DURE_TRY(const os::Output output, run(words));
    if (output.exit.ok()) return {};
    return fail(Error{500, "SystemdFailed", fmt::format("{}: {}", join(words, " "), trim(output.err)),
                      "systemctl status " + words.back()});
  }

  os::Disk& disk_;
};

bool is_installed(std::string_view program) {
  for (const std::string_view folder : {"/usr/local/bin/", "/usr/bin/", "/usr/sbin/", "/opt/"})
    if (program.starts_with(folder)) return true;
  return false;
}

Status make_folder(os::Disk& disk, Journal& journal, const std::string& path) {
  if (disk.exists(path)) return {};
  DURE_CHECK(journal.record({Change::Kind::folder, path}));
  return disk.make_directories(path, 0755);
}

Status write_file(os::Disk& disk, Journal& journal, const std::string& path, const std::string& text, int mode) {
  if (!disk.exists(path)) DURE_CHECK(journal.record({Change::Kind::file, path}));
  return os::write_file_atomic(disk, path, text, mode);
}

// Where the units find the program: where it lies, or a copy in a place that stays. Another program that already has
// that name is left alone.
Result<std::string> place_program(os::Disk& disk, Journal& journal, const std::string& program) {
  const std::string target(installed_program);
  if (is_installed(program)) return program;
  DURE_TRY(const std::string bytes, os::read_file(disk, program, program_bytes_max));
  if (disk.exists(target)) {
    const auto there = os::read_file(disk, target, program_bytes_max);
    if (there && *there == bytes) return target;
    DURE_TRY(const auto changes, journal.changes());
    if (std::ranges::find(changes, Change{Change::Kind::file, target}) == changes.end()) return program;
  }
  DURE_CHECK(make_folder(disk, journal, "/usr/local/bin"));
  DURE_CHECK(write_file(disk, journal, target, bytes, 0755));
  return target;
}

}  // namespace

std::unique_ptr<ServiceManager> systemd(os::Disk& disk) { return std::make_unique<Systemd>(disk); }

std::string unit_text(std::string_view unit, std::string_view program, const Places& places) {
  const bool server = unit == server_unit_name;
  return fmt::format(
      "# Made by dure init and dure join; dure reset removes it.\n"
      "[Unit]\n"
      "Description=dure {}\n"
      "Wants=network-online.target\n"
      "After=network-online.target{}\n"
      "StartLimitIntervalSec=0\n"
      "\n"
      "[Service]\n"
      "Type=notify\n"
      "EnvironmentFile=-{}/environment\n"
      "ExecStart={} {}\n"
      "Restart=always\n"
      "RestartSec=1\n"
      "TimeoutStartSec=infinity\n"
      "TimeoutStopSec=30\n"
      "{}"
      "LimitNOFILE=1048576\n"
      "TasksMax=infinity\n"
      "\n"
      "[Install]\n"
      "WantedBy=multi-user.target\n",
      server ? "server: API, store, controllers, scheduler" : "agent: pods, network and names of this node",
      server ? "" : " dure-server.service containerd.service crio.service cri-docker.service", places.settings, program,
      server ? "server" : "agent",
      // Containers, and what carries their network, outlive the agent.
      server ? "" : "KillMode=process\nDelegate=yes\n");
}

std::vector<std::string> proxy_variables(const char* const* environment) {
  constexpr std::array<std::string_view, 4> names = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"};
  std::vector<std::string> out;
  for (; environment && *environment; ++environment) {
    const std::string_view entry = *environment;
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos || equals + 1 == entry.size() || entry.find('\n') != std::string_view::npos)
      continue;
    if (std::ranges::find(names, lower(entry.substr(0, equals))) != names.end()) out.emplace_back(entry);
  }
  return out;
}

Status install_services(os::Disk& disk, Journal& journal, ServiceManager& services, const Places& places,
                        const InstallRequest& request) {
  DURE_TRY(const std::string program, place_program(disk, journal, request.program));
  std::string environment;
  for (const std::string& one : request.environment) environment += one + "\n";
  const std::string environment_file = places.settings + "/environment";
  if (!environment.empty() || disk.exists(environment_file))
    DURE_CHECK(write_file(disk, journal, environment_file, environment, 0600));
  std::vector<std::string_view> units;
  if (request.with_server) units.push_back(server_unit_name);
  units.push_back(agent_unit_name);
  for (const std::string_view unit : units) {
    DURE_CHECK(
        write_file(disk, journal, fmt::format("{}/{}", unit_folder, unit), unit_text(unit, program, places), 0644));
    DURE_CHECK(journal.record({Change::Kind::unit, std::string(unit)}));
  }
  DURE_CHECK(services.reload());
  for (const std::string_view unit : units) DURE_CHECK(services.start(std::string(unit)));
  return {};
}

Status await_service(ServiceManager& services, const std::string& unit, int looks, const std::function<void()>& pause) {
  std::string state;
  for (int i = 0; i < looks; ++i) {
    DURE_TRY(state, services.state(unit));
    if (state == "active") return {};
    if (state == "failed") break;
    pause();
  }
  const std::string words = services.last_words(unit);
  return fail(
      Error{500, "ServiceFailed",
            fmt::format("{} is {}, not running{}{}", unit, state, words.empty() ? "" : "; its log ends with:\n", words),
            fmt::format("journalctl -u {0}; systemctl restart {0}", unit)});
}

}  // namespace dure::bootstrap
