#include "tunnel/hub.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/log.h"
#include "base/metric.h"
#include "base/text.h"
#include "tunnel/rendezvous.h"
#include "wire/rate_limit.h"

namespace dure::tunnel {
namespace {

// A node reports at most ten times a second by itself.
constexpr double kReportsBurst = 40, kReportsPerSecond = 20;
// A node that roams, or whose line breaks again and again, stays below this; two machines with one identity do not.
constexpr double kConnectsBurst = 20, kConnectsPerSecond = 1;

// "192.0.2.1:1234", "[::1]:1234"
Ip ip_of(std::string_view address) {
  address = address.substr(0, address.rfind(':'));
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  return Ip::parse(address).value_or(Ip());
}

void refuse(const std::shared_ptr<wire::Exchange>& exchange, int status, std::string why, bool say_protocol = false) {
  wire::Response response;
  response.status = status;
  if (status == 429) response.headers.set("retry-after", "1");
  if (say_protocol) response.headers.set("upgrade", tunnel_protocol);
  response.body = std::move(why) + "\n";
  exchange->respond(std::move(response));
}

// One tunnel as the hub knows it. What is not const belongs to the loop of its first connection.
struct Tunnel {
  std::string node, session;
  std::shared_ptr<const wire::Peer> peer;  // of the present connection
  uint32_t number = 0;
  std::weak_ptr<Mux> mux;
  std::unique_ptr<wire::Stream> control;
  MessageReader reader;
  wire::RateLimit reports{kReportsBurst, kReportsPerSecond};
};

// Who asks for a tunnel.
struct Guest {
  std::shared_ptr<wire::Exchange> exchange;
  std::string node;
  std::shared_ptr<const wire::Peer> peer;
  bool via_proxy = false;
};

// Packets of one read, by whom they are for.
struct Outgoing {
  uint32_t to = 0;
  std::string frames;
  size_t count = 0;
  std::shared_ptr<Mux> mux;
};

}  // namespace

class Hub::Switchboard : public std::enable_shared_from_this<Switchboard> {
 public:
  explicit Switchboard(std::vector<std::string> servers) : core_(std::move(servers)) {}

  // The node's own session goes on, or a new one begins.
  void admit(Guest guest) {
    const std::string_view session = guest.exchange->request().headers.get(session_header);
    const auto received = parse_int(guest.exchange->request().headers.get(received_header));
    const Entry entry = session.empty() ? Entry() : find_session(guest.node, session);
    if (!entry.mux || !received || *received < 0) return begin_session(guest);
    const auto count = static_cast<uint64_t>(*received);
    entry.mux->hold(count, [me = shared_from_this(), entry, guest, count](std::optional<uint64_t> ours) {
      guest.exchange->loop().post([me, entry, guest, count, ours] { me->go_on(entry, guest, count, ours); });
    });
  }

  bool may_come(const std::string& node, Monotonic now) {
    const std::lock_guard lock(mutex_);
    if (connects_.size() > nodes_max) connects_.clear();
    return connects_.try_emplace(node, kConnectsBurst, kConnectsPerSecond).first->second.allow(now);
  }

  std::shared_ptr<Mux> find(std::string_view node) const {
    const std::lock_guard lock(mutex_);
    const auto found = nodes_.find(node);
    return found == nodes_.end() || !found->second.mux->up() ? nullptr : found->second.mux;
  }

  void serve_api(wire::Handler api, wire::ServerLimits limits) {
    const std::lock_guard lock(mutex_);
    api_ = std::move(api);
    api_limits_ = std::move(limits);
  }

  void close() {
    std::map<std::string, Entry, std::less<>> nodes;
    {
      const std::lock_guard lock(mutex_);
      nodes.swap(nodes_);
      routes_.clear();
    }
    for (const auto& [name, entry] : nodes) entry.mux->close();
  }

 private:
  struct Entry {
    std::shared_ptr<Tunnel> tunnel;
    std::shared_ptr<Mux> mux;
  };

  Entry find_session(const std::string& node, std::string_view session) const {
    const std::lock_guard lock(mutex_);
    const auto found = nodes_.find(node);
    const bool known =
        found != nodes_.end() && found->second.tunnel->session == session && !found->second.mux->closed();
    return known ? found->second : Entry();
  }

