#include "overlay/relay_port.h"

#include <array>

#include "kernel/namespaces.h"

namespace dure::overlay {
namespace {

constexpr size_t batch_max = 32;
constexpr int batches_max = 4;  // then others get their turn

}  // namespace

Result<std::unique_ptr<RelayPort>> RelayPort::open(
    run::Loop& loop, NodeId peer, uint16_t wireguard_port, const kernel::NetNamespace* ns,
    std::function<void(NodeId, std::span<const os::Datagram>)> on_packets) {
  std::unique_ptr<RelayPort> port(new RelayPort(loop, peer, wireguard_port));
  Status bound;
  const auto work = [&] {
    auto socket = os::UdpSocket::bind({Ip::v4(0x7f000001), 0});
    if (socket)
      port->socket_ = std::move(*socket);
    else
      bound = fail(std::move(socket.error()));
  };
  if (ns) {
    DURE_CHECK(ns->run(work));
  } else {
    work();
  }
  DURE_CHECK(bound);
  DURE_TRY(port->endpoint_, port->socket_->local());
  port->on_packets_ = std::move(on_packets);
  port->readiness_ = loop.watch(port->socket_->fd());
  port->wait();
  return port;
}

void RelayPort::wait() {
  readiness_->on_readable([this] { read(); });
}

void RelayPort::read() {
  size_t fetched = 0;
  for (int i = 0; i < batches_max; ++i) {
    const auto datagrams = socket_->receive();
    if (datagrams.empty()) break;
    fetched += datagrams.size();
    std::array<os::Datagram, batch_max> taken;
    size_t count = 0;
    for (const os::Datagram& one : datagrams)
      if (one.peer == wireguard_) taken[count++] = one;
    if (count > 0) on_packets_(peer_, {taken.data(), count});
    if (datagrams.size() < batch_max) break;
  }
  const Duration pause = rush_.fetched(loop_.now(), fetched);
  if (pause == Duration::zero())
    wait();
  else
    look_ = loop_.after(pause, [this] { wait(); });
}

void RelayPort::deliver(std::span<const std::string_view> packets) {
  socket_->send_train(wireguard_, packets.first(std::min(packets.size(), batch_max)));
}

}  // namespace dure::overlay
