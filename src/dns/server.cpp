#include "dns/server.h"

#include <algorithm>
#include <future>
#include <list>
#include <optional>
#include <unordered_map>

#include "base/log.h"
#include "dns/answerer.h"
#include "dns/resolv_conf.h"
#include "os/clock.h"
#include "run/loop.h"

namespace dure::dns {

namespace {

constexpr size_t pending_max = 4096;
constexpr size_t tcp_clients_max = 256;
constexpr size_t tcp_unsent_max = 256 << 10;
constexpr size_t tcp_forwarded_max = 64;
constexpr auto tcp_idle_max = 10s;
constexpr auto tick = 250ms;
constexpr auto resolv_conf_age_max = 5s;
constexpr int tries_max = 3;
constexpr uint16_t dns_port = 53;

std::string framed(std::string_view message) {
  std::string out{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())};
  return out += message;
}

// Takes one whole message off the front of `buffer`.
std::optional<std::string> take_message(std::string& buffer) {
  if (buffer.size() < 2) return std::nullopt;
  size_t size = static_cast<size_t>(static_cast<uint8_t>(buffer[0])) << 8 | static_cast<uint8_t>(buffer[1]);
  if (buffer.size() < 2 + size) return std::nullopt;
  std::string out = buffer.substr(2, size);
  buffer.erase(0, 2 + size);
  return out;
}

}  // namespace

// Everything runs on the loop's thread, but for the constructor.
class Server::Engine {
 public:
  Engine(const Zone& zone, os::Disk& disk, ServerOptions options)
      : options_(std::move(options)), answerer_(zone), disk_(disk), random_(os::make_random()) {}

  ~Engine() {
    if (!thread_) return;
    // What the loop watches must go before the loop does, and on its thread.
    std::promise<void> closed;
    loop().post([&] {
      timer_.reset();
      pending_.clear(), tcp_clients_.clear(), upstreams_.clear(), listeners_.clear();
      closed.set_value();
    });
    closed.get_future().wait();
    thread_.reset();
  }

  Status start() {
    for (const os::Endpoint& endpoint : options_.listen) {
      auto listener = std::make_unique<Listener>();
      DURE_TRY(listener->udp, os::UdpSocket::bind(endpoint));
      DURE_TRY(listener->address, listener->udp->local());
      DURE_TRY(listener->tcp, os::TcpListener::bind(listener->address));
      own_.push_back(endpoint.ip);
      listeners_.push_back(std::move(listener));
    }
    thread_.emplace("dns");
    loop().post([this] {
      for (auto& listener : listeners_) {
        listener->udp_ready = loop().watch(listener->udp->fd());
        listener->tcp_ready = loop().watch(listener->tcp->fd());
        await_udp(*listener);
        await_tcp(*listener);
      }
    });
    return {};
  }

  std::vector<os::Endpoint> addresses() const {
    std::vector<os::Endpoint> out;
    for (auto& listener : listeners_) out.push_back(listener->address);
    return out;
  }

  Counters counters;

 private:
  struct Listener {
    os::Endpoint address;
    std::unique_ptr<os::UdpSocket> udp;
    std::unique_ptr<os::TcpListener> tcp;
    std::unique_ptr<run::Readiness> udp_ready, tcp_ready;
  };
  struct Upstream {
    os::Endpoint address;
    std::unique_ptr<os::UdpSocket> socket;
    std::unique_ptr<run::Readiness> ready;
  };
  struct TcpClient {
    uint64_t number = 0;
    std::unique_ptr<os::TcpStream> stream;
    std::unique_ptr<run::Readiness> ready;
    std::string in, out;
    bool writing = false;
    bool paused = false;   // not read from until it has taken its answers
    size_t forwarded = 0;  // questions that upstream was asked for it
    Monotonic deadline;
  };
  // A question that upstream was asked.
  struct Pending {
    Listener* listener = nullptr;  // UDP: where the answer leaves
    os::Endpoint client;
    uint64_t tcp_client = 0;  // TCP: whose it is
    std::string query;
    Reaction reaction;
    int tries = 0;
    size_t upstream = 0;
    Monotonic deadline;
    // TCP to upstream, when its UDP answer did not fit.
    std::unique_ptr<os::TcpStream> stream;
    std::unique_ptr<run::Readiness> ready;
    std::string in, out;
    bool over_tcp() const { return tcp_client != 0; }
  };

