#include <fmt/format.h>

#include <cctype>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "pods/parts.h"
#include "wire/grpc.h"
#include "wire/http.h"

namespace dure::pods {

namespace {

std::string host_port(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

// The two messages of grpc.health.v1 have one field each: a request's `service`, an answer's `status`.
std::string health_request(const std::string& service) {
  if (service.empty()) return {};
  std::string out = "\x0a";
  size_t size = service.size();
  for (; size >= 0x80; size >>= 7) out += static_cast<char>(0x80 | (size & 0x7f));
  out += static_cast<char>(size);
  return out + service;
}
std::string_view health_status(std::string_view answer) {
  constexpr std::string_view names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  const size_t status = answer.size() >= 2 && answer[0] == '\x08' ? static_cast<unsigned char>(answer[1]) : 0;
  return status < std::size(names) ? names[status] : names[0];
}

// "dial tcp 10.0.0.1:80: connect: connection refused": the words that people know from events and search for.
std::string in_known_words(const std::string& address, std::string_view message) {
  const std::string ours = "connect to " + address;
  if (!message.starts_with(ours)) return std::string(message);
  std::string why(message.substr(ours.size()));
  if (!why.starts_with(": ")) return fmt::format("dial tcp {}: i/o timeout", address);
  why[2] = static_cast<char>(std::tolower(static_cast<unsigned char>(why[2])));
  return fmt::format("dial tcp {}: connect{}", address, why);
}

struct HealthCall {
  std::mutex mutex;
  std::condition_variable ended;
  std::string message;
  std::optional<Status> outcome;
};

class WireProbeNet : public ProbeNet {
 public:
  explicit WireProbeNet(run::Loop& loop) : loop_(loop) {}

  ProbeAnswer http(const Http& request, Duration timeout) override {
    const std::string origin = fmt::format("{}://{}", request.scheme, host_port(request.host, request.port));
    wire::TlsClientConfig tls;
    tls.insecure = true;  // a probe proves that it answers, not who answers
    auto client = wire::HttpClient::create(loop_, origin, tls);
    if (!client) return {false, client.error().message};
    wire::Request out;
    out.target = request.path;
    out.headers.set("host", host_port(request.host, request.port));
    out.headers.set("user-agent", "kube-probe/1.34");
    out.headers.set("accept", "*/*");
    out.headers.set("connection", "close");
    for (const auto& [name, value] : request.headers) out.headers.set(name, value);
    auto answer = (*client)->call(std::move(out), {timeout, 1 << 20});
    if (!answer)
      return {false, fmt::format("Get \"{}{}\": {}", origin, request.path,
                                 in_known_words(host_port(request.host, request.port), answer.error().message))};
    if (answer->status >= 200 && answer->status < 400) return {true, answer->body};
    return {false, fmt::format("HTTP probe failed with statuscode: {}", answer->status)};
  }

  ProbeAnswer tcp(const std::string& host, int port, Duration timeout) override {
    auto stream = wire::dial(loop_, host_port(host, port), std::nullopt, timeout);
    if (!stream) return {false, in_known_words(host_port(host, port), stream.error().message)};
    return {true, {}};
  }

  ProbeAnswer grpc(const std::string& host, int port, const std::string& service, Duration timeout) override {
    auto client = wire::HttpClient::create(loop_, "h2c://" + host_port(host, port));
    if (!client) return {false, client.error().message};
    const auto call = std::make_shared<HealthCall>();
    wire::GrpcClient::Streaming callbacks;
    callbacks.on_message = [call](std::string_view message) {
      std::lock_guard lock(call->mutex);
      call->message = message;
    };
    callbacks.on_end = [call](Status outcome) {
      std::lock_guard lock(call->mutex);
      call->outcome = std::move(outcome);
      call->ended.notify_all();
    };
    const auto handle =
        wire::GrpcClient(**client, 64 << 10)
            .stream("/grpc.health.v1.Health/Check", health_request(service), std::move(callbacks), timeout);
    std::unique_lock lock(call->mutex);
    call->ended.wait_for(lock, timeout, [&] { return call->outcome.has_value(); });
    if (!call->outcome || (!*call->outcome && call->outcome->error().is("DeadlineExceeded")))
      return {false, fmt::format("timeout: health rpc did not complete within {}", format_duration(timeout))};
    if (*call->outcome) {
      const std::string_view status = health_status(call->message);
      return status == "SERVING" ? ProbeAnswer{true, "service healthy"}
                                 : ProbeAnswer{false, fmt::format("service unhealthy (responded with \"{}\")", status)};
    }
    const Error& error = call->outcome->error();
    if (error.is("Unavailable"))
      return {false,
              fmt::format("error: failed to connect service at \"{}\": {}", host_port(host, port), error.message)};
    if (error.is("Unimplemented"))
      return {false, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " +
                         error.message};
    return {false, fmt::format("error: health rpc probe failed: {}: {}", error.reason, error.message)};
  }

 private:
  run::Loop& loop_;
};

}  // namespace

std::unique_ptr<ProbeNet> make_probe_net(run::Loop& loop) { return std::make_unique<WireProbeNet>(loop); }

}  // namespace dure::pods
