// WireGuard as a program: wireguard-go makes a TUN device, goes to the background by itself and listens on a socket.
#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "base/text.h"
#include "kernel/links.h"
#include "kernel/namespaces.h"
#include "kernel/wg_encode.h"
#include "os/proc.h"

namespace dure::kernel {

namespace {

constexpr int answer_seconds_max = 5;
constexpr size_t answer_bytes_max = 16 << 20;
constexpr Duration end_wait_max = 3s;

class Connection {  // one question, one answer
 public:
  static Result<Connection> open(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(bad_request(path + " is too long for a socket"));
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    Connection out;
    out.fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (out.fd_ < 0) return fail(netlink::error_of("make a socket", errno));
    timeval limit{answer_seconds_max, 0};
    setsockopt(out.fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(out.fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(out.fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return out;
    // A socket that nobody listens on was left behind by a process that is gone.
    if (errno == ECONNREFUSED || errno == ENOENT)
      return fail(Error{404, "NotFound", path + " is not answered by any wireguard-go"});
    return fail(netlink::error_of("connect to " + path, errno));
  }

  Connection(Connection&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Connection() {
    if (fd_ >= 0) close(fd_);
  }

  Result<std::string> ask(std::string_view question) {
    while (!question.empty()) {
      ssize_t sent = send(fd_, question.data(), question.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return fail(silent(errno));
      question.remove_prefix(static_cast<size_t>(sent));
    }
    std::string answer;
    char buffer[16384];
    while (!uapi_errno(answer)) {
      ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(silent(errno));
      if (got == 0 || answer.size() > answer_bytes_max) return fail(silent(EPROTO));
      answer.append(buffer, static_cast<size_t>(got));
    }
    return answer;
  }

 private:
  Connection() = default;
  static Error silent(int errno_value) {
    Error error = from_errno("ask wireguard-go", errno_value);
    error.reason = "WireguardSilent";
    return error;
  }
  int fd_ = -1;
};

class WireguardGo final : public Wg {
 public:
  WireguardGo(Links& links, WgOptions options, const NetNamespace* ns)
      : links_(links), options_(std::move(options)), namespace_(ns) {}

  WgKind kind() const override { return WgKind::wireguard_go; }

  Status create(std::string_view name) override {
    std::lock_guard lock(mutex_);
    if (auto there = links_.get(name)) {
      if (there->kind == "tun" && ask(name, "get=1\n\n")) return {};
      return fail(Error{409, "AlreadyExists",
                        "the network device " + std::string(name) + " is there and no wireguard-go answers for it",
                        "ip link del " + std::string(name)});
    }
    return start(name);
  }

  // The process ends when its device is gone.
  Status remove(std::string_view name) override {
    std::lock_guard lock(mutex_);
    DURE_CHECK(links_.remove(name));
    for (Duration waited{}; waited < end_wait_max; waited += 10ms) {
      if (auto left = Connection::open(socket_path(name)); !left && left.error().is("NotFound")) {
        unlink(socket_path(name).c_str());
        return {};
      }
      std::this_thread::sleep_for(10ms);
    }
    return fail(Error{500, "WireguardSilent", "wireguard-go of " + std::string(name) + " does not end"});
  }

  Status configure(std::string_view name, const WgKey& private_key, uint16_t port) override {
    return set("configure", name, uapi_configure(private_key, port));
  }

  Result<WgDevice> read(std::string_view name) override {
    std::lock_guard lock(mutex_);
    DURE_TRY(const std::string answer, ask(name, "get=1\n\n"));
    DURE_TRY(WgDevice device, uapi_decode(answer));
    std::ranges::sort(device.peers, {}, &WgPeerState::key);
    for (WgPeerState& peer : device.peers) std::ranges::sort(peer.allowed_ips);
    return device;
  }

  Status put_peer(std::string_view name, const WgPeer& peer) override {
    return set("put a peer of", name, uapi_peer(peer, WgPeerChange::put));
  }
  Status set_endpoint(std::string_view name, const WgKey& key, const os::Endpoint& endpoint) override {
    return set("move a peer of", name, uapi_peer({.key = key, .endpoint = endpoint}, WgPeerChange::endpoint_only));
  }
  Status remove_peer(std::string_view name, const WgKey& key) override {
    return set("remove a peer of", name, uapi_peer({.key = key}, WgPeerChange::remove));
  }

 private:
  std::string socket_path(std::string_view name) const {
    return options_.socket_folder + "/" + std::string(name) + ".sock";
  }

  Result<std::string> ask(std::string_view name, std::string_view question) {
    DURE_TRY(Connection connection, Connection::open(socket_path(name)));
    return connection.ask(question);
  }

  Status set(std::string_view what, std::string_view name, const std::string& question) {
    std::lock_guard lock(mutex_);
    DURE_TRY(const std::string answer, ask(name, question));
    const int refused = std::abs(uapi_errno(answer).value_or(EPROTO));
    if (!refused) return {};
    return fail(netlink::error_of(std::string(what) + " wireguard device " + std::string(name), refused));
  }

  // In a session of its own, so that a Ctrl-C meant for us does not reach it. The program we start ends as soon as the
  // device is there; what stays is its child.
  Status start(std::string_view name) {
    os::ProcessSpec spec;
    spec.argv = {options_.program, std::string(name)};
    spec.new_session = true;
    if (namespace_) spec.namespaces = {namespace_->fd()};
    auto ended = os::run_command(std::move(spec));
    if (!ended && ended.error().is("ProgramNotFound"))
      return fail(Error{501, "WireguardMissing",
                        "this kernel has no WireGuard, and the program that does its work without it is not installed",
                        "apt-get install wireguard-go"});
    if (!ended) return fail(std::move(ended).error());
    if (ended->exit.ok()) return {};
    return fail(Error{500, "WireguardFailed",
                      "wireguard-go could not make " + std::string(name) + ": " + last_line(ended->err + ended->out),
                      "modprobe tun; ls -l /dev/net/tun"});
  }

  static std::string last_line(std::string_view text) {
    std::string_view last;
    for (std::string_view line : split(text, '\n'))
      if (!trim(line).empty()) last = trim(line);
    return std::string(last);
  }

  Links& links_;
  const WgOptions options_;
  const NetNamespace* namespace_;
  std::mutex mutex_;
};

}  // namespace

std::unique_ptr<Wg> wireguard_go(Links& links, WgOptions options, const NetNamespace* ns) {
  return std::make_unique<WireguardGo>(links, std::move(options), ns);
}

}  // namespace dure::kernel
