// What both ends of an HTTP/2 connection share: an nghttp2 session over a Stream, its output pump, and header lists.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string_view>
#include <vector>

#include "wire/http.h"
#include "wire/socket_stream.h"

namespace dure::wire {

// The header list of one message in nghttp2's form. Names and values must live until nghttp2 copied them (submit).
class HeaderList {
 public:
  void add(std::string_view name, std::string_view value) {
    items_.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                      NGHTTP2_NV_FLAG_NONE});
  }
  // Without what HTTP/2 forbids (connection, transfer-encoding, ...) and what would break a header apart.
  void add_all(const Headers& headers);
  const nghttp2_nv* data() const { return items_.data(); }
  size_t size() const { return items_.size(); }

 private:
  std::vector<nghttp2_nv> items_;
};

struct Http2SessionFree {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};
using Http2SessionPointer = std::unique_ptr<nghttp2_session, Http2SessionFree>;

// Moves what nghttp2 has to say into `stream`, until there is no more or too much waits there already.
// False when the session broke.
bool pump_http2_output(nghttp2_session* session, Stream& stream, SocketStream* socket);

inline std::string_view view_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace dure::wire
