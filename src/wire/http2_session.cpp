#include "wire/http2_session.h"

#include "wire/http1_parser.h"

namespace dure::wire {
namespace {

constexpr size_t output_bytes_max =
    256 << 10;  // per connection, beneath the streams' own queues; then the pump waits

bool belongs_to_the_connection(std::string_view name) {
  return name == "connection" || name == "transfer-encoding" || name == "keep-alive" ||
         name == "upgrade" || name == "proxy-connection" || name == "host";
}

}  // namespace

void HeaderList::add_all(const Headers& headers) {
  items_.reserve(items_.size() + headers.items.size());
  for (const auto& [name, value] : headers.items)
    if (!belongs_to_the_connection(name) && valid_header_name(name) && valid_header_value(value))
      add(name, value);
}

bool pump_http2_output(nghttp2_session* session, Stream& stream, SocketStream* socket, uint64_t& pumped) {
  while (stream.unsent() < output_bytes_max) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session, &data);
    if (size < 0) return false;
    if (size == 0) return true;
    pumped += uint64_t(size);
    if (socket)
      socket->write_text(view_of(data, size_t(size)));
    else
      stream.write(SharedBytes(std::string(view_of(data, size_t(size)))));
  }
  return true;
}

}  // namespace dure::wire
