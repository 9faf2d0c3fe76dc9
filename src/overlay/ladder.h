// Ladder: which way packets take to each other node. A state machine without I/O: facts, pongs and the time go in;
// pings to send, the chosen path per peer and what to tell the others come out.
//
// Owner: one per node. Thread: one. Every method that learns something takes the time; `poll` then says what to do and
// `next_poll` when to ask again at the latest. Times: the chosen path is pinged every `beat`; when an answer is late
// its neighbours on the ladder are pinged too, and after `dead_after` without any answer the next rung is taken. Better
// rungs are tried in a burst whenever something changed on either side, then after 2, 4, 8, 16 and then every 25
// seconds. A rung that keeps dying is taken again only after a growing pause (`flap_pause`).
//
// The server's relay needs no proof: while both tunnels are up it is taken at once, so that a pair is never without a
// path while better ones are looked for.
//
// Bounds: peers_max peers, paths_max paths each, pings_per_poll pings at a time (chosen paths first; the rest follows
// 100 ms later), outstanding_max pings waiting for an answer. Cost: a poll looks at every path once, about 40 ns each.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "base/time.h"
#include "overlay/mtu_search.h"
#include "overlay/observations.h"
#include "overlay/path.h"
#include "overlay/path_meter.h"

namespace dure::overlay {

// What is known of another node; a row of the rendezvous' table.
struct PeerFacts {
  std::string node;
  NodeId id = 0;
  bool connected = false;              // its tunnel to the server is up
  bool via_proxy = false;              // ... through an HTTP proxy
  bool always_on = false;              // preferred as a relay
  std::vector<os::Endpoint> lan;       // its own addresses
  std::vector<os::Endpoint> observed;  // as others see it
  std::vector<os::Endpoint> guesses;   // where its tunnel comes from, with its WireGuard port
  std::vector<NodeId> direct;          // who reaches it over UDP without a relay
  friend bool operator==(const PeerFacts&, const PeerFacts&) = default;
};

struct OwnFacts {
  NodeId id = 0;
  std::vector<IpPrefix> addresses;  // of this machine's networks, with their lengths
  uint16_t port = 0;                // WireGuard's
  std::optional<Ip> public_ip;      // where the server sees our tunnel come from
  bool connected = false;           // our tunnel is up
  bool via_proxy = false;
  friend bool operator==(const OwnFacts&, const OwnFacts&) = default;
};

// Why a rung is not taken.
enum class Why : uint8_t {
  chosen,         // it is
  works,          // it answers, and a better one does too
  not_tried,      // not yet
  no_candidate,   // there is no address to try
  no_answer,      // pings were not answered
  other_network,  // the peer's private addresses are not in any of our networks
  udp_dropped,    // no UDP of one of the two gets through at all
  symmetric_nat,  // another port for each destination: cannot be punched
  no_hairpin,     // both behind one public address, and the router does not turn packets round
  no_relay,       // no node is reached directly by both
  no_tunnel,      // one of the two has no connection to the server
  only_by_proxy,  // ... or only through a proxy
  no_proxy,       // neither tunnel goes through a proxy
  mtu_too_small,  // not even packets of MtuSearch::least bytes pass
  unsteady,       // it works again after dying often, and is taken later
};
std::string_view why_code(Why why);  // "SymmetricNat", ...
// One sentence for people.
std::string_view why_sentence(Why why);

struct RungReport {
  Rung rung = Rung::none;
  Why why = Why::not_tried;
  std::string via = {};                  // the address or the relay that was tried last; empty: none
  std::optional<Duration> tried = {};    // how long ago
  std::optional<Duration> latency = {};  // when it answers
};

struct PathReport {
  std::string node;
  NodeId id = 0;
  bool connected = false;
  Rung rung = Rung::none;
  std::string via = {};  // "192.0.2.7:51820", the relay's name, "server", or empty
  Duration latency = Duration::zero();
  double loss = 0;
  uint16_t mtu = 0;  // 0: not known, or not limited (a stream)
  Duration since = Duration::zero();
  std::vector<RungReport> rungs = {};  // all of the ladder, best first
};

struct LadderOptions {
  uint64_t first_transaction = 1;  // drawn at random by the owner
  Duration beat = 1s;
  Duration dead_after = 2200ms;     // silence that ends a chosen path
  Duration doubted_after = 1200ms;  // the same straight after a change of networks
};

class Ladder {
 public:
  static constexpr size_t peers_max = 5000, paths_max = 26, relays_max = 3;
  static constexpr size_t pings_per_poll = 256, outstanding_max = 8192;
  static constexpr Duration grid = 100ms;
  static constexpr Duration answer_max = 3s;  // a ping that is older was lost
  static constexpr Duration retry_slow = 25s;

