#include "tunnel/agent.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "base/text.h"
#include "tunnel/hub.h"
#include "wire/dial_plan.h"

namespace dure::tunnel {
namespace {

using wire::DialPlan;
using wire::DialTurns;
using wire::Way;
constexpr Duration kReportPause = 100ms;
constexpr Duration kTryTimeout = 10s;  // name, TCP, TLS and the upgrade together
constexpr Duration kHeldAWhile = 3s;   // a connection that lived this long was a good one
constexpr Duration kSayAgain = 1min;   // the same trouble is logged once in this time

Ip host_of_address(std::string_view address) {
  address = address.substr(0, address.rfind(':'));
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  return Ip::parse(address).value_or(Ip());
}

// The rendezvous of one connection; its loop's thread.
struct Control {
  std::unique_ptr<wire::Stream> stream;
  MessageReader reader;
};

// One try of one way; loop thread. Destroying it ends it.
struct Try {
  Way way;
  std::unique_ptr<wire::HttpClient> http;
  std::unique_ptr<run::Timer> answer;
};

// Shared with work that is posted to the loop when the tunnel is destroyed.
class Dialler : public std::enable_shared_from_this<Dialler> {
 public:
  Dialler(run::Loop& loop, AgentTunnelOptions options, wire::Handler handler)
      : loop_(loop),
        options_(std::move(options)),
        handler_(std::move(handler)),
        plan_(options_.servers, options_.proxy, options_.no_proxy, options_.seed) {
    plan_.learn(options_.learned);
  }

  void begin() {
    loop_.post([me = shared_from_this()] { me->begin_round(); });
  }

  void stop() {
    std::shared_ptr<Mux> mux;
    {
      std::unique_lock calls(calling_, std::defer_lock);
      if (!loop_.on_loop_thread()) calls.lock();
      silent_ = true;
    }
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      report_timer_.reset();
      mux = std::move(mux_);
    }
    if (mux) mux->close();
    loop_.post([me = shared_from_this()] {
      me->timer_.reset();
      me->tries_.clear();
    });
  }

  bool connected() const {
    const std::lock_guard lock(mutex_);
    return mux_ && mux_->alive();
  }

  std::string trouble() const {
    const std::lock_guard lock(mutex_);
    if (mux_ && mux_->alive()) return {};
    return trouble_.empty() ? "not connected yet" : trouble_;
  }

  void network_changed(std::vector<Ip> own_addresses) {
    loop_.post([me = shared_from_this(), own = std::move(own_addresses)] { me->look_at_network(own); });
  }

  void publish(NodeReport report) {
    std::string message = encode_report(options_.node, report);
    const std::lock_guard lock(mutex_);
    if (stopped_ || message == report_) return;
    report_ = std::move(message);
    if (report_timer_) return;  // the one that is about to go takes this with it
    report_timer_ = loop_.after(kReportPause, [weak = weak_from_this()] {
      if (const auto me = weak.lock()) me->send_report();
    });
  }

  Status send_packet(std::string_view node, std::string_view bytes) {
    if (bytes.empty() || bytes.size() > MuxCore::frame_bytes_max)
      return fail(bad_request("a packet of " + std::to_string(bytes.size()) + " bytes"));
    std::shared_ptr<Mux> mux;
    uint32_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      if (!mux_ || !mux_->up()) return fail(down());
      mux = mux_;
      number = table_.number_of(node);
    }
    if (number == 0)
      return fail(Error{404, "UnknownNode", "the server does not know a node \"" + std::string(node) + "\""});
    std::string frame;
    frame.reserve(MuxCore::header_bytes + bytes.size());
    MuxCore::append_packet(frame, number, bytes);
    mux->send_packets(std::move(frame), 1);
    return {};
  }

  Result<std::unique_ptr<wire::Stream>> open_stream() {
    std::shared_ptr<Mux> mux;
    {
      const std::lock_guard lock(mutex_);
      if (!mux_ || !mux_->up()) return fail(down());
      mux = mux_;
    }
    return mux->open();
  }

 private:
  // Under the lock. Nobody was asked, so asking again soon costs nothing.
  Error down() const {
    Error error{503, "TunnelDown", "there is no connection to the server at the moment"};
    if (!trouble_.empty()) error.message += ": " + trouble_;
    error.retry_after_seconds = 1;
    return error;
  }

