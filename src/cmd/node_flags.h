// Flags that init and join share: those of the agent on this machine.
#pragma once

#include <string>
#include <vector>

#include "bootstrap/settings.h"
#include "cmd/door.h"

namespace dure::cmd {

// `site` is --site, for complete_agent.
std::vector<Flag> agent_flags(bootstrap::AgentSettings& settings, std::string& site);
// How the agent of a member reaches the server.
std::vector<Flag> uplink_flags(bootstrap::AgentSettings& settings);
// HTTPS_PROXY and NO_PROXY, where no flag was given.
void take_proxy_from_environment(bootstrap::AgentSettings& settings);
// Fills in what was not given: the host name, and the address this machine has towards `server_host`; a site becomes
// the label that sites are. "BadRequest" for one that cannot be a label; "NodeNameInvalid".
Status complete_agent(bootstrap::AgentSettings& settings, const std::string& site, const std::string& server_host);
// Starts `dure server` (with_server) and `dure agent` as children, passes their output on, and ends them on Ctrl-C.
Result<int> run_in_foreground(bool with_server);
// The address of this machine towards `host` (the default route when empty).
Result<std::string> own_address(const std::string& host);

}  // namespace dure::cmd