  void begin_session(const Guest& guest) {
    auto tunnel = std::make_shared<Tunnel>();
    tunnel->node = guest.node;
    tunnel->session = new_session(guest.exchange->loop().wall_now());
    tunnel->peer = guest.peer;
    auto stream = upgrade(guest, tunnel->session, std::nullopt);
    if (!stream) return;
    std::shared_ptr<Mux> mux, former;
    {
      const std::lock_guard lock(mutex_);
      const auto number = core_.connect(guest.node, ip_of(guest.peer->address), guest.via_proxy);
      if (!number) {
        log(LogLevel::error, "tunnel", "tunnel refused", {{"node", guest.node}, {"why", number.error().message}});
        return;
      }
      tunnel->number = *number;
      // Its callbacks come on the connection's loop, which may be running: they wait for this lock.
      mux = Mux::start(std::move(stream), false, callbacks(tunnel));
      tunnel->mux = mux;
      former = std::exchange(nodes_[guest.node], {tunnel, mux}).mux;
      routes_[*number] = mux;
    }
    log(LogLevel::info, "tunnel", "node connected",
        {{"node", guest.node}, {"from", guest.peer->address}, {"again", former ? "yes" : "no"}});
    if (former) former->close();
    distribute();
  }

  // On the loop of the new connection; the session waits for it.
  void go_on(const Entry& entry, const Guest& guest, uint64_t theirs, std::optional<uint64_t> ours) {
    if (!ours) return refuse(guest.exchange, 409, "this session went on without you; begin a new one");
    auto stream = upgrade(guest, entry.tunnel->session, ours);
    if (!stream) return;
    {
      const std::lock_guard lock(mutex_);
      const auto found = nodes_.find(guest.node);
      if (found == nodes_.end() || found->second.tunnel != entry.tunnel) return;
      if (!core_.connect(guest.node, ip_of(guest.peer->address), guest.via_proxy)) return;
      routes_[entry.tunnel->number] = entry.mux;
    }
    log(LogLevel::info, "tunnel", "node goes on", {{"node", guest.node}, {"from", guest.peer->address}});
    entry.mux->loop().post([entry, peer = guest.peer, theirs, stream = std::move(stream)]() mutable {
      entry.tunnel->peer = std::move(peer);
      entry.mux->resume(std::move(stream), theirs);
    });
    distribute();
  }

  // No other process of this server gives the same name: it is made of when, and of how many there were.
  std::string new_session(WallTime now) { return std::to_string(now.nanoseconds) + "-" + std::to_string(++sessions_); }

  static std::unique_ptr<wire::Stream> upgrade(const Guest& guest, const std::string& session,
                                               std::optional<uint64_t> received) {
    wire::Headers headers;
    headers.set("upgrade", tunnel_protocol);
    headers.set("connection", "Upgrade");
    headers.set(session_header, session);
    if (received) headers.set(received_header, std::to_string(*received));
    auto stream = guest.exchange->upgrade(std::move(headers));
    if (!stream) refuse(guest.exchange, 505, "the tunnel needs HTTP/1.1");
    return stream;
  }

  Mux::Callbacks callbacks(const std::shared_ptr<Tunnel>& tunnel) {
    Mux::Callbacks out;
    out.on_stream = [weak = weak_from_this(), tunnel](std::unique_ptr<wire::Stream> stream) {
      if (const auto me = weak.lock()) me->opened(tunnel, std::move(stream));
    };
    out.on_packets = [weak = weak_from_this(), tunnel](const MuxCore::Packets& packets) {
      if (const auto me = weak.lock()) me->forward(*tunnel, packets);
    };
    out.on_down = [weak = weak_from_this(), tunnel](const Error& why) {
      if (const auto me = weak.lock()) me->lost(*tunnel, why);
    };
    out.on_end = [weak = weak_from_this(), tunnel](const Error& why) {
      tunnel->control.reset();
      if (const auto me = weak.lock()) me->ended(*tunnel, why);
    };
    return out;
  }

