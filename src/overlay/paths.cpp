#include "overlay/paths.h"

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <mutex>

#include "base/log.h"
#include "base/metric.h"
#include "kernel/namespaces.h"
#include "kernel/port_owner.h"
#include "kernel/side_socket.h"
#include "overlay/probe_packet.h"
#include "overlay/relay_port.h"
#include "overlay/rush.h"
#include "run/loop.h"

namespace dure::overlay {
namespace {

using kernel::SideSocket;

constexpr size_t batch_max = 32, recent_max = 64;
constexpr int batches_max = 4;
constexpr size_t pongs_per_second_max = 5000;
constexpr Duration complain_gap = 10s;
constexpr size_t ip_udp_bytes = 28;

// What one of the table is to us, beside what the ladder knows.
struct Member {
  std::string node, public_key;
  bool refused = false;  // no secret can be shared with it
  std::optional<ProbeKey> key = {};
  std::array<uint64_t, recent_max> recent = {};  // transactions of its latest pings
  size_t next_recent = 0;
  std::unique_ptr<RelayPort> port = {};

  bool seen_before(uint64_t transaction) {
    if (std::ranges::find(recent, transaction) != recent.end()) return true;
    recent[next_recent++ % recent_max] = transaction;
    return false;
  }
};

struct Drops {
  Metric bad_tag{Metric::Kind::counter, "dure_path_dropped_total", "why=\"BadTag\"",
                 "Probe and relay packets that were not taken."};
  Metric unknown{Metric::Kind::counter, "dure_path_dropped_total", "why=\"UnknownNode\""};
  Metric replay{Metric::Kind::counter, "dure_path_dropped_total", "why=\"Replay\""};
  Metric no_path{Metric::Kind::counter, "dure_path_dropped_total", "why=\"NoPath\""};
  Metric unread{Metric::Kind::counter, "dure_path_dropped_total", "why=\"Malformed\""};
  Metric flood{Metric::Kind::counter, "dure_path_dropped_total", "why=\"TooMany\""};
};

class PathsAtWork final : public Paths {
 public:
  PathsAtWork(Options options, World world, std::unique_ptr<SideSocket> side)
      : options_(std::move(options)),
        world_(std::move(world)),
        id_(node_id_of(options_.public_key)),
        side_(std::move(side)),
        owner_(options_.port, probe_magic, options_.ns),
        ladder_(options_.ladder),
        thread_("paths"),
        loop_(thread_.loop()) {
    loop_.post([this] {
      readiness_ = loop_.watch(side_->fd());
      wait();
      schedule();
    });
  }

  ~PathsAtWork() override {
    std::promise<void> done;
    loop_.post([&] {
      closed_ = true;
      timer_.reset();
      look_.reset();
      readiness_.reset();
      members_.clear();
      done.set_value();
    });
    done.get_future().wait();
  }

  void set_own(OwnFacts own) override {
    loop_.post([this, own = std::move(own)]() mutable {
      own.id = id_;
      own.port = options_.port;
      side_->network_changed();
      ladder_.set_own(std::move(own), loop_.now());
      schedule();
    });
  }

  void set_table(std::vector<Row> table) override {
    loop_.post([this, table = std::move(table)]() mutable { take_table(std::move(table)); });
  }

  void network_changed() override {
    loop_.post([this] {
      side_->network_changed();
      ladder_.network_changed(loop_.now());
      schedule();
    });
  }

  void tunnel_packet(std::string_view node, std::string bytes) override {
    std::lock_guard lock(mutex_);
    if (arrived_.size() >= queue_max) arrived_.pop_front();
    arrived_.emplace_back(node, std::move(bytes));
    if (std::exchange(arrival_posted_, true)) return;
    loop_.post([this] { take_arrived(); });
  }

  void report(std::function<void(std::vector<PathReport>)> done) override {
    loop_.post([this, done = std::move(done)] { done(ladder_.paths(loop_.now())); });
  }

  std::optional<Path> path_to(std::string_view node) override {
    std::lock_guard lock(mutex_);
    const auto at = put_.find(node);
    return at == put_.end() ? std::nullopt : std::optional(at->second);
  }

