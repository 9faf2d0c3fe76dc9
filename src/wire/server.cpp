#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <mutex>
#include <unordered_map>

#include "base/log.h"
#include "wire/deadline.h"
#include "wire/http.h"
#include "wire/session.h"
#include "wire/socket.h"
#include "wire/socket_stream.h"
#include "wire/tls.h"

namespace dure::wire {
namespace {

// One accepted connection: first the TLS handshake, then the session that ALPN chose.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(run::Loop& loop, int fd, ssl_st* session, std::string address,
             std::shared_ptr<const SessionHost> host, std::function<void()> over)
      : stream_(std::make_unique<SocketStream>(loop, fd, session)),
        peer_(std::make_shared<Peer>()),
        host_(std::move(host)),
        over_(std::move(over)),
        deadline_(loop, [this] { over_(); }) {
    peer_->address = std::move(address);
  }
  void begin() {
    if (!stream_->session()) return serve(make_guessing_session(std::move(stream_), peer_, host_));
    deadline_.set(host_->limits.header_timeout);
    stream_->handshake([this](Status done) {
      deadline_.clear();
      if (!done) {
        log(LogLevel::debug, "wire", "connection refused",
            {{"peer", peer_->address}, {"why", done.error().message}});
        return over_();
      }
      ssl_st* session = stream_->session();
      describe_peer(session, *peer_);
      const std::string protocol = alpn_of(session);
      if (protocol == "h2") return serve(make_http2_session(std::move(stream_), peer_, host_));
      if (protocol == "http/1.1")
        return serve(make_http1_session(std::move(stream_), peer_, host_));
      serve(make_guessing_session(std::move(stream_), peer_, host_));
    });
  }

 private:
  void serve(std::shared_ptr<Session> session) {
    session_ = std::move(session);
    session_->over = over_;
    session_->begin();
  }
  std::unique_ptr<SocketStream> stream_;
  std::shared_ptr<Peer> peer_;
  std::shared_ptr<const SessionHost> host_;
  std::function<void()> over_;
  Deadline deadline_;
  std::shared_ptr<Session> session_;
};

// The connections of one loop; that loop's thread only.
struct LoopShare {
  explicit LoopShare(run::Loop& loop) : loop(loop) {}
  run::Loop& loop;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections;
  uint64_t last_id = 0;
  bool closed = false;
};

class HttpServer final : public Server {
 public:
  HttpServer(int fd, int port, TlsContext tls, std::vector<run::Loop*> loops, Handler handler,
             ServerLimits limits)
      : state_(std::make_shared<State>()) {
    state_->fd = fd;
    state_->port = port;
    state_->tls = std::move(tls);
    state_->host =
        std::make_shared<const SessionHost>(SessionHost{std::move(handler), std::move(limits)});
    for (run::Loop* loop : loops) state_->shares.push_back(std::make_shared<LoopShare>(*loop));
    run::Loop& first = state_->shares[0]->loop;
    first.post([state = state_, &first] {
      if (state->fd < 0) return;
      state->readiness = first.watch(state->fd);
      state->accept_soon();
    });
  }
  // Waits until no handler of this server can run any more.
  ~HttpServer() override {
    run_and_wait(state_->shares[0]->loop, [state = state_] {
      state->readiness.reset();
      state->retry.reset();
      ::close(std::exchange(state->fd, -1));
    });
    for (const auto& share : state_->shares)
      run_and_wait(share->loop, [share] {
        share->closed = true;
        const auto connections = std::exchange(share->connections, {});
      });
  }
  int port() const override { return state_->port; }
  Status reload(TlsServerConfig config) override {
    DURE_TRY(auto context, make_server_context(config));
    std::lock_guard lock(state_->mutex);
    state_->tls = std::move(context);
    return {};
  }

