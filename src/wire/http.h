// HTTP as handlers and callers see it; the version (1.1 or 2), TLS and the socket are below. RFC 9110.
//
// Server: a Handler gets an Exchange per request. Simple answers call `respond` once; streams call `start`, `write`
// ... `finish`. Upgrades (WebSocket, SPDY, tunnel) take the byte stream over. Thread: a handler is called on the
// connection's loop thread and must not block; every Exchange method may be called from any thread (it posts to the
// loop).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "run/loop.h"
#include "wire/proxy.h"

namespace dure::wire {

struct Headers {
  std::vector<std::pair<std::string, std::string>> items;  // names in lower case
  // First value, or empty.
  std::string_view get(std::string_view lower_case_name) const;
  std::vector<std::string_view> all(std::string_view lower_case_name) const;
  void set(std::string_view name, std::string_view value);
  void add(std::string_view name, std::string_view value);
};

// Who is at the other end of a TLS connection.
struct Peer {
  std::string address;          // "192.0.2.1:1234"
  std::string certificate_der;  // leaf; empty without a client certificate
  bool certificate_verified = false;  // against the client CA; one that was not is no better than none
};

struct Request {
  std::string method = "GET";
  std::string target;  // path and query as sent
  Headers headers;
  std::string body;
  std::shared_ptr<const Peer> peer;
  int http_version = 1;  // 1 or 2; upgrades exist on 1 only
  std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
  std::string_view query() const {
    const size_t at = target.find('?');
    return at == std::string::npos ? std::string_view{} : std::string_view(target).substr(at + 1);
  }
};

// Decoded query parameters in order; '+' is a space.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
  Headers trailers = {};
};

// A full-duplex byte stream on a loop: a TLS or plain connection, one stream of a tunnel, an upgraded connection.
// Thread: methods any; callbacks the loop's. Destroying it closes it and no callback follows; off the loop's thread
// the destructor waits for a callback that is running, so never destroy it while holding a lock that a callback
// takes.
class Stream {
 public:
  struct Callbacks {
    std::move_only_function<void(std::string_view)> on_data;  // bytes are valid during the call only
    std::move_only_function<void()> on_end;                   // the peer finished writing (half close)
    std::move_only_function<void(Error)> on_close;            // both directions are over; called at most once, last
    std::move_only_function<void()> on_drained;               // all written bytes left for the kernel
  };
  virtual ~Stream() = default;
  virtual void start(Callbacks callbacks) = 0;  // once; data that came before is delivered first
  virtual void write(SharedBytes bytes) = 0;
  virtual size_t unsent() const = 0;    // bytes accepted and not yet taken by the kernel: the caller's back-pressure
  virtual void pause(bool paused) = 0;  // stop (resume) reading: back-pressure on the peer
  virtual void finish_writing() = 0;    // half close, after what was written has left
  virtual void close() = 0;             // at once: unsent bytes are dropped and no callback follows
  // Back to before `start`, for somebody else: callbacks are dropped, reading stops, and `unread` is delivered first
  // at the next start. Loop thread only, also from inside a callback. A stream that nobody upgrades need not support
  // it.
  virtual void hand_over(std::string unread) { DURE_ASSERT(!"hand_over is not supported by this stream"); }
  virtual run::Loop& loop() = 0;
  // The address this end sends from, "192.0.2.1:1234"; empty when it has none (a stream inside another) or is over.
  virtual std::string local_address() const { return {}; }
};

// A handler that drops its Exchange without an answer makes it a 500.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;
  virtual void respond(Response response) = 0;
  // Streaming answer; chunked on HTTP/1.1.
  virtual void start(int status, Headers headers) = 0;
  virtual void write(SharedBytes bytes) = 0;
  virtual void finish() = 0;
  virtual void finish_with_trailers(Headers trailers) { finish(); }
  virtual void abort() = 0;  // resets the stream or closes the connection
  virtual size_t unsent() const = 0;
  virtual void on_drained(std::move_only_function<void()> callback) = 0;  // after each time unsent() fell to zero
  virtual void on_close(std::move_only_function<void()> callback) = 0;    // the peer went away
  // HTTP/1.1 only: answers 101 with `headers` and hands over the connection; null on HTTP/2.
  virtual std::unique_ptr<Stream> upgrade(Headers headers) = 0;
  virtual run::Loop& loop() = 0;
};

using Handler = std::function<void(std::shared_ptr<Exchange>)>;