  run::Loop& loop() { return thread_->loop(); }

  // ---- Clients over UDP.

  void await_udp(Listener& listener) {
    listener.udp_ready->on_readable([this, &listener] {
      serve_udp(listener);
      await_udp(listener);
    });
  }

  void serve_udp(Listener& listener) {
    std::vector<std::string> bytes;
    std::vector<os::Datagram> answers;
    auto received = listener.udp->receive();
    bytes.reserve(received.size());
    for (const os::Datagram& datagram : received) {
      counters.queries.fetch_add(1, std::memory_order_relaxed);
      Reaction reaction = answerer_.react(datagram.bytes, false, ++turn_);
      if (reaction.kind == Reaction::Kind::answer) {
        bytes.push_back(std::move(reaction.bytes));
        answers.push_back({datagram.peer, bytes.back()});
      } else if (reaction.kind == Reaction::Kind::forward) {
        forward({.listener = &listener,
                 .client = datagram.peer,
                 .query = std::string(datagram.bytes),
                 .reaction = std::move(reaction)});
      }
    }
    listener.udp->send(answers);
  }

  // ---- Clients over TCP.

  void await_tcp(Listener& listener) {
    listener.tcp_ready->on_readable([this, &listener] {
      while (auto stream = listener.tcp->accept()) {
        if (tcp_clients_.size() >= tcp_clients_max) continue;
        auto client = std::make_unique<TcpClient>();
        client->number = ++tcp_numbers_;
        client->ready = loop().watch(stream->fd());
        client->stream = std::move(stream);
        client->deadline = loop().now() + tcp_idle_max;
        TcpClient& kept = *tcp_clients_.emplace(client->number, std::move(client)).first->second;
        await_client(kept);
        arm_timer();
      }
      await_tcp(listener);
    });
  }

  void await_client(TcpClient& client) {
    client.ready->on_readable([this, number = client.number] {
      auto found = tcp_clients_.find(number);
      if (found == tcp_clients_.end()) return;
      TcpClient& client = *found->second;
      if (!client.stream->read(client.in)) return close_client(number);
      client.deadline = loop().now() + tcp_idle_max;
      serve_client(number);
    });
  }

  void serve_client(uint64_t number) {
    while (true) {
      auto found = tcp_clients_.find(number);
      if (found == tcp_clients_.end()) return;
      TcpClient& client = *found->second;
      client.paused = client.out.size() > tcp_unsent_max || client.forwarded >= tcp_forwarded_max;
      if (client.paused) return;
      auto query = take_message(client.in);
      if (!query) return await_client(client);
      serve_tcp(number, std::move(*query));
    }
  }

  void resume(uint64_t number) {
    auto found = tcp_clients_.find(number);
    if (found != tcp_clients_.end() && found->second->paused) serve_client(number);
  }

  void serve_tcp(uint64_t number, std::string query) {
    counters.queries.fetch_add(1, std::memory_order_relaxed);
    Reaction reaction = answerer_.react(query, true, ++turn_);
    if (reaction.kind == Reaction::Kind::answer) return send_tcp(number, reaction.bytes);
    if (reaction.kind == Reaction::Kind::forward)
      forward({.tcp_client = number, .query = std::move(query), .reaction = std::move(reaction)});
  }

  void send_tcp(uint64_t number, const std::string& message) {
    auto found = tcp_clients_.find(number);
    if (found == tcp_clients_.end()) return;
    found->second->out += framed(message);
    flush_client(number);
  }

  void flush_client(uint64_t number) {
    auto found = tcp_clients_.find(number);
    if (found == tcp_clients_.end() || found->second->writing) return;
    TcpClient& client = *found->second;
    const size_t before = client.out.size();
    if (!client.stream->write(client.out)) return close_client(number);
    if (client.out.size() < before) client.deadline = loop().now() + tcp_idle_max;
    if (client.out.empty()) return;
    client.writing = true;
    client.ready->on_writable([this, number] {
      if (auto again = tcp_clients_.find(number); again != tcp_clients_.end()) again->second->writing = false;
      flush_client(number);
      resume(number);
    });
  }

  // Not at once: the caller may be one of its callbacks.
  void close_client(uint64_t number) {
    auto found = tcp_clients_.find(number);
    if (found == tcp_clients_.end()) return;
    std::shared_ptr<TcpClient> dying(std::move(found->second));
    tcp_clients_.erase(found);
    loop().post([dying] {});
  }

