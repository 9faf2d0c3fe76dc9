// SPDY/3.1 frames as bytes, both directions, with the zlib header blocks. No I/O. (The SPDY draft 3.1, as far as
// kubectl, containerd and CRI-O speak it: no credentials, and flow control is not used by any of them.)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "wire/http.h"

namespace dure::wire {

enum class SpdyType : uint16_t {
  syn_stream = 1,
  syn_reply = 2,
  rst_stream = 3,
  settings = 4,
  ping = 6,
  goaway = 7,
  headers = 8,
  window_update = 9
};
constexpr uint8_t spdy_flag_fin = 1;
enum class SpdyStatus : uint32_t {
  protocol_error = 1,
  invalid_stream = 2,
  refused_stream = 3,
  cancel = 5,
  internal_error = 6
};

// What a reader hears. Ids are 31 bits.
class SpdySink {
 public:
  virtual ~SpdySink() = default;
  virtual void on_syn_stream(uint32_t id, bool fin, Headers headers) = 0;
  virtual void on_syn_reply(uint32_t id, bool fin, Headers headers) = 0;
  virtual void on_headers(uint32_t id, bool fin, Headers headers) = 0;
  virtual void on_data(uint32_t id, std::string_view bytes) = 0;  // in pieces, as they arrive
  virtual void on_fin(uint32_t id) = 0;                           // after the last piece
  virtual void on_reset(uint32_t id, uint32_t status) = 0;
  virtual void on_ping(uint32_t id) = 0;
  virtual void on_goaway(uint32_t last_id) = 0;
};

class SpdyReader {
 public:
  SpdyReader();
  ~SpdyReader();
  // An error means that the connection is beyond repair.
  Status feed(std::string_view bytes, SpdySink& sink);

 private:
  Status control_frame(std::string_view body, SpdySink& sink);
  Result<Headers> decompress(std::string_view block);
  struct Inflate;
  std::unique_ptr<Inflate> inflate_;
  std::string pending_;       // an unfinished frame head or control frame
  uint32_t data_stream_ = 0;  // inside a DATA frame: whose
  uint32_t data_left_ = 0;
  bool data_fin_ = false;
};

// Frames are answered as bytes in the order in which they must be sent: header compression has memory.
class SpdyWriter {
 public:
  SpdyWriter();
  ~SpdyWriter();
  std::string syn_stream(uint32_t id, const Headers& headers, bool fin = false);
  std::string syn_reply(uint32_t id, const Headers& headers, bool fin = false);
  std::string headers(uint32_t id, const Headers& headers, bool fin = false);
  static std::string data_head(uint32_t id, size_t size, bool fin);  // the content follows
  static std::string rst_stream(uint32_t id, SpdyStatus status);
  static std::string ping(uint32_t id);
  static std::string goaway(uint32_t last_id);

 private:
  std::string compress(const Headers& headers);
  struct Deflate;
  std::unique_ptr<Deflate> deflate_;
};

constexpr size_t spdy_data_bytes_max = (1 << 24) - 1;

}  // namespace dure::wire