 private:
  struct State : std::enable_shared_from_this<State> {
    int fd = -1;
    int port = 0;
    std::shared_ptr<const SessionHost> host;
    std::vector<std::shared_ptr<LoopShare>> shares;
    std::mutex mutex;
    TlsContext tls;  // under mutex
    std::atomic<size_t> count = 0;
    // The first loop's thread only.
    std::unique_ptr<run::Readiness> readiness;
    std::unique_ptr<run::Timer> retry;
    size_t turn = 0;

    void accept_soon() {
      readiness->on_readable([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->accept_all();
      });
    }
    void accept_all() {
      for (int rounds = 0; rounds < 64; ++rounds) {
        SocketAddress address;
        address.size = sizeof address.storage;
        const int accepted = accept4(fd, reinterpret_cast<sockaddr*>(&address.storage),
                                     &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) {
          if (errno == EINTR || errno == ECONNABORTED) continue;
          if (errno != EAGAIN) return accept_later();
          break;
        }
        if (count.load() >= host->limits.connections_max) {
          ::close(accepted);
          continue;
        }
        ++count;
        tune_connection(accepted, address.family());
        adopt(accepted, address.family() == AF_UNIX ? "unix" : address_text(address));
      }
      accept_soon();
    }
    // Out of descriptors or memory: the queue of the kernel waits with us.
    void accept_later() {
      log(LogLevel::warn, "wire", "accept failed; trying again",
          {{"why", from_errno("accept", errno).message}});
      retry = shares[0]->loop.after(100ms, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->accept_all();
      });
    }
    void adopt(int accepted, std::string address) {
      const auto& share = shares[turn++ % shares.size()];
      TlsContext context;
      {
        std::lock_guard lock(mutex);
        context = tls;
      }
      share->loop.post([self = shared_from_this(), share, accepted, context = std::move(context),
                        address = std::move(address)]() mutable {
        if (share->closed) {
          ::close(accepted);
          return;
        }
        self->open(share, accepted, context, std::move(address));
      });
    }
    void open(const std::shared_ptr<LoopShare>& share, int accepted, const TlsContext& context,
              std::string address) {
      ssl_st* session = nullptr;
      if (context) {
        auto made = make_server_session(context, accepted);
        if (!made) {
          ::close(accepted);
          --count;
          return;
        }
        session = *made;
      }
      const uint64_t id = ++share->last_id;
      // Never destroyed inside its own call: the removal is posted.
      auto over = [weak = weak_from_this(), weak_share = std::weak_ptr(share), &loop = share->loop,
                   id] {
        loop.post([weak, weak_share, id] {
          const auto self = weak.lock();
          const auto share = weak_share.lock();
          if (share && share->connections.erase(id) > 0 && self) --self->count;
        });
      };
      const auto connection = std::make_shared<Connection>(
          share->loop, accepted, session, std::move(address), host, std::move(over));
      share->connections.emplace(id, connection);
      connection->begin();
    }
  };

  template <class Call>
  static void run_and_wait(run::Loop& loop, Call call) {
    if (loop.on_loop_thread()) return void(call());
    auto promise = std::make_shared<std::promise<void>>();
    auto done = promise->get_future();
    loop.post([promise = std::move(promise), call = std::move(call)]() mutable {
      call();
      promise->set_value();
    });
    // A loop that was stopped first never answers; then nothing of ours runs on it either.
    done.wait_for(std::chrono::seconds(5));
  }

  const std::shared_ptr<State> state_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(std::string_view address,
                                               std::optional<TlsServerConfig> tls,
                                               std::vector<run::Loop*> loops, Handler handler,
                                               ServerLimits limits) {
  DURE_ASSERT(!loops.empty());
  TlsContext context;
  if (tls) {
    DURE_TRY(context, make_server_context(*tls));
  }
  DURE_TRY(const int fd, listen_socket(address));
  const auto port = local_port(fd);
  return std::make_unique<HttpServer>(fd, port.value_or(0), std::move(context), std::move(loops),
                                      std::move(handler), std::move(limits));
}

}  // namespace dure::wire
