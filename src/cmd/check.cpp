#include <algorithm>
#include <cstdio>
#include <memory>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/checks/fix.h"
#include "bootstrap/checks/manifest.h"
#include "bootstrap/checks/preflight.h"
#include "bootstrap/snapshot.h"
#include "cmd/door.h"
#include "cmd/machine.h"
#include "os/disk.h"
#include "os/machine.h"
#include "os/proc.h"

namespace dure::cmd {
namespace {

using bootstrap::CheckOptions;
using bootstrap::Finding;

struct CheckFlags {
  std::string role, network, output, runtime_socket, manifest;
  std::vector<std::string> ignored;
  bool fix = false, list = false;
};

Status load_module(const std::string& name) {
  DURE_TRY(const os::Output output, os::run_command({.argv = {"modprobe", name}}, {}, 10s));
  if (output.exit.ok()) return {};
  return fail(Error{500, "ModuleNotLoaded", std::string(trim(output.err))});
}

Status fix_machine(os::Disk& disk, const std::vector<Finding>& findings) {
  if (!os::is_root())
    return fail(Error{403, "NotRoot", "dure check --fix changes the machine and needs root", "sudo dure check --fix"});
  DURE_TRY(OpenMachine machine, OpenMachine::open());
  const bool any = std::ranges::any_of(findings, [](const Finding& finding) { return !finding.actions.empty(); });
  if (any) DURE_CHECK(bootstrap::begin_journal(machine.view(), {}));
  const auto report = bootstrap::apply_fixes(disk, *machine.sysctl, {}, findings, load_module);
  for (const std::string& line : report.done) printf("[fix] %s\n", line.c_str());
  for (const std::string& line : report.failed) printf("[fix] could not do %s\n", line.c_str());
  if (report.done.empty() && report.failed.empty()) printf("[fix] nothing that dure could do for you and undo again\n");
  if (!report.done.empty()) printf("[fix] dure reset undoes it\n");
  return {};
}

int list_checks() {
  for (const bootstrap::Check& check : bootstrap::all_checks())
    printf("%-28s %s\n", std::string(check.code).c_str(), std::string(check.why).c_str());
  return 0;
}

Result<CheckOptions> options_of(const CheckFlags& flags, os::Disk& disk) {
  CheckOptions options = bootstrap::options_of_member(disk, {});
  if (flags.role == "server")
    options.role = bootstrap::Role::server;
  else if (flags.role == "worker")
    options.role = bootstrap::Role::worker;
  else if (!flags.role.empty())
    return fail(bad_request("--role: \"" + flags.role + "\" is neither server nor worker"));
  if (!flags.network.empty()) options.network = flags.network;
  if (options.network != "wireguard" && options.network != "vxlan" && options.network != "none")
    return fail(bad_request("--network: \"" + options.network + "\" is none of wireguard, vxlan, none"));
  if (!flags.output.empty() && flags.output != "json")
    return fail(bad_request("-o: \"" + flags.output + "\" is not an output format; json is"));
  return options;
}

void print_findings(const CheckFlags& flags, const std::vector<Finding>& findings, size_t checks) {
  printf("%s", flags.output == "json" ? (bootstrap::findings_json(findings) + "\n").c_str()
                                      : bootstrap::check_report(findings, checks).c_str());
}

constexpr size_t kManifestBytesMax = 16 << 20;

// "-": standard input, as kubectl has it.
Result<std::string> read_manifest(os::Disk& disk, const std::string& path) {
  if (path != "-") return os::read_file(disk, path, kManifestBytesMax);
  std::string text;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, stdin)) {
    text.append(buffer, got);
    if (text.size() > kManifestBytesMax) return fail(bad_request("the manifest is larger than 16 MB"));
  }
  return text;
}

Result<int> check_file(const CheckFlags& flags, os::Disk& disk, const CheckOptions& options) {
  DURE_TRY(const std::string text, read_manifest(disk, flags.manifest));
  auto findings = bootstrap::check_manifest(text, options);
  bootstrap::ignore_refusals(findings, flags.ignored);
  print_findings(flags, findings, 0);
  return bootstrap::refusal(findings) ? 1 : 0;
}

Result<int> check(const CheckFlags& flags) {
  if (flags.list) return list_checks();
  const auto disk = os::make_disk();
  DURE_TRY(const CheckOptions options, options_of(flags, *disk));
  if (!flags.manifest.empty()) return check_file(flags, *disk, options);
  const auto look = [&] {
    auto findings = bootstrap::check_this_machine(*disk, options, {}, flags.runtime_socket);
    bootstrap::ignore_refusals(findings, flags.ignored);
    return findings;
  };
  auto findings = look();
  if (flags.fix) {
    DURE_CHECK(fix_machine(*disk, findings));  // what could not be mended was said, and is found again
    findings = look();
  }
  print_findings(flags, findings, bootstrap::all_checks().size());
  return bootstrap::refusal(findings) ? 1 : 0;
}

}  // namespace

Door check_door() {
  auto flags = std::make_shared<CheckFlags>();
  return {.name = "check",
          .summary = "Look for everything that keeps this machine from being a good node",
          .flags = {{"--role", &flags->role, "server or worker (default: what this machine is, else worker)"},
                    {"--network", &flags->network, "Pod network it is meant for: wireguard, vxlan or none"},
                    {"--cri-socket", &flags->runtime_socket, "Socket of the container runtime"},
                    {"--fix", &flags->fix, "Do what dure can do and undo: kernel settings and modules at boot"},
                    {"--ignore-preflight-errors", &flags->ignored, "Codes that only warn, or all"},
                    {"--manifest", &flags->manifest,
                     "Look at a manifest of Calico or Flannel instead, before it is applied (-: stdin)"},
                    {"--list", &flags->list, "List all checks and why they matter"},
                    {"-o,--output", &flags->output, "json"}},
          .run = [flags] { return check(*flags); },
          .notes = "Ends with 1 when there is an error; warnings and notes do not count."};
}

}  // namespace dure::cmd
