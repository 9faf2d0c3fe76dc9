// Preflight: the checks as `dure init`, `join`, `check` and the node's own page run them: facts read, verdicts given.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bootstrap/checks/checks.h"
#include "bootstrap/settings.h"

namespace dure::bootstrap {

// Role, network and ranges of the cluster this machine belongs to; the defaults where it belongs to none.
CheckOptions options_of_member(os::Disk& disk, const Places& places);

// Reads this machine and judges it. `runtime_socket`: "unix:///run/containerd/containerd.sock" or without the scheme.
std::vector<Finding> check_this_machine(os::Disk& disk, const CheckOptions& options, const Places& places,
                                        const std::string& runtime_socket);

struct Preflight {
  std::string text;              // errors and warnings, to be printed; notes are for `dure check`
  std::optional<Error> refusal;  // "PreflightFailed", naming the codes and --ignore-preflight-errors
};
// What init and join do first. `ignored`: codes, or "all", as --ignore-preflight-errors gives them.
Preflight preflight(os::Disk& disk, const CheckOptions& options, const Places& places,
                    const std::string& runtime_socket, const std::vector<std::string>& ignored);
// The same for findings that are there already.
Preflight judge(std::vector<Finding> findings, const std::vector<std::string>& ignored);

}  // namespace dure::bootstrap