  bool idle() const {
    const std::lock_guard lock(mutex_);
    return !stopped_ && (!mux_ || !mux_->up());
  }

  // --- Dialling: a round goes through all ways; loop thread.

  void begin_round() {
    if (!idle()) return;
    turns_.begin(plan_.ways());
    try_next();
  }

  // A round that hangs goes around.
  void try_next() {
    if (!idle() || turns_.empty()) return;
    const DialTurns::Turn turn = turns_.next(loop_.now());
    if (turn.way) try_way(*turn.way);
    wait(turn.wait, [](Dialler& me) { me.try_next(); });
  }

  void wait(Duration delay, void (*then)(Dialler&)) {
    timer_ = loop_.after(delay, [weak = weak_from_this(), then] {
      if (const auto me = weak.lock()) then(*me);
    });
  }

  void try_way(const Way& way) {
    const uint64_t id = ++last_try_;
    auto http = wire::HttpClient::create(loop_, way.url, options_.tls, way.proxy);
    if (!http) {
      loop_.post([weak = weak_from_this(), way, why = http.error()] {
        if (const auto me = weak.lock(); me && me->idle()) me->failed(way, why);
      });
      return;
    }
    wire::Request request;
    request.target = std::string(tunnel_path);
    request.headers.set("upgrade", tunnel_protocol);
    if (way.proxy) request.headers.set("dure-via-proxy", "1");
    if (const auto received = records_received()) {
      request.headers.set(session_header, session_);
      request.headers.set(received_header, std::to_string(*received));
    }
    Try& attempt = tries_[id];
    attempt.way = way;
    attempt.http = std::move(*http);
    attempt.answer = attempt.http->start_upgrade(
        std::move(request), kTryTimeout, [weak = weak_from_this(), id](Result<wire::HttpClient::Upgraded> upgraded) {
          if (const auto me = weak.lock()) me->answered(id, std::move(upgraded));
        });
  }

  // Of the session that waits for a connection; nothing when there is none.
  std::optional<uint64_t> records_received() const {
    std::optional<uint64_t> out;
    if (const auto mux = session()) mux->hold(std::nullopt, [&](std::optional<uint64_t> received) { out = received; });
    return out;
  }
  std::shared_ptr<Mux> session() const {
    const std::lock_guard lock(mutex_);
    return mux_;
  }

  void answered(uint64_t id, Result<wire::HttpClient::Upgraded> upgraded) {
    const auto found = tries_.find(id);
    if (found == tries_.end()) return;
    const Way way = found->second.way;
    // Not inside its own call.
    loop_.post([over = std::make_shared<Try>(std::move(found->second))] {});
    tries_.erase(found);
    if (!upgraded) {
      // It cannot go on with us: the next try is for a new session.
      if (const auto mux = session(); mux && upgraded.error().code == 409) mux->close();
      return failed(way, upgraded.error());
    }
    if (!idle()) return;
    loop_.post([others = std::make_shared<std::map<uint64_t, Try>>(std::exchange(tries_, {}))] {});
    turns_.abandon();
    timer_.reset();
    plan_.worked(way);
    source_ = host_of_address(upgraded->stream->local_address());
    const auto their_count = parse_int(upgraded->headers.get(received_header));
    const auto mux = session();
    const bool resumes = their_count && *their_count >= 0 && mux && !mux->closed();
    log(LogLevel::info, "tunnel", "connected",
        {{"server", way.text()}, {"from", source_.text()}, {"again", resumes ? "yes" : "no"}});
    if (mux && !resumes) mux->close();
    lost_ = false;
    since_ = loop_.now();
    if (resumes) {
      mux->resume(std::move(upgraded->stream), static_cast<uint64_t>(*their_count));
      if (mux->up()) stands();
      return;
    }
    session_ = upgraded->headers.get(session_header);
    adopt(std::move(upgraded->stream));
  }

  void failed(const Way& way, const Error& why) {
    turns_.failed(way, why.is("UpgradeRefused") ? unavailable(refusal(why)) : why);
    say_trouble();
    if (!turns_.all_had_theirs()) return try_next();
    // All had their turn; what hangs does not hold up those that answer.
    wait(plan_.pause(), [](Dialler& me) { me.begin_round(); });
  }

  static std::string refusal(const Error& why) {
    std::string text = "the server refused the tunnel (" + std::to_string(why.code) + ")";
    if (why.code == 401) return text + ": it does not accept this node's certificate; join again: dure join";
    return text + (why.message.empty() ? "" : ": " + why.message.substr(0, why.message.find('\n')));
  }

