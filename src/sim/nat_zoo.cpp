#include "sim/nat_zoo.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "overlay/ladder.h"
#include "sim/dice.h"
#include "sim/nat_zoo_net.h"

namespace dure::sim {
namespace {

using overlay::Ladder;
using overlay::NodeId;
using overlay::Rung;
using overlay::Via;

constexpr Duration grace = 5s;

struct Row {  // of the rendezvous
  bool connected = false, via_proxy = false;
  Ip tcp;
  Ladder::Report report;
  uint16_t port = 0;
};

struct ZooNode {
  std::string name;
  NodeId id = 0;
  int segment = 0;
  Ip ip;
  uint16_t port = 0;
  bool cut = false, connected = false, via_proxy = false, always_on = false, half_open = false;
  int life = 0;      // grows with every reconnect: late events of an old connection do nothing
  Duration delay{};  // one way to the internet
  double loss = 0;
  std::unique_ptr<Ladder> ladder = {};
  std::optional<Monotonic> wake = {};
};

}  // namespace

struct NatZoo::State {
  explicit State(ZooOptions o) : options(o), dice(o.seed), net(dice) {}

  // --- time ---
  struct Event {
    Monotonic when;
    uint64_t order;
    std::function<void()> work;
  };
  void at(Duration delay, std::function<void()> work) {
    events.emplace(std::pair(now + delay, ++order), std::move(work));
  }
  void run_for(Duration duration) {
    const Monotonic end = now + duration;
    while (!events.empty() && events.begin()->first.first <= end) {
      auto next = events.extract(events.begin());
      now = next.key().first;
      next.mapped()();
    }
    now = end;
  }
  void say(std::string line) {
    if (options.log) history.push_back(fmt::format("{:8.3f} {}", static_cast<double>(now.nanoseconds) / 1e9, line));
  }
  void violate(std::string line) {
    say("VIOLATION " + line);
    violations.push_back(fmt::format("{:.3f}s: {}", static_cast<double>(now.nanoseconds) / 1e9, line));
  }

  // --- building ---
  void build();
  int add_router(int outside, std::string_view kind);
  void place(ZooNode& node, int segment);
  Ip free_address(int segment);
  void start_ladder(ZooNode& node);

  // --- a node ---
  ZooNode* by_id(NodeId id) {
    for (ZooNode& node : nodes)
      if (node.id == id) return &node;
    return nullptr;
  }
  void tell_own(ZooNode& node);
  void step(ZooNode& node);
  void plan_wake(ZooNode& node);
  void carry(ZooNode& node, const Ladder::Ping& ping);
  void arrive_ping(ZooNode& node, NodeId from, const Via& back, const Ladder::Ping& ping);
  void arrive_pong(ZooNode& node, NodeId from, const Via& via, uint64_t transaction, std::optional<os::Endpoint> seen);
  // Calls `arrive` when the bytes get there. `size`: of the packet.
  void send_udp(ZooNode& from, const os::Endpoint& to, size_t size,
                std::function<void(ZooNode& node, const os::Endpoint& from)> arrive);
  void send_relayed(ZooNode& from, NodeId relay, NodeId to, size_t size, std::function<void(ZooNode& node)> arrive);
  void send_tunnel(ZooNode& from, NodeId to, std::function<void(ZooNode& node)> arrive);

  // --- the rendezvous ---
  void connect(ZooNode& node, Duration delay);
  void disconnect(ZooNode& node);
  void publish();

  // --- faults ---
  void fault();
  void roam(ZooNode& node);
  void heal_all();

  // --- checks ---
  bool carries(ZooNode& a, ZooNode& b);
  bool direct_works(ZooNode& a, ZooNode& b);
  Rung best(const ZooNode& a, const ZooNode& b) const;
  Rung best_direct(const ZooNode& a, const ZooNode& b) const;
  bool port_kept(const ZooNode& node) const;
  bool up(const ZooNode& node) const { return node.connected && !node.half_open; }
  void sample();
  void check_rest();