  // ---- Upstream.

  void refresh_upstreams() {
    if (!options_.upstream.empty()) {
      if (upstreams_.empty()) open_upstreams(options_.upstream);
      return;
    }
    if (!upstreams_.empty() && loop().now() - upstreams_read_ < resolv_conf_age_max) return;
    upstreams_read_ = loop().now();
    auto text = os::read_file(disk_, options_.resolv_conf);
    std::vector<os::Endpoint> wanted;
    for (const Ip& ip : upstream_of(text ? *text : "", own_)) wanted.push_back({ip, dns_port});
    bool same = std::ranges::equal(wanted, upstreams_, {}, {}, [](const auto& u) { return u->address; });
    if (!same) open_upstreams(wanted);
  }

  void open_upstreams(const std::vector<os::Endpoint>& wanted) {
    std::shared_ptr<std::vector<std::unique_ptr<Upstream>>> old(new std::vector(std::move(upstreams_)));
    loop().post([old] {});
    upstreams_.clear();
    for (const os::Endpoint& endpoint : wanted) {
      auto socket = os::UdpSocket::connect(endpoint);
      if (!socket) {
        log(LogLevel::warn, "dns", "resolver cannot be asked",
            {{"resolver", endpoint.ip.text()}, {"error", socket.error().message}});
        continue;
      }
      auto upstream = std::make_unique<Upstream>();
      upstream->address = endpoint;
      upstream->socket = std::move(*socket);
      upstream->ready = loop().watch(upstream->socket->fd());
      await_upstream(*upstream);
      upstreams_.push_back(std::move(upstream));
    }
  }

  void await_upstream(Upstream& upstream) {
    upstream.ready->on_readable([this, &upstream] {
      for (const os::Datagram& datagram : upstream.socket->receive())
        hear(datagram.cut ? truncated_reply(datagram.bytes) : std::string(datagram.bytes));
      await_upstream(upstream);
    });
  }

  void forward(Pending pending) {
    refresh_upstreams();
    if (upstreams_.empty() || pending_.size() >= pending_max) return finish(pending, {});
    uint16_t id;
    do id = static_cast<uint16_t>(random_->number());
    while (pending_.contains(id));
    counters.forwarded.fetch_add(1, std::memory_order_relaxed);
    if (auto client = tcp_clients_.find(pending.tcp_client); client != tcp_clients_.end()) ++client->second->forwarded;
    auto kept = pending_.emplace(id, std::move(pending)).first;
    send_upstream(id, kept->second);
    arm_timer();
  }

  void send_upstream(uint16_t id, Pending& pending) {
    ++pending.tries;
    pending.deadline = loop().now() + options_.upstream_timeout;
    Upstream& upstream = *upstreams_[pending.upstream % upstreams_.size()];
    std::string bytes = with_id(pending.reaction.bytes, id);
    os::Datagram datagram{{}, bytes};
    upstream.socket->send({&datagram, 1});
  }

  static bool answers_the_question(const Pending& pending, const Reply& reply) {
    Query asked;
    return reply.is_answer && read_query(pending.reaction.bytes, asked) == Verdict::good && asked.name == reply.name &&
           asked.type == reply.type;
  }

  void hear(std::string_view bytes) {
    auto reply = read_reply(bytes);
    auto found = reply ? pending_.find(reply->id) : pending_.end();
    if (found == pending_.end() || !answers_the_question(found->second, *reply) || found->second.stream) return;
    Pending& pending = found->second;
    bool wants_more = reply->truncated && (pending.over_tcp() || !pending.reaction.aliases.empty());
    if (wants_more && ask_over_tcp(reply->id, pending)) return;
    bool failed = reply->code == code_failure || reply->code == code_refused;
    if (failed && pending.tries < tries_max && upstreams_.size() > 1) {
      ++pending.upstream;
      return send_upstream(reply->id, pending);
    }
    finish(pending, bytes);
    drop(reply->id);
  }

  // ---- Upstream over TCP.

  bool ask_over_tcp(uint16_t id, Pending& pending) {
    if (upstreams_.empty()) return false;  // they went while this answer was on its way
    auto stream = os::TcpStream::connect(upstreams_[pending.upstream % upstreams_.size()]->address);
    if (!stream) return false;
    pending.stream = std::move(*stream);
    pending.ready = loop().watch(pending.stream->fd());
    pending.out = framed(with_id(pending.reaction.bytes, id));
    pending.deadline = loop().now() + options_.upstream_timeout;
    pending.ready->on_writable([this, id] { write_upstream(id); });
    return true;
  }