  void say_trouble() {
    std::string why;
    const auto failures = turns_.failures();
    for (const auto& [way, trouble] : failures)
      why += (why.empty() ? "" : "; ") + way.text() + ": " + trouble.message;
    {
      const std::lock_guard lock(mutex_);
      trouble_ = why;
    }
    if (failures.size() < turns_.size() || (why == said_ && loop_.now() - said_at_ < kSayAgain)) return;
    log(LogLevel::warn, "tunnel", "cannot reach the server", {{"why", why}});
    said_ = std::move(why);
    said_at_ = loop_.now();
  }

  void look_at_network(const std::vector<Ip>& own) {
    std::shared_ptr<Mux> mux;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      mux = mux_;
    }
    plan_.reset();
    if (mux && mux->up()) {
      if (!source_.is_unspecified() && std::find(own.begin(), own.end(), source_) == own.end()) {
        log(LogLevel::info, "tunnel", "the address of the connection is gone", {{"address", source_.text()}});
        return mux->drop(Error{502, "TunnelClosed", "its address is gone"});  // then we dial again
      }
      return mux->suspect();
    }
    // What was under way may wait for an answer that cannot come.
    tries_.clear();
    turns_.abandon();
    begin_round();
  }

  // --- The connection

  void adopt(std::unique_ptr<wire::Stream> connection) {
    Mux::Callbacks callbacks;
    callbacks.on_stream = [weak = weak_from_this()](std::unique_ptr<wire::Stream> stream) {
      if (const auto me = weak.lock())
        me->tell([&] { wire::serve_stream(std::move(stream), std::make_shared<const wire::Peer>(), me->handler_); });
    };
    callbacks.on_packets = [weak = weak_from_this()](const MuxCore::Packets& packets) {
      if (const auto me = weak.lock()) me->packets(packets);
    };
    callbacks.on_down = [weak = weak_from_this()](const Error& why) {
      if (const auto me = weak.lock()) me->lost(why);
    };
    // With a connection: the session was given up, and lost it with that.
    callbacks.on_end = [weak = weak_from_this()](const Error& why) {
      if (const auto me = weak.lock()) me->lost(why);
    };
    begin(Mux::start(std::move(connection), true, std::move(callbacks)));
  }

  // The first stream is the rendezvous; only then others may open theirs.
  void begin(const std::shared_ptr<Mux>& mux) {
    auto stream = mux->open();
    if (!stream) return;
    control_ = std::make_shared<Control>();
    control_->stream = std::move(*stream);
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [weak = weak_from_this(), mux = std::weak_ptr(mux),
                         control = std::weak_ptr(control_)](std::string_view bytes) {
      const auto me = weak.lock();
      const auto kept = control.lock();
      if (!me || !kept) return;
      if (Status heard = me->heard(*kept, bytes); !heard) {
        log(LogLevel::error, "tunnel", "the server's table is not readable", {{"why", heard.error().message}});
        if (const auto over = mux.lock()) over->close();
      }
    };
    callbacks.on_drained = [weak = weak_from_this()] {
      if (const auto me = weak.lock(); me && me->report_waits_) me->send_report();
    };
    control_->stream->start(std::move(callbacks));
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return mux->close();
      table_.forget_numbers();
      mux_ = mux;
    }
    send_report();
    stands();
  }

  void stands() {
    {
      const std::lock_guard lock(mutex_);
      trouble_.clear();
    }
    said_.clear();
    turns_.forget_failures();
    tell(options_.on_change, true);
  }

  // One at a time: what changes while one is on its way, or waits for a connection, is gathered into the next.
  void send_report() {
    SharedBytes message;
    {
      const std::lock_guard lock(mutex_);
      report_timer_.reset();
      if (report_.empty()) return;
      message = SharedBytes(framed(report_));
    }
    if (!control_) return;
    report_waits_ = control_->stream->unsent() > 0;
    if (!report_waits_) control_->stream->write(std::move(message));
  }

  Status heard(Control& control, std::string_view bytes) {
    DURE_CHECK(control.reader.feed(bytes));
    std::string message;
    bool changed = false;
    std::vector<NodeView> views;
    while (control.reader.next(message)) {
      const std::lock_guard lock(mutex_);
      DURE_CHECK(table_.apply(message));
      changed = true;
    }
    if (!changed || !table_.complete()) return {};
    plan_.learn(table_.servers());
    if (table_.servers() != told_servers_) tell(options_.on_servers, table_.servers());
    told_servers_ = table_.servers();
    tell(options_.on_table, table_.views());
    return {};
  }

  // The table changes on this thread only, so it may be read without the lock here.
  void packets(const MuxCore::Packets& packets) {
    std::string_view rest = packets.bytes;
    for (const MuxCore::Packets::One& one : packets.items) {
      const std::string_view node = table_.name_of(one.number);
      if (!node.empty()) tell(options_.on_packet, node, std::string(rest.substr(0, one.size)));
      rest.remove_prefix(one.size);
    }
  }

  // The connection is lost, or the session with it; once for each connection.
  void lost(const Error& why) {
    if (session_is_over()) control_.reset();
    if (std::exchange(lost_, true)) return;
    const bool held = loop_.now() - since_ > kHeldAWhile;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      trouble_ = "the connection was lost: " + why.message;
    }
    log(LogLevel::warn, "tunnel", "connection lost", {{"why", why.message}});
    if (held) plan_.reset();
    tell(options_.on_change, false);
    // A server that takes and drops connections at once is not asked in a circle.
    wait(held ? Duration::zero() : plan_.pause(), [](Dialler& me) { me.begin_round(); });
  }
  bool session_is_over() const {
    const auto mux = session();
    return !mux || mux->closed();
  }

  // Whatever the owner is called back with; loop thread. It may destroy the tunnel inside.
  template <class Call, class... Arguments>
  void tell(const Call& call, Arguments&&... arguments) {
    if constexpr (requires { static_cast<bool>(call); })
      if (!call) return;
    const std::lock_guard lock(calling_);
    if (!silent_) call(std::forward<Arguments>(arguments)...);
  }

  run::Loop& loop_;
  const AgentTunnelOptions options_;
  const wire::Handler handler_;
  std::mutex calling_;   // held while the owner is called back
  bool silent_ = false;  // under it, or on the loop
  // The loop's:
  DialPlan plan_;
  DialTurns turns_;
  uint64_t last_try_ = 0;
  std::map<uint64_t, Try> tries_;
  std::unique_ptr<run::Timer> timer_;
  std::shared_ptr<Control> control_;
  Ip source_;            // of the connection
  std::string session_;  // as the server calls it
  bool lost_ = true, report_waits_ = false;
  Monotonic since_{}, said_at_{};
  std::string said_;
  std::vector<std::string> told_servers_;

  mutable std::mutex mutex_;
  std::shared_ptr<Mux> mux_;
  NodeTable table_;  // written on the loop
  std::string report_, trouble_;
  std::unique_ptr<run::Timer> report_timer_;
  bool stopped_ = false;
};

