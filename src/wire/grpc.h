// gRPC over HTTP/2: one request, one or many messages back, all as bytes (the schema's protobuf codec makes them).
// For containerd and CRI-O (h2c over a unix socket).
//
// Errors: `reason` is gRPC's code name ("NotFound", "DeadlineExceeded", "Unavailable", ...), `code` the HTTP status
// that fits, `message` the server's own. A connection that cannot be made or breaks is "Unavailable".
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "wire/http.h"

namespace dure::wire {

class GrpcClient {
 public:
  // `http` outlives this.
  explicit GrpcClient(HttpClient& http, size_t message_bytes_max = 64 << 20)
      : http_(http), message_bytes_max_(message_bytes_max) {}

  struct Streaming {
    std::move_only_function<void(std::string_view message)> on_message;
    std::move_only_function<void(Status)> on_end;  // once, last; a clean end of the stream is success
  };
  // method: "/runtime.v1.RuntimeService/Version". Callbacks run on the client's loop. The handle ends the stream. The
  // timeout (zero: none) is the server's to mind.
  std::unique_ptr<run::Timer> stream(std::string_view method, std::string_view request, Streaming callbacks,
                                     Duration timeout = Duration::zero(), const Headers& headers = {}) const;

 private:
  HttpClient& http_;
  const size_t message_bytes_max_;
};

// The trailers of a server's answer (tests and our own small servers).
Headers grpc_trailers(int code, std::string_view message = {});
// One message with its five bytes in front.
std::string grpc_frame(std::string_view message);

// Cuts messages out of a byte stream.
class GrpcReader {
 public:
  explicit GrpcReader(size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}
  void feed(std::string_view bytes) { bytes_ += bytes; }
  // The next whole message, valid until the next call; empty optional when there is none yet.
  Result<std::optional<std::string_view>> next();
  bool empty() const { return bytes_.size() == used_; }

 private:
  const size_t message_bytes_max_;
  std::string bytes_;
  size_t used_ = 0;
};

}  // namespace dure::wire
