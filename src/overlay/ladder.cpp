#include "overlay/ladder.h"

#include <algorithm>

namespace dure::overlay {
namespace {

constexpr Duration burst_gaps[] = {100ms, 200ms, 400ms, 800ms, 1500ms, 2s, 4s, 8s, 16s};
constexpr int burst_rounds = 5;  // the first gaps are those of a burst
constexpr Duration absent_gap = 10s, lonely_gap = 2s;
constexpr Duration late_ping_gap = 300ms, neighbour_gap = 500ms, answer_gap = 200ms;
constexpr Duration remembered = Ladder::retry_slow + 10s;  // how long a pong says that a path works
constexpr Duration heard_max = 60s, report_gap = 300ms;
constexpr Duration flap_window = 60s, flap_pause = 5s, flap_pause_max = 60s;
constexpr size_t flaps_free = 2, deaths_max = 8, seen_max = 4, relay_pool_max = 16;
constexpr size_t lan_max = 8, observed_max = 6, guesses_max = 4;

Monotonic round_up(Monotonic t) {
  const int64_t grid = Ladder::grid.count();
  return {(t.nanoseconds + grid - 1) / grid * grid};
}

}  // namespace

// --- what is known ---------------------------------------------------------------------------------------------------

bool Ladder::is_own(const os::Endpoint& endpoint) const {
  return endpoint.port == own_.port &&
         std::ranges::any_of(own_.addresses, [&](const IpPrefix& mine) { return mine.ip == endpoint.ip; });
}

bool Ladder::in_own_network(const Ip& ip) const {
  return std::ranges::any_of(own_.addresses, [&](const IpPrefix& mine) { return mine.contains(ip); });
}

bool Ladder::own_public() const {
  return std::ranges::any_of(own_.addresses, [](const IpPrefix& mine) { return !is_private(mine.ip); });
}

bool Ladder::peer_public(const Peer& peer) const {
  return std::ranges::any_of(peer.facts.lan, [](const os::Endpoint& one) { return !is_private(one.ip); });
}

Rung Ladder::rung_of(const Peer& peer, const Path& path) const {
  if (path.via.kind == Via::Kind::relay) return Rung::relay_udp;
  if (path.via.kind == Via::Kind::tunnel) return own_.via_proxy || peer.facts.via_proxy ? Rung::proxy : Rung::relay_tls;
  const Ip& ip = path.via.endpoint.ip;
  if (in_own_network(ip)) return Rung::lan;
  const bool its_own = std::ranges::find(peer.facts.lan, path.via.endpoint) != peer.facts.lan.end();
  if (is_private(ip)) return its_own ? Rung::lan : Rung::punched;
  return its_own || own_public() ? Rung::public_ : Rung::punched;
}

const Ladder::Path* Ladder::find(const Peer& peer, const Via& via) const {
  const auto at = std::ranges::find(peer.paths, via, &Path::via);
  return at == peer.paths.end() ? nullptr : &*at;
}

Ladder::Path* Ladder::find(Peer& peer, const Via& via) {
  return const_cast<Path*>(std::as_const(*this).find(std::as_const(peer), via));
}

// An answer of some time ago still counts, as long as no ping since has been waiting for too long.
bool Ladder::usable(const Peer& peer, const Path& path, Monotonic now) const {
  if (path.via.kind == Via::Kind::tunnel) return tunnel_up(peer);
  return path.meter.ever_answered() && !path.dead && !path.mtu.too_small() &&
         now - *path.meter.last_pong() < remembered && path.meter.silence(now) < peer.patience;
}

bool Ladder::proven(const Path& path, Monotonic now) const {
  return path.meter.good() >= 2 && now - *path.meter.last_pong() < answer_max && path.meter.silence(now) < 700ms;
}

bool Ladder::late(const Path& path, Monotonic now) const {
  return path.meter.silence(now) > std::clamp<Duration>(path.meter.latency() * 3, 300ms, 1s);
}

// --- facts come in -----------------------------------------------------------------------------------------------

void Ladder::set_own(OwnFacts own, Monotonic now) {
  if (own == own_) return;
  const bool moved = own.addresses != own_.addresses || own.port != own_.port ||
                     (own.public_ip && own_.public_ip && own.public_ip != own_.public_ip);
  const bool joined = own.connected && !own_.connected;
  if (own.addresses != own_.addresses) seen_.forget();
  own_ = std::move(own);
  for (auto& [id, peer] : peers_) list_candidates(peer, now);
  if (moved) return network_changed(now);
  if (!joined) return;
  for (auto& [id, peer] : peers_)
    if (!is_direct(peer.chosen_rung)) burst(peer, now);
}

void Ladder::network_changed(Monotonic now) {
  last_outside_pong_.reset();
  for (auto& [id, peer] : peers_) doubt(peer, now);
}

// What was measured before says nothing any more; the chosen path stays until it is seen to be dead, but soon.
void Ladder::doubt(Peer& peer, Monotonic now) {
  for (Path& path : peer.paths) {
    path.meter.doubt(now);
    path.dead = false;
    search_again(path, now);
  }
  peer.patience = options_.doubted_after;
  if (Path* path = find_chosen(peer)) {
    path->soon = now;
    peer.again = {now, now + 1s, now + 3s};
  }
  burst(peer, now);
}

void Ladder::burst(Peer& peer, Monotonic now) {
  peer.rounds = 0;
  peer.round = now;
  peer.ask_punch = true;
}

void Ladder::set_table(std::vector<PeerFacts> table, Monotonic now) {
  std::map<NodeId, Peer> before = std::exchange(peers_, {});
  for (PeerFacts& facts : table) {
    if (facts.id == own_.id || facts.id == 0 || peers_.size() >= peers_max || peers_.contains(facts.id)) continue;
    std::ranges::sort(facts.direct);
    auto known = before.extract(facts.id);
    if (known.empty()) {
      Peer& peer = peers_[facts.id];
      peer.patience = options_.dead_after;
      peer.facts = std::move(facts);
      list_candidates(peer, now);
      burst(peer, now);
      continue;
    }
    Peer& peer = peers_.insert(std::move(known)).position->second;
    if (peer.facts == facts) continue;
    const bool moved =
        peer.facts.lan != facts.lan || peer.facts.observed != facts.observed || peer.facts.guesses != facts.guesses;
    const bool joined = facts.connected && !peer.facts.connected;
    peer.facts = std::move(facts);
    if (moved) list_candidates(peer, now);
    const Path* chosen = find_chosen(peer);
    if (moved && chosen && chosen->via.kind == Via::Kind::direct && !chosen->listed)
      doubt(peer, now);
    else if (moved || (joined && !is_direct(peer.chosen_rung)))
      burst(peer, now);
  }
  relays_changed_ = true;
}

void Ladder::list_candidates(Peer& peer, Monotonic now) {
  for (Path& path : peer.paths)
    if (path.source <= Source::guess) path.listed = false;
  const auto add = [&](const std::vector<os::Endpoint>& list, Source source, size_t most) {
    for (size_t i = 0; i < std::min(list.size(), most); ++i) add_candidate(peer, list[i], source);
  };
  add(peer.facts.lan, Source::lan, lan_max);
  add(peer.facts.observed, Source::observed, observed_max);
  add(peer.facts.guesses, Source::guess, guesses_max);
  if (!find(peer, Via::tunnel())) peer.paths.push_back({.via = Via::tunnel(), .source = Source::tunnel});
  drop_stale(peer, now);
}

void Ladder::add_candidate(Peer& peer, const os::Endpoint& endpoint, Source source) {
  if (endpoint.port == 0 || is_own(endpoint)) return;
  if (Path* path = find(peer, Via::direct(endpoint))) {
    path->listed = true;
    path->source = std::min(path->source, source);
    return;
  }
  if (peer.paths.size() < paths_max) peer.paths.push_back({.via = Via::direct(endpoint), .source = source});
}

void Ladder::drop_stale(Peer& peer, Monotonic now) {
  std::erase_if(peer.paths, [&](const Path& path) {
    if (peer.chosen == path.via || path.via.kind == Via::Kind::tunnel) return false;
    if (path.source == Source::seen)
      return (!path.last_heard || now - *path.last_heard > heard_max) && !usable(peer, path, now);
    return !path.listed && !usable(peer, path, now);
  });
}

// The nodes that this one and the peer both reach directly: always-on ones first, then the nearest.
void Ladder::list_relays() {
  struct Near {
    bool always_on;
    Duration latency;
    NodeId id;
  };
  std::vector<Near> near;
  for (auto& [id, peer] : peers_)
    if (const Path* path = find_chosen(peer); path && is_direct(peer.chosen_rung))
      near.push_back({peer.facts.always_on, path->meter.latency(), id});
  std::ranges::sort(near, [](const Near& a, const Near& b) {
    return a.always_on != b.always_on ? a.always_on : a.latency != b.latency ? a.latency < b.latency : a.id < b.id;
  });
  std::vector<NodeId> pool;
  for (const Near& one : near) pool.push_back(one.id);
  for (auto& [id, peer] : peers_) list_relays(peer, pool);
}

void Ladder::list_relays(Peer& peer, const std::vector<NodeId>& pool) {
  for (Path& path : peer.paths)
    if (path.source == Source::relay) path.listed = false;
  size_t count = 0, looked_at = 0;
  for (const NodeId relay : pool) {
    if (count == relays_max || (count > 0 && ++looked_at > relay_pool_max)) break;
    if (relay == peer.facts.id || !std::ranges::binary_search(peer.facts.direct, relay)) continue;
    ++count;
    if (Path* path = find(peer, Via::through(relay))) {
      path->listed = true;
    } else {
      peer.paths.push_back({.via = Via::through(relay), .source = Source::relay});
      if (peer.chosen_rung >= Rung::relay_udp) peer.paths.back().soon = Monotonic{};
    }
  }
  std::erase_if(peer.paths, [&](const Path& path) {
    return path.source == Source::relay && !path.listed && peer.chosen != path.via;
  });
}

// --- probes come in ----------------------------------------------------------------------------------------------

void Ladder::on_ping(NodeId from, const Via& via, bool punch, Monotonic now) {
  const auto at = peers_.find(from);
  if (at == peers_.end()) return;
  Peer& peer = at->second;
  if (via.kind != Via::Kind::direct) {
    if (!punch || is_direct(peer.chosen_rung) || (peer.punched && now - *peer.punched < 1s)) return;
    peer.punched = now;
    peer.round = now;
    peer.following = true;
    return;
  }
  Path* path = find(peer, via);
  if (!path) {
    if (is_own(via.endpoint)) return;
    drop_stale(peer, now);
    if (std::ranges::count(peer.paths, Source::seen, &Path::source) >= static_cast<int>(seen_max) ||
        peer.paths.size() >= paths_max)
      return;
    peer.paths.push_back({.via = via, .source = Source::seen});
    path = &peer.paths.back();
  }
  path->last_heard = now;
  // Whoever comes through may be answered by a ping of our own: its packets have just opened the way.
  const auto last = path->meter.last_ping();
  const bool wanted = peer.chosen != via && worth_trying(peer, *path) && !proven(*path, now);
  if (wanted && (!last || now - *last > answer_gap)) path->soon = now;
}

void Ladder::on_pong(NodeId from, const Via& via, uint64_t transaction, const std::optional<os::Endpoint>& seen,
                     Monotonic now) {
  const auto sent = outstanding_.find(transaction);
  if (sent == outstanding_.end() || sent->second.peer != from || sent->second.via != via) return;
  const Outstanding ping = sent->second;
  outstanding_.erase(sent);
  const auto at = peers_.find(from);
  Path* path = at == peers_.end() ? nullptr : find(at->second, via);
  if (!path) return;
  Peer& peer = at->second;
  path->dead = false;
  if (ping.size) {
    path->meter.heard(now);
    path->mtu.passed(ping.size);
  } else {
    path->meter.answered(now, ping.sent_at);
  }
  if (via.kind == Via::Kind::direct) {
    if (seen) seen_.add(from, via.endpoint, *seen, now);
    if (rung_of(peer, *path) != Rung::lan) last_outside_pong_ = now;
  }
  if (peer.chosen == via)
    peer.patience = options_.dead_after;
  else if (path->meter.good() < 2 && worth_trying(peer, *path))
    path->soon = now + grid;
}

void Ladder::on_send_failure(uint64_t transaction, bool too_large, Monotonic) {
  const auto sent = outstanding_.find(transaction);
  if (sent == outstanding_.end()) return;
  const Outstanding ping = sent->second;
  const auto at = peers_.find(ping.peer);
  Path* path = at == peers_.end() ? nullptr : find(at->second, ping.via);
  if (path && ping.size && too_large) path->mtu.too_large(ping.size);
  if (path && !ping.size) path->meter.lost();
  outstanding_.erase(sent);
}

// --- what to do --------------------------------------------------------------------------------------------------

Ladder::Advice Ladder::poll(Monotonic now) {
  Advice advice;
  expire(now);
  if (std::exchange(relays_changed_, false)) list_relays();
  for (auto& [id, peer] : peers_) {
    judge(peer, now);
    choose(peer, advice, now);
    put_again(peer, advice, now);
  }
  if (std::exchange(relays_changed_, false)) list_relays();
  for (auto& [id, peer] : peers_) watch_chosen(peer, advice, now);
  full_ = false;
  // Who did not get a turn the last time is first.
  auto at = peers_.lower_bound(resume_from_);
  for (size_t i = 0; i < peers_.size() && !full_; ++i, ++at) {
    if (at == peers_.end()) at = peers_.begin();
    ping_soon(at->second, advice, now);
    try_better(at->second, advice, now);
    search_mtu(at->second, advice, now);
    resume_from_ = at->first;
  }
  settle(advice, now);
  return advice;
}

void Ladder::expire(Monotonic now) {
  while (!sent_order_.empty()) {
    const auto sent = outstanding_.find(sent_order_.front());
    if (sent != outstanding_.end()) {
      if (now - sent->second.sent_at < answer_max && outstanding_.size() < outstanding_max) return;
      const auto at = peers_.find(sent->second.peer);
      Path* path = at == peers_.end() ? nullptr : find(at->second, sent->second.via);
      if (path && !sent->second.size) path->meter.lost();
      outstanding_.erase(sent);
    }
    sent_order_.pop_front();
  }
}

bool Ladder::send(Peer& peer, Path& path, Advice& advice, Monotonic now, uint16_t size) {
  if (advice.pings.size() >= pings_per_poll) {
    full_ = true;
    return false;
  }
  Ping ping{.to = peer.facts.id, .via = path.via, .transaction = next_transaction_++, .size = size};
  if (path.via.kind != Via::Kind::direct) ping.punch = std::exchange(peer.ask_punch, false);
  if (!size) path.meter.sent(now);
  path.soon.reset();
  outstanding_[ping.transaction] = {peer.facts.id, path.via, now, size};
  sent_order_.push_back(ping.transaction);
  advice.pings.push_back(ping);
  return true;
}

// Is the chosen path still one?
void Ladder::judge(Peer& peer, Monotonic now) {
  Path* path = find_chosen(peer);
  if (!path) {
    peer.chosen.reset();
    return;
  }
  if (path->via.kind == Via::Kind::tunnel) {
    if (tunnel_up(peer)) return;
    peer.chosen.reset();
    burst(peer, now);
    return;
  }
  const bool silent = path->meter.silence(now) >= peer.patience && path->meter.unanswered() >= 2;
  if (!silent && !path->mtu.too_small()) return;
  path->dead = true;
  if (silent && peer.patience == options_.dead_after) {
    peer.deaths.push_back(now);
    if (peer.deaths.size() > deaths_max) peer.deaths.erase(peer.deaths.begin());
  }
  peer.chosen.reset();
  burst(peer, now);
}

void Ladder::choose(Peer& peer, Advice& advice, Monotonic now) {
  const Path* current = find_chosen(peer);
  const Path* best = current;
  const auto fresh = [&](const Path& path) {
    return path.via.kind == Via::Kind::tunnel || (now - *path.meter.last_pong() < answer_max && !late(path, now));
  };
  for (Path& path : peer.paths) {
    if (&path == current || !usable(peer, path, now)) continue;
    path.unsteady = false;
    if (!best || !current) {
      if (!best || fresh(path) > fresh(*best) || (fresh(path) == fresh(*best) && better(peer, path, *best, now)))
        best = &path;
      continue;
    }
    if (path.via.kind != Via::Kind::tunnel && !proven(path, now)) continue;
    if (better(peer, path, *best, now) && may_climb(peer, path, now)) best = &path;
  }
  take(peer, best, advice, now);
}

bool Ladder::better(const Peer& peer, const Path& a, const Path& b, Monotonic now) const {
  const Rung rung_a = rung_of(peer, a), rung_b = rung_of(peer, b);
  if (rung_a != rung_b) return rung_a < rung_b;
  if (a.via.kind == Via::Kind::tunnel || b.via.kind == Via::Kind::tunnel) return false;
  if (peer.chosen != b.via) return a.meter.latency() < b.meter.latency();
  // Within a rung only what is clearly nearer, and not straight after the last change.
  return now - peer.chosen_since > 10s && a.meter.good() >= 4 &&
         a.meter.latency() + a.meter.latency() / 2 + 3ms < b.meter.latency();
}

// A path that keeps dying is left alone for a while: 5 s after the third death within a minute, then twice as long.
bool Ladder::may_climb(Peer& peer, Path& path, Monotonic now) const {
  const auto recent = static_cast<size_t>(
      std::ranges::count_if(peer.deaths, [&](Monotonic death) { return now - death < flap_window; }));
  if (recent <= flaps_free) return true;
  const Duration pause =
      std::min<Duration>(flap_pause * (1 << std::min<size_t>(recent - flaps_free - 1, 4)), flap_pause_max);
  path.unsteady = now - peer.deaths.back() < pause;
  return !path.unsteady;
}

Ladder::Choice Ladder::choice_of(const Peer& peer) const {
  return {peer.facts.id, peer.facts.node, peer.chosen_rung, peer.chosen.value_or(Via{}), peer.told_mtu, false};
}

void Ladder::take(Peer& peer, const Path* path, Advice& advice, Monotonic now) {
  const Rung rung = path ? rung_of(peer, *path) : Rung::none;
  if (path && peer.chosen == path->via && rung == peer.chosen_rung) return;
  if (!path && peer.chosen_rung == Rung::none) return;
  const bool fell = rung > peer.chosen_rung;
  peer.chosen = path ? std::optional(path->via) : std::nullopt;
  peer.chosen_rung = rung;
  peer.chosen_since = now;
  if (rung != Rung::none) peer.patience = options_.dead_after;
  peer.told_mtu = path && !path->mtu.searching() ? path->mtu.mtu() : 0;
  peer.again = rung == Rung::none ? std::vector<Monotonic>{} : std::vector<Monotonic>{now + 1s, now + 3s, now + 6s};
  if (fell && rung != Rung::none) burst(peer, now);
  advice.choices.push_back(choice_of(peer));
  relays_changed_ = true;
}

void Ladder::put_again(Peer& peer, Advice& advice, Monotonic now) {
  if (peer.again.empty() || peer.again.front() > now || !peer.chosen) return;
  std::erase_if(peer.again, [&](Monotonic when) { return when <= now; });
  if (!advice.choices.empty() && advice.choices.back().peer == peer.facts.id) return;
  Choice choice = choice_of(peer);
  choice.again = true;
  advice.choices.push_back(std::move(choice));
}

// Every beat a ping on the chosen path, at the same moment for all peers; when the answer is late, also on what may
// have to replace it.
void Ladder::watch_chosen(Peer& peer, Advice& advice, Monotonic now) {
  Path* chosen = find_chosen(peer);
  if (!chosen) return;
  const auto last = chosen->meter.last_ping();
  const bool is_late = late(*chosen, now);
  const int64_t beat = options_.beat.count();
  const bool due = !last || now.nanoseconds / beat != last->nanoseconds / beat ||
                   (is_late && now - *last >= late_ping_gap) || (peer.ask_punch && !is_direct(peer.chosen_rung));
  if (due) send(peer, *chosen, advice, now);
  // After a change of networks the peer is asked to try its paths while the old one is still hoped for.
  if (peer.ask_punch && peer.patience == options_.doubted_after && tunnel_up(peer))
    if (Path* tunnel = find(peer, Via::tunnel())) send(peer, *tunnel, advice, now);
  if (!is_late || chosen->via.kind == Via::Kind::tunnel) return;
  for (Path& path : peer.paths) {
    if (&path == chosen || path.via.kind == Via::Kind::tunnel) continue;
    if (!path.meter.ever_answered() && path.source != Source::relay) continue;
    const auto before = path.meter.last_ping();
    if (!before || now - *before >= neighbour_gap) send(peer, path, advice, now);
  }
}

void Ladder::ping_soon(Peer& peer, Advice& advice, Monotonic now) {
  for (Path& path : peer.paths)
    if (path.soon && *path.soon <= now && !send(peer, path, advice, now)) return;
}

bool Ladder::worth_trying(const Peer& peer, const Path& path) const {
  if (peer.chosen == path.via || path.via.kind == Via::Kind::tunnel) return false;
  const Rung rung = rung_of(peer, path);
  return rung < peer.chosen_rung || (rung == peer.chosen_rung && path.listed);
}

void Ladder::try_better(Peer& peer, Advice& advice, Monotonic now) {
  if (!peer.round || *peer.round > now) return;
  bool any = false;
  for (Path& path : peer.paths) {
    if (!worth_trying(peer, path) || path.mtu.too_small()) continue;
    any = true;
    const auto last = path.meter.last_ping();
    if (last && now - *last < grid) continue;
    if (!send(peer, path, advice, now)) return;                        // the round goes on with the next poll
    if (peer.rounds >= burst_rounds) path.soon = now + late_ping_gap;  // one lost packet must not cost half a minute
  }
  const int round = peer.rounds++;
  Duration gap = round < static_cast<int>(std::size(burst_gaps)) ? burst_gaps[round] : retry_slow;
  if (!peer.chosen && round >= burst_rounds)
    gap = std::min<Duration>(gap, own_.connected && !peer.facts.connected ? absent_gap : lonely_gap);
  peer.round = any || !peer.chosen ? std::optional(now + gap) : std::nullopt;
  const bool asked = std::exchange(peer.following, false);
  if (round < burst_rounds) return;
  peer.ask_punch = any && !asked;
  drop_stale(peer, now);
}

void Ladder::search_mtu(Peer& peer, Advice& advice, Monotonic now) {
  Path* path = find_chosen(peer);
  if (!path || path->via.kind == Via::Kind::tunnel || path->meter.silence(now) > Duration::zero()) return;
  if (!path->mtu.searching()) {
    if (!path->mtu_known) path->mtu_known = now;
    if (now - *path->mtu_known < MtuSearch::repeat) return;
    search_again(*path, now);
  }
  if (path->mtu.due(now)) path->mtu.unanswered();
  if (const auto size = path->mtu.due(now); size && send(peer, *path, advice, now, *size))
    path->mtu.sent(now, path->meter.latency());
}

void Ladder::search_again(Path& path, Monotonic now) {
  path.mtu.restart(now);
  path.mtu_known.reset();
}

// What changed without anything else: the MTU of chosen paths, and what the others should know.
void Ladder::settle(Advice& advice, Monotonic now) {
  for (auto& [id, peer] : peers_) {
    Path* path = find_chosen(peer);
    if (!path || path->mtu.searching() || path->mtu.too_small() || path->mtu.mtu() == peer.told_mtu) continue;
    peer.told_mtu = path->mtu.mtu();
    advice.choices.push_back(choice_of(peer));
  }
  if (told_at_ && now - *told_at_ < report_gap) return;
  Report fresh = report(now);
  if (told_at_ && fresh == told_) return;
  told_ = std::move(fresh);
  told_at_ = now;
  advice.report = true;
}

// --- when to ask again -------------------------------------------------------------------------------------------

std::optional<Monotonic> Ladder::wants(const Peer& peer, Monotonic now) const {
  std::optional<Monotonic> first;
  const auto at = [&](std::optional<Monotonic> when) {
    if (when && (!first || *when < *first)) first = when;
  };
  at(peer.round);
  if (!peer.again.empty()) at(peer.again.front());
  for (const Path& path : peer.paths) at(path.soon);
  const Path* chosen = peer.chosen ? find(peer, *peer.chosen) : nullptr;
  if (!chosen) return first;
  const auto last = chosen->meter.last_ping();
  if (!last) return now;
  const int64_t beat = options_.beat.count();
  at(Monotonic{(last->nanoseconds / beat + 1) * beat});
  if (chosen->via.kind == Via::Kind::tunnel) return first;
  if (const auto silent = chosen->meter.silent_since()) {
    at(*silent +
       (late(*chosen, now) ? peer.patience : std::clamp<Duration>(chosen->meter.latency() * 3, 300ms, 1s) + 1ms));
    if (late(*chosen, now)) at(*last + late_ping_gap);
  } else {
    at(chosen->mtu.next());
  }
  return first;
}

Monotonic Ladder::next_poll(Monotonic now) const {
  Monotonic first = now + 60s;
  if (full_ || relays_changed_) first = now + grid;
  for (const auto& [id, peer] : peers_)
    if (const auto when = wants(peer, now)) first = std::min(first, *when);
  if (told_at_ && now - *told_at_ < report_gap) first = std::min(first, *told_at_ + report_gap);
  return std::max(round_up(first), round_up(now));
}

}  // namespace dure::overlay