 private:
  // --- the table ---
  void take_table(std::vector<Row> table) {
    std::map<NodeId, Member> before = std::exchange(members_, {});
    std::vector<PeerFacts> facts;
    for (Row& row : table) {
      if (row.public_key.size() != 32) continue;
      row.facts.id = node_id_of(row.public_key);
      if (row.facts.id != id_) {
        auto known = before.extract(row.facts.id);
        if (!known.empty() && known.mapped().public_key == row.public_key && known.mapped().node == row.facts.node)
          members_.insert(std::move(known));
        else
          members_[row.facts.id] = {.node = row.facts.node, .public_key = row.public_key};
      }
      facts.push_back(std::move(row.facts));
    }
    ladder_.set_table(std::move(facts), loop_.now());
    schedule();
  }

  const ProbeKey* key_of(NodeId id) {
    const auto at = members_.find(id);
    if (at == members_.end() || at->second.refused) return nullptr;
    Member& member = at->second;
    if (!member.key) {
      auto secret = world_.agree(member.public_key);
      if (!secret) {
        member.refused = true;
        log(LogLevel::warn, "paths", "no secret can be shared with a node",
            {{"node", member.node}, {"why", secret.error().message}});
        return nullptr;
      }
      member.key.emplace(*secret);
    }
    return &*member.key;
  }

  NodeId id_of(std::string_view node) const {
    for (const auto& [id, member] : members_)
      if (member.node == node) return id;
    return 0;
  }

  RelayPort* port_of(NodeId id) {
    const auto at = members_.find(id);
    if (at == members_.end()) return nullptr;
    if (!at->second.port) {
      auto port = RelayPort::open(loop_, id, options_.port, options_.ns,
                                  [this](NodeId peer, std::span<const os::Datagram> packets) { carry(peer, packets); });
      if (!port) {
        complain("cannot open a port for a relayed node", port.error().message);
        return nullptr;
      }
      at->second.port = std::move(*port);
    }
    return at->second.port.get();
  }

  // --- the ladder's turn ---
  void schedule() {
    if (closed_) return;
    const Monotonic now = loop_.now(), next = ladder_.next_poll(now);
    if (timer_ && due_ <= next && due_ > now) return;
    due_ = next;
    timer_ = loop_.after(std::max<Duration>(next - now, Duration::zero()), [this] { step(); });
  }

  void step() {
    timer_.reset();
    const Monotonic now = loop_.now();
    const Ladder::Advice advice = ladder_.poll(now);
    for (const Ladder::Choice& choice : advice.choices) put(choice);
    for (const Ladder::Ping& ping : advice.pings) send_ping(ping, now);
    if (advice.report && world_.publish) world_.publish(ladder_.report(now));
    schedule();
  }

  void put(const Ladder::Choice& choice) {
    if (!choice.again)
      log(LogLevel::info, "paths", "path",
          {{"node", choice.node}, {"rung", std::string(rung_name(choice.rung))}, {"mtu", std::to_string(choice.mtu)}});
    Path path;
    if (choice.rung == Rung::none) return;  // where packets went before is as good as anything
    path.mtu = mtu_inside(choice.mtu);
    if (choice.via.kind == Via::Kind::direct) {
      path.endpoint = choice.via.endpoint;
    } else {
      RelayPort* port = port_of(choice.peer);
      if (!port) return;
      path.endpoint = port->endpoint();
      // Until it is known: what passes an Ethernet in spite of the relay's head.
      if (choice.via.kind == Via::Kind::relay && choice.mtu == 0) path.mtu = mtu_inside(1500 - relay_overhead);
    }
    {
      std::lock_guard lock(mutex_);
      put_[choice.node] = path;
    }
    if (world_.moved) world_.moved(choice.node);
  }

  void send_ping(const Ladder::Ping& ping, Monotonic now) {
    const ProbeKey* key = key_of(ping.to);
    if (!key) return ladder_.on_send_failure(ping.transaction, false, now);
    const Probe probe{
        .type = ProbeType::ping, .from = id_, .to = ping.to, .punch = ping.punch, .transaction = ping.transaction};
    const size_t size = ping.size > ip_udp_bytes ? ping.size - ip_udp_bytes : 0;
    const SideSocket::Outcome sent = send_probe(ping.to, ping.via, write_probe(probe, *key, size));
    if (sent != SideSocket::Outcome::taken)
      ladder_.on_send_failure(ping.transaction, sent == SideSocket::Outcome::too_large, now);
  }

  SideSocket::Outcome send_probe(NodeId to, const Via& via, const std::string& bytes) {
    if (via.kind == Via::Kind::direct) return side_->send_whole(via.endpoint, bytes);
    const auto member = members_.find(to);
    if (member == members_.end()) return SideSocket::Outcome::unreachable;
    if (via.kind == Via::Kind::tunnel) {
      world_.send_tunnel(member->second.node, bytes);
      return SideSocket::Outcome::taken;
    }
    const auto relay = direct_to(via.relay);
    const ProbeKey* key = key_of(via.relay);
    if (!relay || !key) return SideSocket::Outcome::unreachable;
    const auto head = write_data_head(passed_on(via.relay, to, bytes), *key);
    return side_->send_whole(*relay, std::string(head.data(), head.size()) + bytes);
  }

