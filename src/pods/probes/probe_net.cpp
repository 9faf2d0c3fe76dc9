#include <fmt/format.h>

#include "pods/parts.h"
#include "wire/http.h"

namespace dure::pods {

namespace {

std::string host_port(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

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
    if (!answer) return {false, fmt::format("Get \"{}{}\": {}", origin, request.path, answer.error().message)};
    if (answer->status >= 200 && answer->status < 400) return {true, answer->body};
    return {false, fmt::format("HTTP probe failed with statuscode: {}", answer->status)};
  }

  ProbeAnswer tcp(const std::string& host, int port, Duration timeout) override {
    auto stream = wire::dial(loop_, host_port(host, port), std::nullopt, timeout);
    if (!stream) return {false, fmt::format("dial tcp {}: {}", host_port(host, port), stream.error().message)};
    return {true, {}};
  }

 private:
  run::Loop& loop_;
};

}  // namespace

std::unique_ptr<ProbeNet> make_probe_net(run::Loop& loop) { return std::make_unique<WireProbeNet>(loop); }

}  // namespace dure::pods
