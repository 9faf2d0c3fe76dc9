// The verbs of `dure lab`. Each finds the lab through its folder; a lock there tells whether its supervisor lives.
// Needs root.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "lab/spec.h"
#include "lab/supervisor.h"

namespace dure::lab {

// The folder of lab `id`: $DURE_LAB_FOLDER/<id>, or /var/lib/dure-lab/<id>.
std::string lab_folder(const std::string& id);

// One sentence and the fix when this machine cannot hold a lab: not root (NotRoot), no namespaces (NoNamespaces), too
// little disk (DiskTooSmall), containerd or runc missing (NoContainerRuntime), nft (NoNftables), /dev/net/tun (NoTun);
// for nodes of kind vm also NoQemu, NoMke2fs, NoVirtualMachines. Changes nothing.
Status check_machine(const LabSpec& spec);

// Starts the supervisor in the background and reports its steps until the lab is up. A lab that is already up is left
// as it is and its state answered (already = true); the rest of a dead one is removed first.
struct UpResult {
  LabState state;
  bool already = false;
};
Result<UpResult> up(const LabSpec& spec, const Progress& progress);

// Ends the lab and removes everything of it; idempotent.
Status down(const std::string& id, const Progress& progress);

// The state of a running lab; "LabNotRunning" otherwise.
Result<LabState> status(const std::string& id);

// One of the verbs (verbs.h) on a running lab; answers what it did.
Result<std::string> change(const std::string& id, const std::vector<std::string>& words);

// Runs a command inside a node or a router ("router-home", "internet") and answers its exit status.
Result<int> exec(const std::string& id, const std::string& node, const std::vector<std::string>& arguments);

}  // namespace dure::lab
