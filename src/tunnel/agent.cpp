#include "tunnel/agent.h"

#include <algorithm>
#include <mutex>

#include "base/log.h"
#include "tunnel/hub.h"

namespace dure::tunnel {
namespace {

constexpr Duration kFirstPause = 100ms, kLongestPause = 5s;
constexpr Duration kReportPause = 100ms;

// The rendezvous of one connection; its loop's thread.
struct Control {
  std::unique_ptr<wire::Stream> stream;
  MessageReader reader;
};

// Shared with work that is still on the pool when the tunnel is destroyed.
class Dialler : public std::enable_shared_from_this<Dialler> {
 public:
  Dialler(run::Loop& loop, run::Executor& pool, AgentTunnelOptions options, wire::Handler handler)
      : loop_(loop), pool_(pool), options_(std::move(options)), handler_(std::move(handler)) {}

  void dial_soon(Duration pause) {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    timer_ = pool_.after(pause, [me = shared_from_this()] { me->dial(); });
  }

  void stop() {
    std::shared_ptr<Mux> mux;
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      timer_.reset();
      report_timer_.reset();
      mux = std::move(mux_);
    }
    if (mux) mux->close();
  }

  bool connected() const {
    const std::lock_guard lock(mutex_);
    return mux_ && mux_->alive();
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
      if (!mux_ || mux_->closed()) return fail(down());
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
      if (!mux_ || mux_->closed()) return fail(down());
      mux = mux_;
    }
    return mux->open();
  }

 private:
  static Error down() { return Error{503, "TunnelDown", "there is no connection to the server at the moment"}; }

  void dial() {
    auto upgraded = connect();
    if (!upgraded) {
      log(LogLevel::warn, "tunnel", "cannot reach the server",
          {{"server", options_.server_url}, {"why", upgraded.error().message}});
      pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
      return dial_soon(pause_);
    }
    pause_ = Duration::zero();
    log(LogLevel::info, "tunnel", "connected", {{"server", options_.server_url}});
    adopt(std::move(*upgraded));
  }

  void adopt(std::unique_ptr<wire::Stream> connection) {
    Mux::Callbacks callbacks;
    callbacks.on_stream = [handler = handler_](std::unique_ptr<wire::Stream> stream) {
      wire::serve_stream(std::move(stream), std::make_shared<const wire::Peer>(), handler);
    };
    callbacks.on_packets = [weak = weak_from_this()](const MuxCore::Packets& packets) {
      if (const auto me = weak.lock()) me->packets(packets);
    };
    callbacks.on_end = [weak = weak_from_this()](const Error& why) {
      if (const auto me = weak.lock()) me->ended(why);
    };
    auto mux = Mux::start(std::move(connection), true, std::move(callbacks));
    loop_.post([weak = weak_from_this(), mux] {
      if (const auto me = weak.lock()) me->begin(mux);
    });
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
    control_->stream->start(std::move(callbacks));
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return mux->close();
      table_.forget_numbers();
      mux_ = mux;
    }
    send_report();
  }

  void send_report() {
    SharedBytes message;
    {
      const std::lock_guard lock(mutex_);
      report_timer_.reset();
      if (report_.empty()) return;
      message = SharedBytes(framed(report_));
    }
    if (control_) control_->stream->write(std::move(message));
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
    if (options_.on_table) options_.on_table(table_.views());
    return {};
  }

  // The table changes on this thread only, so it may be read without the lock here.
  void packets(const MuxCore::Packets& packets) {
    std::string_view rest = packets.bytes;
    for (const MuxCore::Packets::One& one : packets.items) {
      const std::string_view node = table_.name_of(one.number);
      if (!node.empty() && options_.on_packet) options_.on_packet(node, std::string(rest.substr(0, one.size)));
      rest.remove_prefix(one.size);
    }
  }

  Result<std::unique_ptr<wire::Stream>> connect() {
    DURE_TRY(const auto http, wire::HttpClient::create(loop_, options_.server_url, options_.tls));
    wire::Request request;
    request.target = std::string(tunnel_path);
    request.headers.set("upgrade", tunnel_protocol);
    request.headers.set("connection", "Upgrade");
    DURE_TRY(auto upgraded, http->upgrade(std::move(request), 10s));
    return std::move(upgraded.stream);
  }

  void ended(const Error& why) {
    log(LogLevel::warn, "tunnel", "connection lost", {{"why", why.message}});
    const auto control = std::exchange(control_, nullptr);
    dial_soon(kFirstPause);
  }

  run::Loop& loop_;
  run::Executor& pool_;
  const AgentTunnelOptions options_;
  const wire::Handler handler_;
  std::shared_ptr<Control> control_;  // the loop's
  mutable std::mutex mutex_;
  std::shared_ptr<Mux> mux_;
  NodeTable table_;  // written on the loop
  std::string report_;
  std::unique_ptr<run::Timer> timer_, report_timer_;
  Duration pause_ = Duration::zero();
  bool stopped_ = false;
};

class AgentTunnelHandle final : public AgentTunnel {
 public:
  explicit AgentTunnelHandle(std::shared_ptr<Dialler> dialler) : dialler_(std::move(dialler)) {}
  ~AgentTunnelHandle() override { dialler_->stop(); }
  bool connected() const override { return dialler_->connected(); }
  void publish(NodeReport report) override { dialler_->publish(std::move(report)); }
  Status send_packet(std::string_view node, std::string_view bytes) override {
    return dialler_->send_packet(node, bytes);
  }
  Result<std::unique_ptr<wire::Stream>> open_stream() override { return dialler_->open_stream(); }

 private:
  std::shared_ptr<Dialler> dialler_;
};

}  // namespace

std::unique_ptr<AgentTunnel> AgentTunnel::start(run::Loop& loop, run::Executor& pool, AgentTunnelOptions options,
                                                wire::Handler handler) {
  auto dialler = std::make_shared<Dialler>(loop, pool, std::move(options), std::move(handler));
  dialler->dial_soon(Duration::zero());
  return std::make_unique<AgentTunnelHandle>(std::move(dialler));
}

}  // namespace dure::tunnel
