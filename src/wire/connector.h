// Connector: from an address to a connected SocketStream: name, its addresses each with a head start before the next
// (RFC 8305; what was begun goes on, and the first that is through wins), a proxy's CONNECT, TLS handshake, one time
// limit.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wire/http.h"
#include "wire/socket.h"
#include "wire/socket_stream.h"
#include "wire/tls.h"

namespace dure::wire {

struct ConnectSpec {
  std::string address;      // "host:port" or "unix:/path"
  TlsContext tls;           // null: plain
  std::string server_name;  // empty: the host
  bool insecure = false;
  std::vector<std::string> alpn;
  Duration timeout = 10s;
  std::optional<Proxy> proxy = {};  // connect to it, and from there to `address`
  std::vector<SocketAddress> addresses = {};  // to connect to; empty: those of the name
};

struct Connected {
  std::unique_ptr<SocketStream> stream;
  std::string protocol;  // what ALPN chose
};

// Any thread; `done` runs on the loop, once, unless the handle was destroyed before. The same rule as for a Stream:
// the destructor waits for a running `done`.
std::unique_ptr<run::Timer> connect(run::Loop& loop, ConnectSpec spec,
                                    std::move_only_function<void(Result<Connected>)> done);

}  // namespace dure::wire