  const ZooOptions options;
  Dice dice;
  ZooNet net;
  std::vector<ZooNode> nodes;
  std::map<NodeId, Row> rows;
  Monotonic now{1'000'000'000'000};
  uint64_t order = 0;
  std::map<std::pair<Monotonic, uint64_t>, std::function<void()>> events;
  std::map<std::pair<NodeId, NodeId>, Monotonic> broken_since;
  bool publishing = false, anyone_public = false, pingers = false;
  std::vector<std::string> violations, history;
  Counts counts;
};

// --- building --------------------------------------------------------------------------------------------------------

int NatZoo::State::add_router(int outside, std::string_view kind) {
  ZooRouter router{.kind = std::string(kind), .outside = outside, .address = free_address(outside)};
  router.hairpin = dice.one_in(3);
  if (kind == "cone") router.filter = ZooRouter::Filter::none;
  if (kind == "restricted") router.filter = ZooRouter::Filter::address;
  if (kind == "symmetric" || kind == "company") router.symmetric = true;
  if (kind == "company") router.udp_blocked = true;
  if (kind == "shuffling") router.keeps_port = false;
  router.memory = dice.between(Duration(35s), Duration(180s));
  const int index = static_cast<int>(net.routers.size());
  net.segments[static_cast<size_t>(outside)].routers[router.address] = index;
  net.routers.push_back(std::move(router));
  // Many homes have the same subnet.
  const char* const prefixes[] = {"192.168.0.0/24", "192.168.0.0/24", "192.168.35.0/24", "10.20.0.0/16",
                                  "172.30.1.0/24"};
  IpPrefix prefix = *IpPrefix::parse(kind == "carrier" ? "100.64.0.0/16" : dice.pick(prefixes));
  // A router inside another network has another one of its own.
  if (outside != 0 && net.segments[static_cast<size_t>(outside)].prefix.overlaps(prefix))
    prefix = *IpPrefix::parse("192.168.77.0/24");
  net.segments.push_back({.prefix = prefix, .router = index});
  say(fmt::format("segment {} {} behind {} ({}{}) in {}", net.segments.size() - 1, prefix.text(),
                  net.routers.back().address.text(), kind, net.routers.back().hairpin ? ", hairpin" : "", outside));
  return static_cast<int>(net.segments.size()) - 1;
}

Ip NatZoo::State::free_address(int segment) {
  const ZooSegment& here = net.segments[static_cast<size_t>(segment)];
  const uint32_t base = segment == 0 ? 0xc6336400 : here.prefix.ip.v4();  // 198.51.100.0
  while (true) {
    // Few numbers: the same address in two networks is common.
    const Ip ip = Ip::v4(base + static_cast<uint32_t>(dice.between(int64_t{2}, int64_t{segment == 0 ? 250 : 20})));
    if (!here.nodes.contains(ip) && !here.routers.contains(ip)) return ip;
  }
}

void NatZoo::State::place(ZooNode& node, int segment) {
  net.segments[static_cast<size_t>(node.segment)].nodes.erase(node.ip);
  node.segment = segment;
  node.ip = free_address(segment);
  net.segments[static_cast<size_t>(segment)].nodes[node.ip] = static_cast<int>(&node - nodes.data());
}

void NatZoo::State::start_ladder(ZooNode& node) {
  node.ladder = std::make_unique<Ladder>(overlay::LadderOptions{.first_transaction = dice.next()});
  tell_own(node);
}

void NatZoo::State::build() {
  const std::string_view kinds[] = {"home", "home", "cone", "restricted", "symmetric", "company", "shuffling"};
  const int sites = static_cast<int>(dice.between(int64_t{2}, int64_t{6}));
  for (int i = 0; i < sites; ++i) add_router(0, dice.pick(kinds));
  if (dice.one_in(2)) {  // a carrier's NAT with homes behind it
    const int carrier = add_router(0, dice.one_in(2) ? "symmetric" : "carrier");
    for (int i = 0; i < 2; ++i) add_router(carrier, "home");
  }
  if (dice.one_in(3)) add_router(1, "home");  // a router behind the router
  const auto count = static_cast<size_t>(dice.between(int64_t{3}, int64_t{options.nodes_max}));
  nodes.resize(count);
  const bool with_public = !dice.one_in(3);
  for (size_t i = 0; i < count; ++i) {
    ZooNode& node = nodes[i];
    node.name = fmt::format("n{}", i);
    node.id = 100 + i;
    node.port = static_cast<uint16_t>(51820 + i);
    node.delay = dice.between(Duration(2ms), Duration(60ms));
    node.loss = dice.one_in(4) ? static_cast<double>(dice.below(4)) / 100 : 0;
    node.via_proxy = dice.one_in(12);
    node.always_on = i == 0;
    node.ip = {};
    place(node, i == 0 && with_public ? 0 : static_cast<int>(dice.below(net.segments.size())));
    say(fmt::format("{} id {} at {} in segment {}{}", node.name, node.id, node.ip.text(), node.segment,
                    node.via_proxy ? ", by proxy" : ""));
  }
  for (ZooNode& node : nodes) {
    start_ladder(node);
    connect(node, dice.between(Duration(50ms), Duration(3s)));
    plan_wake(node);
  }
}

// --- a node ----------------------------------------------------------------------------------------------------------

void NatZoo::State::tell_own(ZooNode& node) {
  overlay::OwnFacts own{.id = node.id, .addresses = {}, .port = node.port};
  const IpPrefix& prefix = net.segments[static_cast<size_t>(node.segment)].prefix;
  if (!node.cut) own.addresses = {{node.ip, node.segment == 0 ? 32 : prefix.length}};
  if (node.connected) own.public_ip = rows[node.id].tcp;
  own.connected = node.connected;
  own.via_proxy = node.via_proxy;
  node.ladder->set_own(std::move(own), now);
}

void NatZoo::State::plan_wake(ZooNode& node) {
  const Monotonic when = node.ladder->next_poll(now);
  if (node.wake && *node.wake <= when && *node.wake > now) return;
  node.wake = when;
  const int index = static_cast<int>(&node - nodes.data());
  at(when - now, [this, index, when] {
    ZooNode& awake = nodes[static_cast<size_t>(index)];
    if (awake.wake != when) return;
    awake.wake.reset();
    step(awake);
  });
}

void NatZoo::State::step(ZooNode& node) {
  ++counts.polls;
  const Ladder::Advice advice = node.ladder->poll(now);
  for (const Ladder::Ping& ping : advice.pings) carry(node, ping);
  for (const Ladder::Choice& choice : advice.choices)
    if (!choice.again)
      say(fmt::format("{} -> {}: {} {} mtu {}", node.name, choice.node, overlay::rung_name(choice.rung),
                      choice.via.kind == Via::Kind::direct
                          ? choice.via.endpoint.ip.text() + ":" + std::to_string(choice.via.endpoint.port)
                          : std::to_string(choice.via.relay),
                      choice.mtu));
  if (advice.report && node.connected) publish();
  plan_wake(node);
}

void NatZoo::State::carry(ZooNode& node, const Ladder::Ping& ping) {
  ++counts.pings;
  if (ping.size > 1500) violate("a ping larger than an Ethernet frame");
  const NodeId self = node.id;
  if (ping.via.kind == Via::Kind::direct)
    return send_udp(node, ping.via.endpoint, ping.size, [this, self, ping](ZooNode& there, const os::Endpoint& from) {
      if (there.id == ping.to) arrive_ping(there, self, Via::direct(from), ping);
    });
  if (ping.via.kind == Via::Kind::relay)
    return send_relayed(node, ping.via.relay, ping.to, ping.size ? ping.size + overlay::relay_overhead : 0,
                        [this, self, ping](ZooNode& there) { arrive_ping(there, self, ping.via, ping); });
  send_tunnel(node, ping.to, [this, self, ping](ZooNode& there) { arrive_ping(there, self, Via::tunnel(), ping); });
}

void NatZoo::State::arrive_ping(ZooNode& node, NodeId from, const Via& back, const Ladder::Ping& ping) {
  node.ladder->on_ping(from, back, ping.punch, now);
  const NodeId self = node.id;
  const uint64_t transaction = ping.transaction;
  if (back.kind == Via::Kind::direct) {
    const os::Endpoint seen = back.endpoint;
    send_udp(node, back.endpoint, 0, [this, self, from, transaction, seen](ZooNode& there, const os::Endpoint& source) {
      if (there.id == from) arrive_pong(there, self, Via::direct(source), transaction, seen);
    });
  } else if (back.kind == Via::Kind::relay) {
    send_relayed(node, back.relay, from, 0, [this, self, back, transaction](ZooNode& there) {
      arrive_pong(there, self, back, transaction, std::nullopt);
    });
  } else {
    send_tunnel(node, from, [this, self, transaction](ZooNode& there) {
      arrive_pong(there, self, Via::tunnel(), transaction, std::nullopt);
    });
  }
  plan_wake(node);
}

void NatZoo::State::arrive_pong(ZooNode& node, NodeId from, const Via& via, uint64_t transaction,
                                std::optional<os::Endpoint> seen) {
  node.ladder->on_pong(from, via, transaction, seen, now);
  plan_wake(node);
}

void NatZoo::State::send_udp(ZooNode& from, const os::Endpoint& to, size_t size,
                             std::function<void(ZooNode&, const os::Endpoint&)> arrive) {
  if (from.cut || size > 1472) return;  // the world's links are a little smaller than 1500
  const auto arrival = net.send(from.segment, {from.ip, from.port}, to, now);
  if (!arrival) return;
  ZooNode& there = nodes[static_cast<size_t>(arrival->node)];
  if (there.cut || there.port != arrival->port) return;
  const bool lan = there.segment == from.segment && from.segment != 0;
  const double loss = lan ? 0 : from.loss + there.loss;
  if (static_cast<double>(dice.below(1000)) < loss * 1000) return;
  const Duration delay = lan ? Duration(std::chrono::microseconds(300)) : from.delay + there.delay;
  const int index = arrival->node;
  at(delay, [this, index, source = arrival->from, arrive = std::move(arrive)] {
    ZooNode& node = nodes[static_cast<size_t>(index)];
    if (!node.cut) arrive(node, source);
  });
}

void NatZoo::State::send_relayed(ZooNode& from, NodeId relay, NodeId to, size_t size,
                                 std::function<void(ZooNode&)> arrive) {
  const auto first = from.ladder->chosen(relay);
  if (!first || first->via.kind != Via::Kind::direct) return;
  const auto forward = [this, relay, to, size, arrive = std::move(arrive)](ZooNode& middle, const os::Endpoint&) {
    if (middle.id != relay) return;
    const auto second = middle.ladder->chosen(to);
    if (!second || second->via.kind != Via::Kind::direct) return;
    send_udp(middle, second->via.endpoint, size, [to, arrive](ZooNode& there, const os::Endpoint&) {
      if (there.id == to) arrive(there);
    });
  };
  send_udp(from, first->via.endpoint, size, forward);
}

void NatZoo::State::send_tunnel(ZooNode& from, NodeId to, std::function<void(ZooNode&)> arrive) {
  ZooNode* there = by_id(to);
  if (!up(from) || !there || !up(*there)) return;
  at(from.delay + there->delay, [this, to, arrive = std::move(arrive)] {
    if (ZooNode* node = by_id(to); node && up(*node)) arrive(*node);
  });
}

// --- the rendezvous --------------------------------------------------------------------------------------------------

void NatZoo::State::connect(ZooNode& node, Duration delay) {
  const int life = ++node.life;
  const NodeId id = node.id;
  at(delay, [this, id, life] {
    ZooNode& node = *by_id(id);
    if (node.life != life) return;
    if (node.cut || net.uplink_cut(node.segment)) return connect(node, dice.between(Duration(100ms), Duration(2s)));
    node.connected = true;
    node.half_open = false;
    Row& row = rows[id];
    row = {true, node.via_proxy, net.public_address(node.segment, node.ip), node.ladder->report(now), node.port};
    say(fmt::format("{} connected from {}", node.name, row.tcp.text()));
    tell_own(node);
    plan_wake(node);
    publish();
  });
}

void NatZoo::State::disconnect(ZooNode& node) {
  if (!node.connected) return;
  node.connected = node.half_open = false;
  rows[node.id].connected = false;
  say(node.name + " disconnected");
  tell_own(node);
  plan_wake(node);
  publish();
}

// Changed rows go to every connected node, coalesced.
void NatZoo::State::publish() {
  if (std::exchange(publishing, true)) return;
  at(dice.between(Duration(5ms), Duration(40ms)), [this] {
    publishing = false;
    for (ZooNode& node : nodes)
      if (node.connected && !node.half_open) rows[node.id].report = node.ladder->report(now);
    std::vector<overlay::PeerFacts> table;
    std::map<std::string, NodeId> ids;
    for (ZooNode& node : nodes) ids[node.name] = node.id;
    for (ZooNode& node : nodes) {
      const auto row = rows.find(node.id);
      if (row == rows.end()) continue;
      overlay::PeerFacts facts{.node = node.name, .id = node.id};
      facts.connected = row->second.connected;
      facts.via_proxy = row->second.via_proxy;
      facts.always_on = node.always_on;
      facts.lan = row->second.report.lan;
      facts.observed = row->second.report.observed;
      facts.guesses = {{row->second.tcp, row->second.port}};
      for (const std::string& name : row->second.report.direct) facts.direct.push_back(ids[name]);
      table.push_back(std::move(facts));
    }
    for (ZooNode& node : nodes) {
      if (!up(node)) continue;
      at(node.delay, [this, id = node.id, life = node.life, table] {
        ZooNode& there = *by_id(id);
        if (there.life != life || !up(there)) return;
        there.ladder->set_table(table, now);
        plan_wake(there);
      });
    }
  });
}

// --- faults ----------------------------------------------------------------------------------------------------------

void NatZoo::State::roam(ZooNode& node) {
  place(node, static_cast<int>(dice.below(net.segments.size())));
  say(fmt::format("FAULT {} roams to {} in segment {}", node.name, node.ip.text(), node.segment));
  node.cut = false;
  disconnect(node);
  tell_own(node);
  plan_wake(node);
  connect(node, dice.between(Duration(100ms), Duration(900ms)));
}

void NatZoo::State::fault() {
  ++counts.faults;
  ZooNode& node = dice.pick(nodes);
  const int kind = static_cast<int>(dice.below(7));
  if (kind == 0) return roam(node);
  if (kind == 1) {
    say("FAULT " + node.name + " starts again");
    disconnect(node);
    start_ladder(node);
    plan_wake(node);
    return connect(node, dice.between(Duration(100ms), Duration(1s)));
  }
  if (kind == 2) {
    say("FAULT cut " + node.name);
    node.cut = true;
    tell_own(node);
    plan_wake(node);
    return disconnect(node);
  }
  const auto index = dice.below(net.routers.size());
  ZooRouter& router = net.routers[index];
  if (kind == 3) {
    say(fmt::format("FAULT router {} forgets its mappings", router.address.text()));
    router.mappings.clear();
  } else if (kind == 4) {
    const Ip before = router.address;
    auto& outside = net.segments[static_cast<size_t>(router.outside)].routers;
    outside.erase(before);
    router.address = free_address(router.outside);
    outside[router.address] = static_cast<int>(index);
    router.mappings.clear();
    say(fmt::format("FAULT router {} is renumbered to {}", before.text(), router.address.text()));
  } else if (kind == 5) {
    router.cut = true;
    say(fmt::format("FAULT uplink of {} is cut", router.address.text()));
  } else {
    router.udp_blocked = !router.udp_blocked;
    say(fmt::format("FAULT UDP at {} is {}", router.address.text(), router.udp_blocked ? "blocked" : "let through"));
    return;
  }
  // TCP through that router breaks; both ends see it within five seconds.
  for (ZooNode& behind : nodes) {
    const auto chain = net.chain(behind.segment);
    if (std::ranges::find(chain, static_cast<int>(index)) == chain.end() || !behind.connected) continue;
    behind.half_open = true;
    at(dice.between(Duration(100ms), Duration(5s)), [this, id = behind.id, life = behind.life] {
      ZooNode& node = *by_id(id);
      if (node.life != life) return;
      disconnect(node);
      connect(node, dice.between(Duration(50ms), Duration(500ms)));
    });
  }
}

void NatZoo::State::heal_all() {
  for (ZooRouter& router : net.routers) router.cut = false;
  for (ZooNode& node : nodes) {
    if (!std::exchange(node.cut, false)) continue;
    say("heal " + node.name);
    tell_own(node);
    node.ladder->network_changed(now);
    plan_wake(node);
    connect(node, dice.between(Duration(100ms), Duration(1s)));
  }
}

// --- checks ----------------------------------------------------------------------------------------------------------

bool NatZoo::State::direct_works(ZooNode& a, ZooNode& b) {
  const auto choice = a.ladder->chosen(b.id);
  if (!choice || choice->via.kind != Via::Kind::direct || a.cut || b.cut) return false;
  const auto arrival = net.send(a.segment, {a.ip, a.port}, choice->via.endpoint, now);
  return arrival && &nodes[static_cast<size_t>(arrival->node)] == &b && arrival->port == b.port;
}

bool NatZoo::State::carries(ZooNode& a, ZooNode& b) {
  const auto choice = a.ladder->chosen(b.id);
  if (!choice) return false;
  if (choice->via.kind == Via::Kind::direct) return direct_works(a, b);
  if (choice->via.kind == Via::Kind::tunnel) return up(a) && up(b);
  ZooNode* relay = by_id(choice->via.relay);
  return relay && direct_works(a, *relay) && direct_works(*relay, b);
}

// Another host (or this one at its former address) may hold the port at a router.
bool NatZoo::State::port_kept(const ZooNode& node) const {
  os::Endpoint inside{node.ip, node.port};
  for (const int index : net.chain(node.segment)) {
    const ZooRouter& router = net.routers[static_cast<size_t>(index)];
    for (const auto& [port, mapping] : router.mappings)
      if (mapping.inside == inside) {
        inside = {router.address, port};
        break;
      }
    if (inside.ip != router.address) return true;  // no mapping yet
  }
  return inside.port == node.port;
}

Rung NatZoo::State::best_direct(const ZooNode& a, const ZooNode& b) const {
  if (a.segment == b.segment) return a.segment == 0 ? Rung::public_ : Rung::lan;
  const auto up_a = net.chain(a.segment), up_b = net.chain(b.segment);
  // The routers of each up to where their ways meet.
  auto mine = up_a, theirs = up_b;
  while (!mine.empty() && !theirs.empty() && mine.back() == theirs.back()) {
    mine.pop_back();
    theirs.pop_back();
  }
  const auto any = [&](const std::vector<int>& chain, auto property) {
    return std::ranges::any_of(chain, [&](int router) { return property(net.routers[static_cast<size_t>(router)]); });
  };
  const auto blocked = [](const ZooRouter& router) { return router.udp_blocked; };
  if (any(mine, blocked) || any(theirs, blocked)) return Rung::none;
  if (mine.empty() || theirs.empty()) return a.segment == 0 || b.segment == 0 ? Rung::public_ : Rung::lan;
  // Both are behind a router. Within a larger private network they may not know of each other's addresses there.
  if (mine.size() != up_a.size()) return Rung::none;
  const auto symmetric = [](const ZooRouter& router) { return router.symmetric; };
  const auto strict = [](const ZooRouter& router) { return router.filter == ZooRouter::Filter::address_and_port; };
  const auto shuffles = [](const ZooRouter& router) { return !router.keeps_port; };
  const bool sym_a = any(mine, symmetric), sym_b = any(theirs, symmetric);
  if (sym_a && sym_b) return Rung::none;
  if (sym_a && any(theirs, strict)) return Rung::none;
  if (sym_b && any(mine, strict)) return Rung::none;
  // A port that is not kept has to be seen by somebody first.
  const bool told = nodes[0].segment == 0;
  if (!told && (any(mine, shuffles) || any(theirs, shuffles) || sym_a || sym_b)) return Rung::none;
  if (!told && (!port_kept(a) || !port_kept(b))) return Rung::none;
  return Rung::punched;
}

Rung NatZoo::State::best(const ZooNode& a, const ZooNode& b) const {
  if (const Rung direct = best_direct(a, b); direct != Rung::none) return direct;
  for (const ZooNode& relay : nodes)
    if (&relay != &a && &relay != &b && best_direct(a, relay) != Rung::none && best_direct(b, relay) != Rung::none)
      return Rung::relay_udp;
  return a.via_proxy || b.via_proxy ? Rung::proxy : Rung::relay_tls;
}

void NatZoo::State::sample() {
  for (ZooNode& a : nodes)
    for (ZooNode& b : nodes) {
      if (&a == &b) continue;
      const std::pair pair(a.id, b.id);
      if (!up(a) || !up(b) || carries(a, b)) {
        broken_since.erase(pair);
        continue;
      }
      const Monotonic since = broken_since.emplace(pair, now).first->second;
      counts.gap_seconds_max = std::max(counts.gap_seconds_max, std::chrono::duration<double>(now - since).count());
      if (now - since < grace) continue;
      const auto choice = a.ladder->chosen(b.id);
      violate(fmt::format("{} has had no working path to {} for 5 s (it believes in {})", a.name, b.name,
                          overlay::rung_name(choice ? choice->rung : Rung::none)));
      broken_since[pair] = now + 1h;
    }
}

void NatZoo::State::check_rest() {
  for (ZooNode& a : nodes)
    for (ZooNode& b : nodes) {
      if (&a == &b) continue;
      ++counts.pairs;
      const auto choice = a.ladder->chosen(b.id);
      const Rung rung = choice ? choice->rung : Rung::none, wanted = best(a, b);
      ++counts.rungs[static_cast<size_t>(rung)];
      if (rung > wanted)
        violate(fmt::format("{} -> {} rests on {}, {} is possible", a.name, b.name, overlay::rung_name(rung),
                            overlay::rung_name(wanted)));
      if (!carries(a, b))
        violate(fmt::format("{} -> {}: {} carries nothing", a.name, b.name, overlay::rung_name(rung)));
    }
}

// --- the run ---------------------------------------------------------------------------------------------------------

NatZoo::NatZoo(ZooOptions options) : state_(std::make_unique<State>(options)) {}
NatZoo::~NatZoo() = default;
const std::vector<std::string>& NatZoo::violations() const { return state_->violations; }
const std::vector<std::string>& NatZoo::history() const { return state_->history; }
const NatZoo::Counts& NatZoo::counts() const { return state_->counts; }

bool NatZoo::run() {
  State& zoo = *state_;
  zoo.build();
  const auto watch = [&](Duration duration) {
    for (Duration passed{}; passed < duration; passed += 200ms) {
      zoo.run_for(200ms);
      zoo.sample();
    }
  };
  watch(12s);
  const int faults = static_cast<int>(zoo.dice.below(static_cast<size_t>(zoo.options.faults_max) + 1));
  for (int i = 0; i < faults; ++i) {
    zoo.fault();
    watch(zoo.dice.between(Duration(500ms), Duration(15s)));
    if (zoo.dice.one_in(2)) zoo.heal_all();
    watch(zoo.dice.between(Duration(0ms), Duration(6s)));
  }
  zoo.heal_all();
  watch(75s);
  const size_t before = zoo.counts.pings;
  zoo.run_for(10s);
  zoo.counts.idle_pings = static_cast<double>(zoo.counts.pings - before) / 10 / static_cast<double>(zoo.nodes.size());
  zoo.check_rest();
  return zoo.violations.empty();
}

}  // namespace dure::sim