  Probe passed_on(NodeId relay, NodeId to, std::string_view body) const {
    return {.type = ProbeType::data, .from = id_, .to = relay, .pass_on = true, .other = to, .body = body};
  }

  std::optional<os::Endpoint> direct_to(NodeId id) const {
    const auto choice = ladder_.chosen(id);
    if (!choice || choice->via.kind != Via::Kind::direct) return std::nullopt;
    return choice->via.endpoint;
  }

  // --- packets come in ---
  void wait() {
    readiness_->on_readable([this] { read(); });
  }

  void read() {
    size_t count = 0;
    for (int i = 0; i < batches_max; ++i) {
      const auto received = side_->receive();
      count += received.size();
      for (const SideSocket::Received& one : received)
        take({one.bytes.data(), one.bytes.size()}, Via::direct(one.from));
      // Forwarded bytes live in the socket's buffers until the next receive.
      flush();
      if (received.size() < batch_max) break;
    }
    const bool rush = rush_.on();
    const Duration pause = rush_.fetched(loop_.now(), count);
    if (rush_.on() && !rush) spare_wireguard();
    if (pause == Duration::zero())
      wait();
    else
      look_ = loop_.after(pause, [this] { wait(); });
    schedule();
  }

  // What we hear is heard by wireguard-go as well, which would be woken up for each packet to throw it away. Without
  // the filter everything works, only slower.
  void spare_wireguard() {
    const Status spared = owner_.spare();
    if (spared || spared.error().is("NotFound")) return;
    complain("wireguard-go hears relayed packets too", spared.error().message);
  }

  void take_arrived() {
    std::deque<std::pair<std::string, std::string>> arrived;
    {
      std::lock_guard lock(mutex_);
      arrived.swap(arrived_);
      arrival_posted_ = false;
    }
    if (closed_) return;
    for (const auto& [node, bytes] : arrived) {
      const NodeId from = id_of(node);
      if (from == 0) {
        drops_.unknown.add();
      } else if (is_probe(bytes)) {
        take(bytes, Via::tunnel(), from);
      } else {
        give(from, bytes);
      }
    }
    flush();
    schedule();
  }

  // `sender`: who must have sent it; 0: whoever can prove it.
  void take(std::string_view bytes, const Via& via, NodeId sender = 0) {
    const auto probe = read_probe(bytes);
    if (!probe || probe->to != id_ || (sender != 0 && probe->from != sender)) return drops_.unread.add();
    const ProbeKey* key = key_of(probe->from);
    if (!key) return drops_.unknown.add();
    if (!proven(bytes, *probe, *key)) {
      drops_.bad_tag.add();
      return complain("packets with a wrong tag are dropped", members_.at(probe->from).node);
    }
    const Monotonic now = loop_.now();
    if (probe->type == ProbeType::pong)
      return ladder_.on_pong(probe->from, via, probe->transaction, probe->observed, now);
    if (probe->type == ProbeType::ping) return answer(*probe, via, *key, now);
    if (via.kind != Via::Kind::direct) return drops_.unread.add();
    if (probe->pass_on) return pass_on(*probe);
    if (!is_probe(probe->body)) return give(probe->other, probe->body);
    // A probe within a probe, and no deeper.
    if (const auto inner = read_probe(probe->body); inner && inner->type != ProbeType::data)
      take(probe->body, Via::through(probe->from), probe->other);
  }

  void answer(const Probe& ping, const Via& via, const ProbeKey& key, Monotonic now) {
    if (members_.at(ping.from).seen_before(ping.transaction)) return drops_.replay.add();
    if (now - second_ >= 1s) second_ = now, answered_ = 0;
    if (++answered_ > pongs_per_second_max) return drops_.flood.add();
    ladder_.on_ping(ping.from, via, ping.punch, now);
    Probe pong{.type = ProbeType::pong, .from = id_, .to = ping.from, .transaction = ping.transaction};
    if (via.kind == Via::Kind::direct) pong.observed = via.endpoint;
    (void)send_probe(ping.from, via, write_probe(pong, key));
  }

