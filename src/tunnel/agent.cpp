#include "tunnel/agent.h"

#include <algorithm>
#include <mutex>

#include "base/log.h"
#include "tunnel/hub.h"

namespace dure::tunnel {
namespace {

constexpr Duration kFirstPause = 100ms, kLongestPause = 5s;

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
      mux = std::move(mux_);
    }
    if (mux) mux->close();
  }

  bool connected() const {
    const std::lock_guard lock(mutex_);
    return mux_ && !mux_->closed();
  }

 private:
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
    Mux::Callbacks callbacks;
    callbacks.on_stream = [handler = handler_](std::unique_ptr<wire::Stream> stream) {
      wire::serve_stream(std::move(stream), std::make_shared<const wire::Peer>(), handler);
    };
    callbacks.on_end = [weak = weak_from_this()](const Error& why) {
      if (const auto me = weak.lock()) me->ended(why);
    };
    auto mux = Mux::start(std::move(*upgraded), true, std::move(callbacks));
    const std::lock_guard lock(mutex_);
    if (stopped_)
      mux->close();
    else
      mux_ = std::move(mux);
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
    dial_soon(kFirstPause);
  }

  run::Loop& loop_;
  run::Executor& pool_;
  const AgentTunnelOptions options_;
  const wire::Handler handler_;
  mutable std::mutex mutex_;
  std::shared_ptr<Mux> mux_;
  std::unique_ptr<run::Timer> timer_;
  Duration pause_ = Duration::zero();
  bool stopped_ = false;
};

class AgentTunnelHandle final : public AgentTunnel {
 public:
  explicit AgentTunnelHandle(std::shared_ptr<Dialler> dialler) : dialler_(std::move(dialler)) {}
  ~AgentTunnelHandle() override { dialler_->stop(); }
  bool connected() const override { return dialler_->connected(); }

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
