// kubectl's streams in both of their dresses: exec and attach over WebSocket channels (v5.channel.k8s.io and older)
// translated to SPDY streams (v4.channel.k8s.io) as containerd and CRI-O serve them, and the older WebSocket form of
// port-forward.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "wire/websocket.h"

namespace dure::wire {

// Subprotocols for accept_websocket, best first.
std::vector<std::string> remote_command_protocols();
std::vector<std::string> port_forward_protocols();  // the SPDY tunnel, then the per-port channels
inline constexpr const char* spdy_tunnel_protocol = "SPDY/3.1+portforward.k8s.io";

struct RemoteCommand {
  bool stdin_wanted = false, stdout_wanted = false, stderr_wanted = false, tty = false;
  std::string protocol;  // of the WebSocket: "v5.channel.k8s.io", "v4.base64.channel.k8s.io", ...
};
// `spdy` is the connection to the runtime's streaming server after its 101, which must have chosen v4.channel.k8s.io.
// Opens the error, stdin, stdout, stderr and resize streams that are wanted, copies until the command is over, then
// closes both sides with the runtime's status on channel 3; a runtime that vanishes gives a Failure status. `done`
// runs once. Any thread.
void bridge_websocket_to_spdy(std::unique_ptr<WebSocket> socket, std::unique_ptr<Stream> spdy, RemoteCommand command,
                              std::move_only_function<void()> done = {});

// WebSocket port-forward with two channels per port ("v4.channel.k8s.io", `ports` query) to SPDY data and error
// streams.
void bridge_websocket_port_forward(std::unique_ptr<WebSocket> socket, std::unique_ptr<Stream> spdy,
                                   std::vector<uint16_t> ports, bool base64,
                                   std::move_only_function<void()> done = {});

}  // namespace dure::wire