  // The first stream of a node is the rendezvous; all others are requests to the API.
  void opened(const std::shared_ptr<Tunnel>& tunnel, std::unique_ptr<wire::Stream> stream) {
    if (!tunnel->control) return begin_rendezvous(tunnel, std::move(stream));
    wire::Handler api;
    wire::ServerLimits limits;
    {
      const std::lock_guard lock(mutex_);
      api = api_;
      limits = api_limits_;
    }
    if (api) wire::serve_stream(std::move(stream), tunnel->peer, std::move(api), std::move(limits));
  }

  void begin_rendezvous(const std::shared_ptr<Tunnel>& tunnel, std::unique_ptr<wire::Stream> stream) {
    tunnel->control = std::move(stream);
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [weak = weak_from_this(), kept = std::weak_ptr(tunnel)](std::string_view bytes) {
      const auto me = weak.lock();
      const auto tunnel = kept.lock();
      if (me && tunnel) me->heard(*tunnel, bytes);
    };
    callbacks.on_drained = [weak = weak_from_this(), kept = std::weak_ptr(tunnel)] {
      const auto me = weak.lock();
      const auto tunnel = kept.lock();
      if (me && tunnel) me->tell_soon(tunnel);
    };
    tunnel->control->start(std::move(callbacks));
    tell_soon(tunnel);
  }

  void heard(Tunnel& tunnel, std::string_view bytes) {
    const Status done = take_reports(tunnel, bytes);
    if (done) return;
    log(LogLevel::error, "tunnel", "report refused; the tunnel is closed",
        {{"node", tunnel.node},
         {"from", tunnel.peer->address},
         {"code", done.error().reason},
         {"why", done.error().message}});
    if (const auto mux = tunnel.mux.lock()) mux->close();
  }

  Status take_reports(Tunnel& tunnel, std::string_view bytes) {
    DURE_CHECK(tunnel.reader.feed(bytes));
    std::string message;
    while (tunnel.reader.next(message)) {
      if (!tunnel.reports.allow(tunnel.control->loop().now()))
        return fail(Error{429, "TooManyReports", "reports come faster than 20 a second"});
      const std::lock_guard lock(mutex_);
      DURE_CHECK(core_.report(tunnel.node, message));
    }
    distribute();
    return {};
  }

  // Everybody who has not heard all is told on the loop of his own connection, so that messages keep their order.
  void distribute() {
    std::vector<std::shared_ptr<Tunnel>> tunnels;
    {
      const std::lock_guard lock(mutex_);
      for (const std::string& node : core_.waiting())
        if (const auto found = nodes_.find(node); found != nodes_.end()) tunnels.push_back(found->second.tunnel);
    }
    for (const auto& tunnel : tunnels) tell_soon(tunnel);
  }

  void tell_soon(const std::shared_ptr<Tunnel>& tunnel) {
    const auto mux = tunnel->mux.lock();
    if (!mux) return;
    mux->loop().post([weak = weak_from_this(), tunnel] {
      if (const auto me = weak.lock()) me->tell(*tunnel);
    });
  }

  // One update at a time: what changes while it is on its way is gathered into the next.
  void tell(Tunnel& tunnel) {
    if (!tunnel.control || tunnel.control->unsent() > 0) return;
    std::vector<std::string> messages;
    {
      const std::lock_guard lock(mutex_);
      const auto found = nodes_.find(tunnel.node);
      if (found == nodes_.end() || found->second.tunnel.get() != &tunnel) return;
      messages = core_.take_messages(tunnel.node);
    }
    for (const std::string& message : messages) tunnel.control->write(SharedBytes(framed(message)));
  }

  void forward(const Tunnel& from, const MuxCore::Packets& packets) {
    std::vector<Outgoing> outgoing;
    std::string_view rest = packets.bytes;
    for (const MuxCore::Packets::One& one : packets.items) {
      Outgoing& out = outgoing_to(outgoing, one.number);
      if (out.frames.empty()) out.frames.reserve(rest.size() + packets.items.size() * MuxCore::header_bytes);
      MuxCore::append_packet(out.frames, from.number, rest.substr(0, one.size));
      ++out.count;
      rest.remove_prefix(one.size);
    }
    find_routes(outgoing);
    for (Outgoing& out : outgoing) pass_on(out);
  }

