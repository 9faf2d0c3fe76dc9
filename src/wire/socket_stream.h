// SocketStream: a connected descriptor, with TLS or plain, as a Stream. OpenSSL drives the descriptor itself; the
// loop only says when it is ready. Memory while idle: about 1 KB beside the TLS session's own.
#pragma once

#include <memory>
#include <string>

#include "wire/http.h"
#include "wire/tls.h"

namespace dure::wire {

class SocketStream : public Stream {
 public:
  // Takes the descriptor and the session (null: plain).
  SocketStream(run::Loop& loop, int fd, ssl_st* session);
  ~SocketStream() override;

  // Loop thread, before start, and only with a session: `done` runs when the handshake ended. Without a session it is
  // done at once.
  void handshake(std::move_only_function<void(Status)> done);
  ssl_st* session() const;
  int fd() const;

  void start(Callbacks callbacks) override;
  void write(SharedBytes bytes) override;
  // As write, for bytes that nobody else holds; loop thread only. Small ones are gathered into one record.
  void write_text(std::string_view text);
  size_t unsent() const override;
  void pause(bool paused) override;
  void finish_writing() override;
  void close() override;
  void hand_over(std::string unread) override;
  run::Loop& loop() override;
  std::string local_address() const override;  // loop thread

  class Core;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace dure::wire
