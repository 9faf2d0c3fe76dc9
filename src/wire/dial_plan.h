// DialPlan: which ways there are to the server, which one next, and how long to wait when none works: for the tunnel,
// and for joining before there is one. A state machine without I/O; names are not looked up here, so that each try
// looks them up anew. Thread: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "wire/proxy.h"

namespace dure::wire {

// "https://host:port" of "host", "host:port", "[::1]:port", a bare IPv6 address or an URL; 6443 is the usual port.
std::string server_url(std::string_view server);
// Without scheme: "host:port".
std::string server_address(std::string_view server);

struct Way {
  std::string url;
  std::optional<Proxy> proxy;
  std::string text() const;
  friend bool operator==(const Way&, const Way&) = default;
};

class DialPlan {
 public:
  static constexpr Duration head_start = 250ms;  // of one way before the next
  static constexpr Duration again = 2s;          // a try that hangs gets company after this
  static constexpr Duration pause_first = 100ms, pause_max = 2s;

  // `servers` are what a person wrote; `proxy` (an URL, or empty) is used for those that `no_proxy` does not take out,
  // and the direct way comes after it: a laptop leaves the network of its proxy.
  DialPlan(std::vector<std::string> servers, std::string_view proxy, std::string no_proxy, uint64_t seed);

  // Addresses that the cluster told; they come after those that a person wrote.
  void learn(const std::vector<std::string>& servers);
  // In the order to be tried: the one that worked last is first.
  std::vector<Way> ways() const;
  void worked(const Way& way);
  // All ways failed: how long to wait before the next round. Doubles from 100 ms to 2 s, then with up to half taken off
  // at random, so that nodes do not come all at once.
  Duration pause();
  // The network changed, or a connection held for a while: the next pause is the first again.
  void reset() { failures_ = 0; }

 private:
  std::vector<std::string> given_, learned_;
  std::optional<Proxy> proxy_;
  std::string no_proxy_;
  std::optional<Way> last_good_;
  int failures_ = 0;
  uint64_t random_;
};

}  // namespace dure::wire
