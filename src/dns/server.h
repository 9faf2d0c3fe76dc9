// Server: answers DNS over UDP and TCP at the given addresses, on a thread of its own; what is not the cluster's goes
// to the node's own resolvers (resolv.conf is read again when something changed in it, at most every five seconds).
//
// Bounds: 4096 questions waiting for upstream (more: SERVFAIL at once), 256 TCP connections (more: closed), 10 s of
// idleness on each, 256 KB of answers that a connection has not taken and 64 of its questions waiting for upstream
// (more: it is not read from). No timer runs while nothing is waiting.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "dns/zone.h"
#include "os/disk.h"
#include "os/sockets.h"

namespace dure::dns {

struct ServerOptions {
  std::vector<os::Endpoint> listen;  // the cluster's DNS address on port 53; the address may still be missing
  std::string resolv_conf = "/etc/resolv.conf";
  std::vector<os::Endpoint> upstream = {};  // given: resolv.conf is not read
  Duration upstream_timeout = 2s;           // then the next resolver is asked; three times in all
};

class Server {
 public:
  // `zone` and `disk` outlive the server.
  static Result<std::unique_ptr<Server>> start(const Zone& zone, os::Disk& disk, ServerOptions options);
  ~Server();
  // What it listens to: useful when the port was 0.
  std::vector<os::Endpoint> addresses() const;

  struct Counters {
    std::atomic<uint64_t> queries{0}, forwarded{0}, failed{0};
  };
  const Counters& counters() const;

 private:
  class Engine;
  explicit Server(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace dure::dns
