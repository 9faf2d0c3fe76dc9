// Relay over TLS: datagrams of the size of a WireGuard packet from one agent through the hub to another, over real TLS
// connections on loopback, beside the machine's own limit: the same datagrams over one UDP socket pair.
//
//   tunnel_bench [SECONDS]
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/log.h"
#include "os/clock.h"
#include "pki/certificate.h"
#include "run/loop.h"
#include "tunnel/agent.h"
#include "tunnel/hub.h"

namespace dure::tunnel {
namespace {

constexpr size_t datagram_bytes = 1400;
constexpr size_t window = 256;  // datagrams on their way, as a TCP connection inside would have

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + double(time.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Figure {
  double mbit = 0, cpu_us = 0, lost = 0;
};

// `send` gives one datagram away; `received` counts what arrived. window 0: as fast as `send` takes them.
template <class Send>
Figure measure(double seconds, size_t in_flight, std::atomic<uint64_t>& received, Send send) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const double cpu = cpu_seconds();
  const uint64_t before = received;
  uint64_t sent = 0;
  double passed = 0;
  while ((passed = std::chrono::duration<double>(Clock::now() - start).count()) < seconds) {
    if (in_flight && sent - (received - before) >= in_flight) {
      std::this_thread::yield();
      continue;
    }
    for (int i = 0; i < 16; ++i, ++sent) send();
  }
  const double got = double(received - before);
  return {got * datagram_bytes * 8 / passed / 1e6, (cpu_seconds() - cpu) * 1e6 / got,
          1 - got / double(sent ? sent : 1)};
}

Figure udp(double seconds) {
  const int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(in, reinterpret_cast<sockaddr*>(&address), size) != 0) abort();
  getsockname(in, reinterpret_cast<sockaddr*>(&address), &size);
  if (connect(out, reinterpret_cast<sockaddr*>(&address), size) != 0) abort();
  std::atomic<uint64_t> received = 0;
  std::atomic<bool> over = false;
  std::thread reader([&] {
    char buffer[2048];
    while (!over && recv(in, buffer, sizeof buffer, 0) > 0) ++received;
  });
  const std::string bytes(datagram_bytes, 'x');
  // UDP loses what does not fit the socket's buffer: half of it may be on its way.
  const Figure figure = measure(seconds, 64, received, [&] { send(out, bytes.data(), bytes.size(), 0); });
  over = true;
  send(out, "", 1, 0);
  reader.join();
  close(in);
  close(out);
  return figure;
}

struct Relay {
  Relay() {
    const auto random = os::make_random();
    const WallTime now = loops[0].loop().wall_now();
    const auto authority = pki::Authority::create("kubernetes", now - 1h, now + 24h, *random).value();
    pki::CertificateSpec spec;
    spec.not_before = now - 1h;
    spec.not_after = now + 24h;
    spec.subject.common_name = "kube-apiserver";
    spec.names.add("127.0.0.1");
    spec.usages.server_auth = true;
    const auto pair = pki::issue_pair(authority, spec, *random).value();
    wire::TlsServerConfig tls{pair.certificate.pem(), pair.key.pem(), authority.certificate().pem()};
    server = wire::Server::listen("127.0.0.1:0", tls, {&loops[0].loop(), &loops[1].loop()},
                                  [this](std::shared_ptr<wire::Exchange> exchange) {
                                    const auto peer = exchange->request().peer;
                                    const auto who = pki::Certificate::from_der(peer->certificate_der);
                                    if (who && peer->certificate_verified)
                                      hub.accept(exchange, who->subject().common_name);
                                  })
                 .value();
    for (int i = 0; i < 2; ++i) {
      spec.subject.common_name = i == 0 ? "a" : "b";
      spec.usages = {.server_auth = false, .client_auth = true};
      const auto own = pki::issue_pair(authority, spec, *random).value();
      AgentTunnelOptions options;
      options.node = spec.subject.common_name;
      options.servers = {"127.0.0.1:" + std::to_string(server->port())};
      options.tls.ca_pem = authority.certificate().pem();
      options.tls.certificate_pem = own.certificate.pem();
      options.tls.key_pem = own.key.pem();
      options.on_packet = [this](std::string_view, std::string) { ++received; };
      agents[i] = AgentTunnel::start(agent_loops[i].loop(), std::move(options), nullptr).value();
    }
    while (!agents[0]->send_packet("b", "x")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ~Relay() {
    for (auto& agent : agents) agent.reset();
    hub.close();
    server.reset();
  }

  run::LoopThread loops[2] = {run::LoopThread("io0"), run::LoopThread("io1")};
  run::LoopThread agent_loops[2] = {run::LoopThread("a"), run::LoopThread("b")};
  std::atomic<uint64_t> received = 0;
  Hub hub;
  std::unique_ptr<wire::Server> server;
  std::unique_ptr<AgentTunnel> agents[2];
};

void print(const char* what, const Figure& figure) {
  fmt::print("{:<44} {:7.0f} Mbit/s  {:5.2f} us of CPU each  {:4.1f} % lost\n", what, figure.mbit, figure.cpu_us,
             figure.lost * 100);
}

}  // namespace
}  // namespace dure::tunnel

int main(int argc, char** argv) {
  using namespace dure::tunnel;
  const double seconds = argc > 1 ? atof(argv[1]) : 3;
  dure::set_log_level(dure::LogLevel::error);
  const Figure limit = udp(seconds);
  print("UDP over loopback, the machine's own limit", limit);
  Relay relay;
  const std::string bytes(datagram_bytes, 'x');
  const auto send = [&] { (void)relay.agents[0]->send_packet("b", bytes); };
  const Figure paced = measure(seconds, window, relay.received, send);
  print("TLS relay, 256 datagrams on their way", paced);
  print("TLS relay, as fast as they are given", measure(seconds, 0, relay.received, send));
  fmt::print("relay / limit: {:.2f}\n", paced.mbit / limit.mbit);
  return 0;
}
