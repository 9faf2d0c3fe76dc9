// DialPlan: which ways there are to the server, and how long to wait when none works. DialTurns: which of them is tried
// when. For the tunnel, and (DialRace) for whoever needs the server before there is one. State machines without I/O;
// names are not looked up here, so that each try looks them up anew. Thread: one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

// A way gets its turn when the one before it failed or has had its head start (as in RFC 8305); what was begun goes on
// beside it, so that a way that swallows packets costs the others a head start and no more.
class DialTurns {
 public:
  static constexpr Duration head_start = 250ms;  // of one way before the next
  static constexpr Duration again = 2s;          // a try that hangs gets company after this

  struct Turn {
    std::optional<Way> way;  // to be tried now; nothing: a try of it began just now and goes on
    Duration wait;           // until the next turn, unless failed() comes before
  };

  // A new round, from the first way. What is known of ways that are not among them is forgotten.
  void begin(std::vector<Way> ways);
  // More ways for this round; those that it has already are left out.
  void add(const std::vector<Way>& ways);
  // Not with no way at all. When all had theirs it goes around.
  Turn next(Monotonic now);
  bool all_had_theirs() const { return next_ >= ways_.size(); }
  bool empty() const { return ways_.empty(); }
  size_t size() const { return ways_.size(); }
  // A try of `way` is over. Unless all had theirs, it is the next one's turn.
  void failed(const Way& way, Error why);
  // Nothing is under way any more.
  void abandon() { running_.clear(); }
  void forget_failures() { failures_.clear(); }
  // What came of the last try of each way, in the order of the ways.
  std::vector<std::pair<Way, Error>> failures() const;

 private:
  struct Running {
    std::string way;
    Monotonic began;
  };
  std::vector<Way> ways_;
  size_t next_ = 0;
  std::vector<Running> running_;
  std::map<std::string, Error> failures_;
};

}  // namespace dure::wire
