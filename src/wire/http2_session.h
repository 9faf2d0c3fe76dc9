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
// `pumped` counts the bytes. False when the session broke.
bool pump_http2_output(nghttp2_session* session, Stream& stream, SocketStream* socket, uint64_t& pumped);

inline std::string_view view_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The table that sends what both ends hear to `Owner`, the user pointer of the session: on_header(frame, name, value),
// on_frame(frame), on_chunk(id, bytes), on_stream_close(id, code).
template <class Owner>
nghttp2_session_callbacks* make_http2_callbacks() {
  nghttp2_session_callbacks* made = nullptr;
  nghttp2_session_callbacks_new(&made);
  nghttp2_session_callbacks_set_on_header_callback(
      made, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
               const uint8_t* value, size_t value_size, uint8_t, void* user) {
        return static_cast<Owner*>(user)->on_header(frame, view_of(name, name_size), view_of(value, value_size));
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      made, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        return static_cast<Owner*>(user)->on_frame(frame);
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      made, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
        return static_cast<Owner*>(user)->on_chunk(id, view_of(data, size));
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      made, [](nghttp2_session*, int32_t id, uint32_t code, void* user) {
        return static_cast<Owner*>(user)->on_stream_close(id, code);
      });
  return made;
}

}  // namespace dure::wire
