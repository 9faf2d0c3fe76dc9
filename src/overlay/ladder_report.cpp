// What the ladder tells: to the other nodes, and to people who want to know why a rung is not taken.
#include <algorithm>
#include <array>

#include "overlay/ladder.h"

namespace dure::overlay {
namespace {

struct Words {
  std::string_view code, sentence;
};
constexpr std::array<Words, 15> words = {{
    {"Chosen", "this is the path in use"},
    {"Works", "it answers, and a better one is in use"},
    {"NotTried", "it was not tried yet"},
    {"NoCandidate", "there is no such address to try"},
    {"NoAnswer", "pings were not answered"},
    {"OtherNetwork", "the private addresses of the peer are not in a network of this node"},
    {"UdpDropped", "no UDP packet of one of the two nodes gets out or back"},
    {"SymmetricNat", "a router uses another port for every destination, which cannot be told in advance"},
    {"NoHairpin", "both nodes are behind one public address, and their router does not turn packets round"},
    {"NoRelay", "no other node is reached directly by both"},
    {"NoTunnel", "one of the two nodes has no connection to the server"},
    {"OnlyByProxy", "a node reaches the server only through an HTTP proxy"},
    {"NoProxy", "neither node uses an HTTP proxy"},
    {"MtuTooSmall", "not even packets of 1280 bytes get through"},
    {"Unsteady", "it works, but broke several times within a minute and is taken after a pause"},
}};

// One public address with two ports.
bool many_ports(const std::vector<os::Endpoint>& observed) {
  for (const os::Endpoint& a : observed)
    for (const os::Endpoint& b : observed)
      if (a.ip == b.ip && a.port != b.port) return true;
  return false;
}

}  // namespace

std::string_view why_code(Why why) { return words[static_cast<size_t>(why)].code; }
std::string_view why_sentence(Why why) { return words[static_cast<size_t>(why)].sentence; }

Ladder::Report Ladder::report(Monotonic now) const {
  Report out;
  for (const IpPrefix& mine : own_.addresses) out.lan.push_back({mine.ip, own_.port});
  out.observed = seen_.candidates(own_.addresses, now);
  for (const auto& [id, peer] : peers_) {
    if (!peer.chosen || !is_direct(peer.chosen_rung)) continue;
    out.direct.push_back(peer.facts.node);
    if (peer.chosen_rung == Rung::lan) out.lan_nodes.push_back(peer.facts.node);
  }
  std::ranges::sort(out.direct);
  std::ranges::sort(out.lan_nodes);
  return out;
}

std::optional<Ladder::Choice> Ladder::chosen(NodeId id) const {
  const auto at = peers_.find(id);
  if (at == peers_.end() || !at->second.chosen) return std::nullopt;
  return choice_of(at->second);
}

std::string Ladder::describe(const Via& via) const {
  if (via.kind == Via::Kind::tunnel) return "server";
  if (via.kind == Via::Kind::direct)
    return (via.endpoint.ip.v6 ? "[" + via.endpoint.ip.text() + "]" : via.endpoint.ip.text()) + ":" +
           std::to_string(via.endpoint.port);
  const auto relay = peers_.find(via.relay);
  return relay == peers_.end() ? "a node that is gone" : relay->second.facts.node;
}

bool Ladder::udp_works(Monotonic now) const { return last_outside_pong_ && now - *last_outside_pong_ < 60s; }

bool Ladder::anyone_observed() const {
  return std::ranges::any_of(peers_, [](const auto& one) { return !one.second.facts.observed.empty(); });
}

Why Ladder::why_direct(const Peer& peer, Rung rung, Monotonic now) const {
  bool any = false, tried = false, near = false;
  for (const Path& path : peer.paths) {
    if (path.via.kind != Via::Kind::direct || rung_of(peer, path) != rung) continue;
    if (path.mtu.too_small()) return Why::mtu_too_small;
    if (path.unsteady) return Why::unsteady;
    if (usable(peer, path, now) && path.meter.silence(now) < answer_max) return Why::works;
    any = true;
    tried |= path.meter.ever_tried();
    near |= in_own_network(path.via.endpoint.ip);
  }
  if (rung == Rung::lan)
    return !any ? Why::no_candidate : !tried ? Why::not_tried : near ? Why::no_answer : Why::other_network;
  if (!any && rung == Rung::public_ && !own_public() && !peer_public(peer)) return Why::no_candidate;
  const bool others = anyone_observed();
  if (others && (!udp_works(now) || peer.facts.observed.empty())) return Why::udp_dropped;
  if (!any) return Why::no_candidate;
  if (!tried) return Why::not_tried;
  if (rung == Rung::public_) return Why::no_answer;
  const auto same_router = [&](const os::Endpoint& one) { return own_.public_ip == one.ip; };
  if (std::ranges::any_of(peer.facts.observed, same_router) || std::ranges::any_of(peer.facts.guesses, same_router))
    return Why::no_hairpin;
  return many_ports(peer.facts.observed) || seen_.symmetric(now) ? Why::symmetric_nat : Why::no_answer;
}

Why Ladder::why_relay(const Peer& peer, Monotonic now) const {
  bool any = false, tried = false;
  for (const Path& path : peer.paths) {
    if (path.source != Source::relay) continue;
    if (usable(peer, path, now)) return Why::works;
    any = true;
    tried |= path.meter.ever_tried();
  }
  if (any) return tried ? Why::no_answer : Why::not_tried;
  return anyone_observed() && (!udp_works(now) || peer.facts.observed.empty()) ? Why::udp_dropped : Why::no_relay;
}

Why Ladder::why_not(const Peer& peer, Rung rung, Monotonic now) const {
  if (peer.chosen && peer.chosen_rung == rung) return Why::chosen;
  if (is_direct(rung)) return why_direct(peer, rung, now);
  if (rung == Rung::relay_udp) return why_relay(peer, now);
  const bool proxied = own_.via_proxy || peer.facts.via_proxy;
  if (rung == Rung::proxy && !proxied) return Why::no_proxy;
  if (!tunnel_up(peer)) return Why::no_tunnel;
  return rung == Rung::relay_tls && proxied ? Why::only_by_proxy : Why::works;
}

// Of the paths on a rung the one that was tried last speaks for it.
RungReport Ladder::explain(const Peer& peer, Rung rung, Monotonic now) const {
  RungReport out{.rung = rung, .why = why_not(peer, rung, now)};
  const Path* speaker = nullptr;
  for (const Path& path : peer.paths) {
    if (rung_of(peer, path) != rung) continue;
    const auto when = [](const Path& one) { return one.meter.last_ping().value_or(Monotonic{}); };
    if (out.why == Why::chosen ? peer.chosen == path.via : !speaker || when(path) > when(*speaker)) speaker = &path;
  }
  if (!speaker) return out;
  out.via = describe(speaker->via);
  if (const auto last = speaker->meter.last_ping()) out.tried = now - *last;
  if ((out.why == Why::works || out.why == Why::chosen) && speaker->meter.ever_answered())
    out.latency = speaker->meter.latency();
  return out;
}

std::vector<PathReport> Ladder::paths(Monotonic now) const {
  std::vector<PathReport> out;
  for (const auto& [id, peer] : peers_) {
    PathReport report{.node = peer.facts.node, .id = id, .connected = peer.facts.connected};
    if (const Path* path = peer.chosen ? find(peer, *peer.chosen) : nullptr) {
      report.rung = peer.chosen_rung;
      report.via = describe(path->via);
      report.latency = path->meter.latency();
      report.loss = path->meter.loss();
      report.mtu = peer.told_mtu;
      report.since = now - peer.chosen_since;
    }
    for (size_t rung = 0; rung < rung_count; ++rung)
      report.rungs.push_back(explain(peer, static_cast<Rung>(rung), now));
    out.push_back(std::move(report));
  }
  std::ranges::sort(out, {}, &PathReport::node);
  return out;
}

}  // namespace dure::overlay