  explicit Ladder(LadderOptions options) : options_(options), next_transaction_(options.first_transaction) {}

  struct Ping {
    NodeId to = 0;
    Via via;
    uint64_t transaction = 0;
    uint16_t size = 0;   // of the whole IP packet; 0: as small as it is
    bool punch = false;  // asks the peer to try all its paths to us now
    friend bool operator==(const Ping&, const Ping&) = default;
  };
  struct Choice {  // the path of a peer, new or to be put again
    NodeId peer = 0;
    std::string node;
    Rung rung = Rung::none;
    Via via;
    uint16_t mtu = 0;
    bool again = false;  // nothing changed; WireGuard's roaming may have been led astray
    friend bool operator==(const Choice&, const Choice&) = default;
  };
  struct Advice {
    std::vector<Ping> pings;
    std::vector<Choice> choices;
    bool report = false;  // `report()` differs from what was said last
  };
  struct Report {  // what the others should know
    std::vector<os::Endpoint> lan, observed;
    std::vector<std::string> direct, lan_nodes;
    friend bool operator==(const Report&, const Report&) = default;
  };

  void set_own(OwnFacts own, Monotonic now);
  // The whole table; our own row may be in it.
  void set_table(std::vector<PeerFacts> table, Monotonic now);
  // Something about our networks changed, though our addresses may be the same (a cable, a router, a resume).
  void network_changed(Monotonic now);

  // A ping whose sender is proven. The owner answers it by itself, the same way back.
  void on_ping(NodeId from, const Via& via, bool punch, Monotonic now);
  // A pong whose sender is proven; `seen`: where the peer saw us (direct only).
  void on_pong(NodeId from, const Via& via, uint64_t transaction, const std::optional<os::Endpoint>& seen,
               Monotonic now);
  // The kernel did not take a ping.
  void on_send_failure(uint64_t transaction, bool too_large, Monotonic now);

  Advice poll(Monotonic now);
  Monotonic next_poll(Monotonic now) const;

  Report report(Monotonic now) const;
  std::vector<PathReport> paths(Monotonic now) const;
  std::optional<Choice> chosen(NodeId peer) const;
  size_t outstanding() const { return outstanding_.size(); }

 private:
  enum class Source : uint8_t { lan, observed, guess, seen, relay, tunnel };
  struct Path {
    Via via;
    Source source = Source::tunnel;
    PathMeter meter = {};
    MtuSearch mtu = {};
    bool listed = true;                        // still a candidate
    bool dead = false;                         // was given up; a pong brings it back
    bool unsteady = false;                     // works, and waits for its pause to end
    std::optional<Monotonic> mtu_known = {};   // when the search ended
    std::optional<Monotonic> soon = {};        // wants a ping then
    std::optional<Monotonic> last_heard = {};  // seen: a ping came this way
  };
  struct Peer {
    PeerFacts facts;
    std::vector<Path> paths;
    std::optional<Via> chosen;
    Rung chosen_rung = Rung::none;
    Monotonic chosen_since{};
    uint16_t told_mtu = 0;
    Duration patience{};               // silence that ends the chosen path
    std::optional<Monotonic> round;    // the next round of trying better paths
    int rounds = 0;                    // since the last event
    std::vector<Monotonic> deaths;     // of direct paths, latest last, at most 8
    std::vector<Monotonic> again;      // when to put the choice again
    std::optional<Monotonic> punched;  // when we last followed a request to punch
    bool ask_punch = false;            // the next ping that is sent through a relay carries the request
    bool following = false;            // this round was asked for: it does not ask in turn
  };
  struct Outstanding {
    NodeId peer = 0;
    Via via;
    Monotonic sent_at;
    uint16_t size = 0;
  };