  void write_upstream(uint16_t id) {
    auto found = pending_.find(id);
    if (found == pending_.end() || !found->second.stream) return;
    Pending& pending = found->second;
    if (!pending.stream->write(pending.out)) return fail_pending(id);
    if (!pending.out.empty()) return pending.ready->on_writable([this, id] { write_upstream(id); });
    pending.ready->on_readable([this, id] { read_upstream(id); });
  }

  void read_upstream(uint16_t id) {
    auto found = pending_.find(id);
    if (found == pending_.end() || !found->second.stream) return;
    Pending& pending = found->second;
    bool open = pending.stream->read(pending.in);
    if (auto message = take_message(pending.in)) {
      finish(pending, *message);
      return drop(id);
    }
    if (!open) return fail_pending(id);
    pending.ready->on_readable([this, id] { read_upstream(id); });
  }

  void fail_pending(uint16_t id) {
    auto found = pending_.find(id);
    if (found == pending_.end()) return;
    finish(found->second, {});
    drop(id);
  }

  void drop(uint16_t id) {
    auto found = pending_.find(id);
    if (found == pending_.end()) return;
    auto dying = std::make_shared<Pending>(std::move(found->second));
    pending_.erase(found);
    if (dying->stream) loop().post([dying] {});
    if (auto client = tcp_clients_.find(dying->tcp_client); client != tcp_clients_.end()) {
      --client->second->forwarded;
      resume(dying->tcp_client);
    }
  }

  // The client hears what upstream said, or that it failed.
  void finish(const Pending& pending, std::string_view reply) {
    if (reply.empty()) counters.failed.fetch_add(1, std::memory_order_relaxed);
    std::string bytes = answerer_.finish(pending.query, pending.over_tcp(), pending.reaction, reply);
    if (pending.over_tcp()) return send_tcp(pending.tcp_client, bytes);
    os::Datagram datagram{pending.client, bytes};
    pending.listener->udp->send({&datagram, 1});
  }

  // ---- Time.

  void arm_timer() {
    if (timer_armed_) return;
    timer_armed_ = true;
    timer_ = loop().after(tick, [this] {
      timer_armed_ = false;
      expire();
      if (!pending_.empty() || !tcp_clients_.empty()) arm_timer();
    });
  }

  void expire() {
    Monotonic now = loop().now();
    std::vector<uint16_t> late;
    for (auto& [id, pending] : pending_)
      if (pending.deadline <= now) late.push_back(id);
    for (uint16_t id : late) {
      Pending& pending = pending_.at(id);
      if (pending.stream || pending.tries >= tries_max || upstreams_.empty()) {
        fail_pending(id);
        continue;
      }
      ++pending.upstream;
      send_upstream(id, pending);
    }
    std::vector<uint64_t> idle;
    for (auto& [number, client] : tcp_clients_)
      if (client->deadline <= now) idle.push_back(number);
    for (uint64_t number : idle) close_client(number);
  }

  ServerOptions options_;
  Answerer answerer_;
  os::Disk& disk_;
  std::unique_ptr<os::Random> random_;
  std::vector<Ip> own_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Upstream>> upstreams_;
  Monotonic upstreams_read_;
  std::unordered_map<uint16_t, Pending> pending_;
  std::unordered_map<uint64_t, std::unique_ptr<TcpClient>> tcp_clients_;
  uint64_t tcp_numbers_ = 0;
  uint32_t turn_ = 0;
  bool timer_armed_ = false;
  std::unique_ptr<run::Timer> timer_;
  std::optional<run::LoopThread> thread_;
};

Result<std::unique_ptr<Server>> Server::start(const Zone& zone, os::Disk& disk, ServerOptions options) {
  auto engine = std::make_unique<Engine>(zone, disk, std::move(options));
  DURE_CHECK(engine->start());
  return std::unique_ptr<Server>(new Server(std::move(engine)));
}

Server::Server(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Server::~Server() = default;
std::vector<os::Endpoint> Server::addresses() const { return engine_->addresses(); }
const Server::Counters& Server::counters() const { return engine_->counters; }

}  // namespace dure::dns