  static Outgoing& outgoing_to(std::vector<Outgoing>& outgoing, uint32_t to) {
    for (Outgoing& out : outgoing)
      if (out.to == to) return out;
    return outgoing.emplace_back(Outgoing{.to = to, .frames = {}, .mux = nullptr});
  }

  void find_routes(std::vector<Outgoing>& outgoing) const {
    const std::lock_guard lock(mutex_);
    for (Outgoing& out : outgoing)
      if (const auto found = routes_.find(out.to); found != routes_.end()) out.mux = found->second;
  }

  static void pass_on(Outgoing& out) {
    static Metric forwarded(Metric::Kind::counter, "dure_tunnel_packets_forwarded_total", {},
                            "Packets that nodes sent to each other through this server.");
    static Metric homeless(Metric::Kind::counter, "dure_tunnel_packets_unroutable_total", {},
                           "Packets for nodes that are not connected.");
    if (!out.mux) return homeless.add(static_cast<int64_t>(out.count));
    forwarded.add(static_cast<int64_t>(out.count));
    out.mux->send_packets(std::move(out.frames), out.count);
  }

  // Its streams wait; everybody else hears that it is not connected.
  void lost(const Tunnel& tunnel, const Error& why) {
    log(LogLevel::info, "tunnel", "the connection of a node is lost", {{"node", tunnel.node}, {"why", why.message}});
    {
      const std::lock_guard lock(mutex_);
      const auto found = nodes_.find(tunnel.node);
      if (found == nodes_.end() || found->second.tunnel.get() != &tunnel) return;
      routes_.erase(tunnel.number);
      core_.disconnect(tunnel.node);
    }
    distribute();
  }

  void ended(const Tunnel& tunnel, const Error& why) {
    log(LogLevel::info, "tunnel", "node disconnected", {{"node", tunnel.node}, {"why", why.message}});
    {
      const std::lock_guard lock(mutex_);
      const auto found = nodes_.find(tunnel.node);
      if (found == nodes_.end() || found->second.tunnel.get() != &tunnel) return;
      nodes_.erase(found);
      routes_.erase(tunnel.number);
      core_.disconnect(tunnel.node);
    }
    distribute();
  }

  mutable std::mutex mutex_;
  wire::Handler api_;
  wire::ServerLimits api_limits_;
  std::map<std::string, Entry, std::less<>> nodes_;
  std::unordered_map<uint32_t, std::shared_ptr<Mux>> routes_;
  std::map<std::string, wire::RateLimit, std::less<>> connects_;
  RendezvousCore core_;
  std::atomic<uint64_t> sessions_ = 0;
};

Hub::Hub(std::vector<std::string> servers) : board_(std::make_shared<Switchboard>(std::move(servers))) {}
Hub::~Hub() { close(); }

void Hub::accept(const std::shared_ptr<wire::Exchange>& exchange, const std::string& node) {
  const wire::Headers& asked = exchange->request().headers;
  if (asked.get("upgrade") != tunnel_protocol)
    return refuse(exchange, 426, "this path is for the tunnel of an agent of this version", true);
  const auto peer = exchange->request().peer ? exchange->request().peer : std::make_shared<const wire::Peer>();
  if (!board_->may_come(node, exchange->loop().now())) {
    log(LogLevel::warn, "tunnel", "tunnel refused: this node connects too often; is its certificate on two machines?",
        {{"node", node}, {"from", peer->address}});
    return refuse(exchange, 429, "this node connects too often");
  }
  board_->admit({exchange, node, peer, asked.get("dure-via-proxy") == "1"});
}

Result<std::unique_ptr<wire::Stream>> Hub::dial(std::string_view node) {
  const auto mux = board_->find(node);
  if (!mux)
    return fail(Error{502, "NodeNotConnected",
                      "the agent of node \"" + std::string(node) + "\" is not connected to this server"});
  return mux->open();
}

bool Hub::connected(std::string_view node) const { return board_->find(node) != nullptr; }

void Hub::serve_api(wire::Handler api, wire::ServerLimits limits) {
  board_->serve_api(std::move(api), std::move(limits));
}

void Hub::close() { board_->close(); }

}  // namespace dure::tunnel