class AgentTunnelHandle final : public AgentTunnel {
 public:
  explicit AgentTunnelHandle(std::shared_ptr<Dialler> dialler) : dialler_(std::move(dialler)) {}
  ~AgentTunnelHandle() override { dialler_->stop(); }
  bool connected() const override { return dialler_->connected(); }
  std::string trouble() const override { return dialler_->trouble(); }
  void network_changed(std::vector<Ip> own) override { dialler_->network_changed(std::move(own)); }
  void publish(NodeReport report) override { dialler_->publish(std::move(report)); }
  Status send_packet(std::string_view node, std::string_view bytes) override {
    return dialler_->send_packet(node, bytes);
  }
  Result<std::unique_ptr<wire::Stream>> open_stream() override { return dialler_->open_stream(); }

 private:
  std::shared_ptr<Dialler> dialler_;
};

}  // namespace

Result<std::unique_ptr<AgentTunnel>> AgentTunnel::start(run::Loop& loop, AgentTunnelOptions options,
                                                        wire::Handler handler) {
  if (!options.proxy.empty()) DURE_CHECK(wire::parse_proxy(options.proxy));
  for (const std::string& server : options.servers)
    DURE_CHECK(wire::HttpClient::create(loop, wire::server_url(server), options.tls));
  auto dialler = std::make_shared<Dialler>(loop, std::move(options), std::move(handler));
  dialler->begin();
  return std::make_unique<AgentTunnelHandle>(std::move(dialler));
}

}  // namespace dure::tunnel