  // Between two others: only to a member that is reached without another relay.
  void pass_on(const Probe& data) {
    const auto to = direct_to(data.other);
    const ProbeKey* key = to ? key_of(data.other) : nullptr;
    if (!key) return drops_.no_path.add();
    if (out_count_ == batch_max) flush();
    const Probe onward{.type = ProbeType::data, .from = id_, .to = data.other, .other = data.from, .body = data.body};
    heads_[out_count_] = write_data_head(onward, *key);
    out_[out_count_] = {*to, {heads_[out_count_].data(), data_head_bytes}, data.body};
    ++out_count_;
    relayed_.add();
    relayed_bytes_.add(static_cast<int64_t>(data.body.size()));
  }

  // A WireGuard packet of that peer, to our WireGuard.
  void give(NodeId from, std::string_view packet) {
    if (give_count_ == batch_max || (give_count_ > 0 && give_from_ != from)) flush_given();
    give_from_ = from;
    given_[give_count_++] = packet;
  }

  void flush_given() {
    if (give_count_ == 0) return;
    if (RelayPort* port = port_of(give_from_))
      port->deliver({given_.data(), give_count_});
    else
      drops_.unknown.add();
    give_count_ = 0;
  }

  void flush() {
    flush_given();
    if (out_count_ > 0) side_->send({out_.data(), out_count_});
    out_count_ = 0;
  }

  // From our WireGuard to a peer that it believes behind a relay.
  void carry(NodeId peer, std::span<const os::Datagram> packets) {
    const auto choice = ladder_.chosen(peer);
    if (!choice) return drops_.no_path.add(static_cast<int64_t>(packets.size()));
    if (choice->via.kind == Via::Kind::tunnel) {
      for (const os::Datagram& packet : packets) world_.send_tunnel(choice->node, packet.bytes);
      return;
    }
    const bool direct = choice->via.kind == Via::Kind::direct;  // WireGuard has not heard of it yet
    const auto to = direct ? choice->via.endpoint : direct_to(choice->via.relay).value_or(os::Endpoint{});
    const ProbeKey* key = direct ? nullptr : key_of(choice->via.relay);
    if (to.port == 0 || (!direct && !key)) return drops_.no_path.add(static_cast<int64_t>(packets.size()));
    for (size_t i = 0; i < packets.size(); ++i) {
      out_[i] = {to, {}, packets[i].bytes};
      if (direct) continue;
      heads_[i] = write_data_head(passed_on(choice->via.relay, peer, packets[i].bytes), *key);
      out_[i].head = {heads_[i].data(), data_head_bytes};
    }
    side_->send({out_.data(), packets.size()});
  }

  void complain(std::string_view what, const std::string& about) {
    const Monotonic now = loop_.now();
    if (complained_ && now - *complained_ < complain_gap) return;
    complained_ = now;
    log(LogLevel::warn, "paths", what, {{"node", about}});
  }

  const Options options_;
  const World world_;
  const NodeId id_;
  std::unique_ptr<SideSocket> side_;
  kernel::PortOwner owner_;
  Ladder ladder_;
  std::map<NodeId, Member> members_;
  std::unique_ptr<run::Readiness> readiness_;
  std::unique_ptr<run::Timer> timer_, look_;
  Rush rush_;
  Monotonic due_{};
  bool closed_ = false;

  // What goes out with the next system call.
  std::array<SideSocket::Sent, batch_max> out_{};
  std::array<std::array<char, data_head_bytes>, batch_max> heads_{};
  size_t out_count_ = 0;
  std::array<std::string_view, batch_max> given_{};
  size_t give_count_ = 0;
  NodeId give_from_ = 0;

  std::optional<Monotonic> complained_;
  Monotonic second_{};
  size_t answered_ = 0;
  Drops drops_;
  Metric relayed_{
      Metric::Kind::counter, "dure_path_relayed_packets_total", {}, "Packets passed on between two others."};
  Metric relayed_bytes_{Metric::Kind::counter, "dure_path_relayed_bytes_total"};

  std::mutex mutex_;  // of what follows
  std::map<std::string, Path, std::less<>> put_;
  std::deque<std::pair<std::string, std::string>> arrived_;
  bool arrival_posted_ = false;

  run::LoopThread thread_;  // ends first
  run::Loop& loop_;
};

}  // namespace

Result<std::unique_ptr<Paths>> Paths::start(Options options, World world) {
  DURE_TRY(auto side, SideSocket::open(options.port, probe_magic, options.ns));
  return std::make_unique<PathsAtWork>(std::move(options), std::move(world), std::move(side));
}

}  // namespace dure::overlay