  Rung rung_of(const Peer& peer, const Path& path) const;
  bool is_own(const os::Endpoint& endpoint) const;
  bool in_own_network(const Ip& ip) const;
  bool own_public() const;
  bool peer_public(const Peer& peer) const;
  bool tunnel_up(const Peer& peer) const { return own_.connected && peer.facts.connected; }
  bool usable(const Peer& peer, const Path& path, Monotonic now) const;
  bool proven(const Path& path, Monotonic now) const;
  const Path* find(const Peer& peer, const Via& via) const;
  Path* find(Peer& peer, const Via& via);
  Path* find_chosen(Peer& peer) { return peer.chosen ? find(peer, *peer.chosen) : nullptr; }

  void list_candidates(Peer& peer, Monotonic now);
  void add_candidate(Peer& peer, const os::Endpoint& endpoint, Source source);
  void list_relays();
  void list_relays(Peer& peer, const std::vector<NodeId>& pool);
  void drop_stale(Peer& peer, Monotonic now);
  void burst(Peer& peer, Monotonic now);
  void doubt(Peer& peer, Monotonic now);

  void expire(Monotonic now);
  void judge(Peer& peer, Monotonic now);
  bool late(const Path& path, Monotonic now) const;
  void watch_chosen(Peer& peer, Advice& advice, Monotonic now);
  void try_better(Peer& peer, Advice& advice, Monotonic now);
  void ping_soon(Peer& peer, Advice& advice, Monotonic now);
  static void search_again(Path& path, Monotonic now);
  void search_mtu(Peer& peer, Advice& advice, Monotonic now);
  void choose(Peer& peer, Advice& advice, Monotonic now);
  void take(Peer& peer, const Path* path, Advice& advice, Monotonic now);
  void put_again(Peer& peer, Advice& advice, Monotonic now);
  bool better(const Peer& peer, const Path& a, const Path& b, Monotonic now) const;
  bool may_climb(Peer& peer, Path& path, Monotonic now) const;
  bool send(Peer& peer, Path& path, Advice& advice, Monotonic now, uint16_t size = 0);
  bool worth_trying(const Peer& peer, const Path& path) const;
  void settle(Advice& advice, Monotonic now);
  std::optional<Monotonic> wants(const Peer& peer, Monotonic now) const;

  bool udp_works(Monotonic now) const;
  bool anyone_observed() const;
  Why why_direct(const Peer& peer, Rung rung, Monotonic now) const;
  Why why_relay(const Peer& peer, Monotonic now) const;
  Why why_not(const Peer& peer, Rung rung, Monotonic now) const;
  RungReport explain(const Peer& peer, Rung rung, Monotonic now) const;
  std::string describe(const Via& via) const;
  Choice choice_of(const Peer& peer) const;

  const LadderOptions options_;
  OwnFacts own_;
  std::map<NodeId, Peer> peers_;
  Observations seen_;
  uint64_t next_transaction_;
  std::unordered_map<uint64_t, Outstanding> outstanding_;
  std::deque<uint64_t> sent_order_;
  std::optional<Monotonic> last_outside_pong_;  // not from our own networks
  NodeId resume_from_ = 0;                      // where the last poll ran out of pings
  bool full_ = false;                           // it did
  bool relays_changed_ = false;                 // who can relay has to be found again
  Report told_;
  std::optional<Monotonic> told_at_;
};

}  // namespace dure::overlay
