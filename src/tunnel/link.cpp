#include "tunnel/link.h"

#include <utility>

namespace dure::tunnel {

void Link::start(std::weak_ptr<void> owner, Callbacks callbacks) {
  owner_ = std::move(owner);
  callbacks_ = std::make_shared<const Callbacks>(std::move(callbacks));
}

void Link::attach(std::unique_ptr<wire::Stream> connection, uint64_t peer_received) {
  if (!callbacks_) return;
  let_go();
  core_.begin();
  core_.resume(peer_received);
  heart_ = Heartbeat(dialled_, loop_.now(), limits_.heartbeat);
  connection_ = std::move(connection);
  up_ = alive_ = true;
  wire::Stream::Callbacks callbacks;
  callbacks.on_data = [this, owner = owner_](std::string_view bytes) {
    if (const auto keep = owner.lock()) received(bytes);
  };
  callbacks.on_end = [this, owner = owner_] {
    if (const auto keep = owner.lock()) down(Error{502, "TunnelClosed", "the peer closed the connection"});
  };
  callbacks.on_close = [this, owner = owner_](Error why) {
    if (const auto keep = owner.lock()) down(std::move(why));
  };
  callbacks.on_drained = [this, owner = owner_] {
    const auto keep = owner.lock();
    const auto kept = callbacks_;
    if (keep && kept) kept->on_room();
  };
  for (const SharedBytes& record : core_.kept()) write(record);
  connection_->start(std::move(callbacks));
  beat();
}

void Link::received(std::string_view bytes) {
  heart_.heard(loop_.now());
  alive_ = true;
  const auto kept = callbacks_;
  if (!kept) return;
  const bool was_full = core_.kept_bytes() > kept_bytes_max;
  const Status fed = core_.feed(bytes, kept->on_payload);
  if (!fed) return over(fed.error());
  answer();
  kept->on_read();
  if (was_full && core_.kept_bytes() <= kept_bytes_max && callbacks_) kept->on_room();
}

void Link::answer() {
  if (!connection_) return;
  if (core_.take_ping())
    write(SharedBytes(core_.pong()));
  else if (core_.owes_ack())
    write(SharedBytes(core_.ack()));
}

void Link::let_go() {
  up_ = alive_ = false;
  timer_.reset();
  if (!connection_) return;
  connection_->close();
  // One of its callbacks may be running.
  loop_.post([over = std::shared_ptr<wire::Stream>(std::move(connection_))] {});
}

void Link::down(Error why) {
  if (!connection_) return;
  let_go();
  timer_ = loop_.after(limits_.patience, [this, owner = owner_, why] {
    if (const auto keep = owner.lock()) over(why);
  });
  const auto kept = callbacks_;
  if (kept) kept->on_down(why);
}

void Link::over(const Error& why) {
  let_go();
  const auto kept = std::exchange(callbacks_, nullptr);
  if (kept) kept->on_over(why);
}

void Link::close() {
  callbacks_.reset();
  let_go();
}

void Link::suspect() {
  if (!connection_) return;
  heart_.suspect(loop_.now());
  beat();
}

void Link::send(std::string_view payload) {
  for (; !payload.empty(); payload.remove_prefix(std::min(payload.size(), LinkCore::record_bytes_max))) {
    const SharedBytes record = core_.keep(payload.substr(0, LinkCore::record_bytes_max));
    if (connection_) write(record);
  }
}

void Link::send_loose(std::string_view payload) {
  if (connection_) write(SharedBytes(LinkCore::loose(payload)));
}

void Link::write(SharedBytes bytes) {
  heart_.sent(loop_.now());
  connection_->write(std::move(bytes));
}

bool Link::room(size_t ahead) const {
  return connection_ && connection_->unsent() < ahead && core_.kept_bytes() <= kept_bytes_max;
}

void Link::beat() {
  const Monotonic now = loop_.now();
  switch (heart_.act(now)) {
    case Heartbeat::Act::dead:
      return down(Error{504, "TunnelSilent", "the peer does not answer any more"});
    case Heartbeat::Act::ping:
      write(SharedBytes(core_.ping()));
      break;
    case Heartbeat::Act::nothing:
      break;
  }
  alive_ = heart_.alive(now);
  timer_ = loop_.after(heart_.due() - now, [this, owner = owner_] {
    if (const auto keep = owner.lock()) beat();
  });
}

}  // namespace dure::tunnel