struct ServerLimits {
  size_t body_bytes_max = 3 << 20;     // more: 413
  size_t header_bytes_max = 64 << 10;  // more: 431
  uint32_t streams_max = 250;          // per HTTP/2 connection
  size_t connections_max = 8192;       // more: closed at once
  Duration header_timeout = 10s, idle_timeout = 3min;
  // A peer that does not take what waits for it (less than 16 KB from one look to the next) is cut off, within one to
  // two of these; idle streams, for whom nothing waits, and upgraded ones are not. HTTP/2: a stream whose window stays
  // shut is reset.
  Duration stall_timeout = 1min;
  // Answers that wait for their reader. HTTP/1.1: the next pipelined request waits with them; HTTP/2: more requests on
  // this connection are answered with 429.
  size_t waiting_bytes_max = 32 << 20;
  // The response to a request that never reaches the handler (400, 408, 413, 429, 431, 501). Absent: plain text.
  std::function<Response(int status, std::string_view why)> refusal = {};
};

// TLS material; reloadable, so that certificates renew while running.
struct TlsServerConfig {
  std::string certificate_pem, key_pem;  // chain, leaf first
  std::string client_ca_pem;             // client certificates are asked for and, when given, verified against it
};

class Server {
 public:
  // Listens on address ("0.0.0.0:6443", "[::]:0", "unix:/path") and serves on `loops` in turn; plain HTTP without
  // tls.
  static Result<std::unique_ptr<Server>> listen(std::string_view address, std::optional<TlsServerConfig> tls,
                                                std::vector<run::Loop*> loops, Handler handler,
                                                ServerLimits limits = {});
  virtual ~Server() = default;
  virtual int port() const = 0;
  virtual Status reload(TlsServerConfig tls) = 0;
};

// Serves HTTP/1.1 on one already open stream (a tunnel stream); lives until the stream closes.
void serve_stream(std::unique_ptr<Stream> stream, std::shared_ptr<const Peer> peer, Handler handler,
                  ServerLimits limits = {});

struct TlsClientConfig {
  std::string ca_pem;                    // empty with insecure = true only
  std::string certificate_pem, key_pem;  // empty: none
  std::string server_name;               // for SNI and verification; empty: the host
  bool insecure = false;                 // no verification (bootstrap discovery checks the pinned hash itself)
};

struct CallLimits {
  Duration timeout = 30s;
  size_t body_bytes_max = 256 << 20;
};

// A client to one origin. HTTP/2 when ALPN agrees, else HTTP/1.1 keep-alive; reconnects by itself. Thread: any.
class HttpClient {
 public:
  struct Streaming {
    std::move_only_function<void(int status, const Headers&)> on_start;
    std::move_only_function<void(std::string_view)> on_data;
    std::move_only_function<void(Result<void>)> on_end;              // called once, last
    std::move_only_function<void(const Headers&)> on_trailers = {};  // before on_end, when there are any
  };
  // origin: "https://host:6443", "http://host:80", "unix:/run/x.sock" (HTTP/2 without TLS: "h2c+unix:/run/x.sock").
  // `proxy`: the way goes through it; the proxy resolves the name.
  static Result<std::unique_ptr<HttpClient>> create(run::Loop& loop, std::string origin, TlsClientConfig tls = {},
                                                    std::optional<Proxy> proxy = {});
  // HTTP/1.1 over streams that somebody else opens (of a tunnel): one per request in flight, kept for the next.
  // `dial` is called on the loop and answers there, once. `host` is what the Host header says.
  using Dialer = std::function<void(std::move_only_function<void(Result<std::unique_ptr<Stream>>)>)>;
  static std::unique_ptr<HttpClient> over_streams(run::Loop& loop, std::string host, Dialer dial);
  virtual ~HttpClient() = default;
  // Blocks the calling thread, which must not be the loop's.
  virtual Result<Response> call(Request request, CallLimits limits = {}) = 0;
  // Callbacks run on the loop; the returned handle cancels when destroyed.
  virtual std::unique_ptr<run::Timer> stream(Request request, Streaming callbacks) = 0;
  // HTTP/1.1 upgrade on a connection of its own; blocks until the 101 (or the error response).
  struct Upgraded {
    std::unique_ptr<Stream> stream;
    Headers headers;
  };
  virtual Result<Upgraded> upgrade(Request request, Duration timeout = 30s) = 0;
  // As upgrade, without blocking: `done` runs on the loop, once, unless the handle was destroyed before. The client
  // must outlive the answer.
  virtual std::unique_ptr<run::Timer> start_upgrade(Request request, Duration timeout,
                                                    std::move_only_function<void(Result<Upgraded>)> done) = 0;
};

// Connects a plain or TLS byte stream; blocks. address: "host:port" or "unix:/path".
Result<std::unique_ptr<Stream>> dial(run::Loop& loop, std::string_view address, std::optional<TlsClientConfig> tls,
                                     Duration timeout = 10s);

}  // namespace dure::wire
