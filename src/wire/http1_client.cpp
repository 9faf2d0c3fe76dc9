#include "wire/client_call.h"
#include "wire/deadline.h"
#include "wire/http1_parser.h"
#include "wire/socket_stream.h"

namespace dure::wire {
namespace {

constexpr size_t head_bytes_max = 256 << 10;
constexpr Duration idle_timeout = 90s;

class Http1ClientConnection final : public ClientConnection,
                                    public std::enable_shared_from_this<Http1ClientConnection> {
 public:
  Http1ClientConnection(std::unique_ptr<Stream> stream, std::string host)
      : stream_(std::move(stream)),
        socket_(dynamic_cast<SocketStream*>(stream_.get())),
        host_(std::move(host)),
        deadline_(stream_->loop(), [this] { over("it was idle"); }) {}

  void begin(Events events) override {
    events_ = std::move(events);
    Stream::Callbacks callbacks;
    callbacks.on_data = [this](std::string_view bytes) { on_data(bytes); };
    callbacks.on_end = [this] { on_end(); };
    callbacks.on_close = [this](Error why) { over(why.message); };
    stream_->start(std::move(callbacks));
    deadline_.set(idle_timeout);
  }
  bool can_take() const override { return !call_ && !over_; }
  void submit(std::shared_ptr<ClientCall> call) override {
    call_ = std::move(call);
    deadline_.clear();
    ++call_->attempts;
    head_ = {};
    reading_body_ = false;
    in_.clear();
    call_->abandon = [weak = weak_from_this()] {
      // Half a response is on its way: the connection cannot serve anybody else.
      if (const auto self = weak.lock()) self->abandoned();
    };
    send_request(call_->request);
  }
  void close(const Error& why) override {
    error_ = why;
    over(why.message);
  }

 private:
  void send_request(const Request& request) {
    Headers headers;
    headers.items.reserve(request.headers.items.size() + 2);
    if (request.headers.get("host").empty()) headers.add("host", host_);
    for (const auto& item : request.headers.items)
      if (item.first != "content-length" && item.first != "transfer-encoding" &&
          valid_header_name(item.first) && valid_header_value(item.second))
        headers.items.push_back(item);
    if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD"))
      headers.items.emplace_back("content-length", std::to_string(request.body.size()));
    std::string head;
    head.reserve(512 + (request.body.size() < 16384 ? request.body.size() : 0));
    write_http1_request_head(head, request.method, request.target, headers);
    const bool small = request.body.size() < 16384;
    if (small) head += request.body;
    socket_ ? socket_->write_text(head) : stream_->write(SharedBytes(std::move(head)));
    if (!small) stream_->write(SharedBytes(request.body));
  }

  void on_data(std::string_view bytes) {
    const auto keep = shared_from_this();
    if (!call_) return over("the server spoke without being asked");
    if (!in_.empty()) {
      in_ += bytes;
      const std::string input = std::exchange(in_, {});
      return feed(input);
    }
    feed(bytes);
  }
  void feed(std::string_view input) {
    while (call_ && !over_ && !input.empty()) {
      const bool went_on = reading_body_ ? read_body(input) : read_head(input);
      if (!went_on) break;
    }
    if (call_ && !over_) in_.assign(input);
  }
  bool read_head(std::string_view& input) {
    const size_t size = http1_head_size(input);
    if (size == std::string_view::npos) {
      if (input.size() > head_bytes_max) over("the response's headers are too large");
      return false;
    }
    head_ = {};
    if (auto parsed = parse_http1_response(input.substr(0, size), head_); !parsed) {
      over(parsed.error().message);
      return false;
    }
    input.remove_prefix(size);
    if (head_.status == 101) return take_upgrade(input);
    if (head_.status < 200) return true;  // 100 Continue and the like
    const auto framing = response_framing(head_, call_->request.method);
    if (!framing) {
      over(framing.error().message);
      return false;
    }
    body_ = Http1BodyReader(*framing);
    reading_body_ = true;
    call_->on_start(head_.status, head_.headers);
    if (call_ && body_.done()) finish();
    return true;
  }
  bool take_upgrade(std::string_view& input) {
    if (!call_->upgraded) {
      over("the server changed the protocol without being asked");
      return false;
    }
    stream_->hand_over(std::string(input));
    input = {};
    const auto call = std::exchange(call_, nullptr);
    auto stream = std::move(stream_);
    const Headers headers = std::move(head_.headers);
    over("upgraded");
    call->on_upgrade(std::move(stream), headers);
    return false;
  }
  bool read_body(std::string_view& input) {
    std::string_view piece;
    if (auto read = body_.read(input, piece); !read) {
      over(read.error().message);
      return false;
    }
    if (!piece.empty()) call_->on_data(piece);
    if (call_ && !over_ && body_.done()) finish();
    return true;
  }
  void finish() {
    const auto call = std::exchange(call_, nullptr);
    const bool keeps = http1_keep_alive(head_) && !body_.ends_with_connection();
    if (!body_.trailers().items.empty()) call->on_trailers(body_.trailers());
    reading_body_ = false;
    if (keeps) {
      deadline_.set(idle_timeout);
      call->abandon = nullptr;
    }
    if (!keeps) over("the server closes after each response");
    call->on_end({});
    if (keeps && !over_ && !call_) events_.on_idle();
  }
  void on_end() {
    const auto keep = shared_from_this();
    if (call_ && reading_body_ && body_.ends_with_connection()) return finish();
    over("the server closed it");
  }
  void abandoned() {
    call_.reset();
    over("the request was cancelled");
  }
  void over(std::string_view why) {
    if (std::exchange(over_, true)) return;
    const auto keep = shared_from_this();
    deadline_.clear();
    if (stream_) stream_->close();
    if (const auto call = std::exchange(call_, nullptr)) {
      if (call->may_repeat() && !error_) {
        call->abandon = nullptr;
        events_.on_give_back(call);
      } else {
        call->on_end(fail(error_.value_or(connection_lost(why))));
      }
    }
    events_.on_over();
  }

  std::unique_ptr<Stream> stream_;
  SocketStream* socket_;
  const std::string host_;
  Deadline deadline_;
  Events events_;
  std::shared_ptr<ClientCall> call_;
  Http1Head head_;
  Http1BodyReader body_;
  std::string in_;
  std::optional<Error> error_;
  bool reading_body_ = false, over_ = false;
};

}  // namespace

std::shared_ptr<ClientConnection> make_http1_client_connection(std::unique_ptr<Stream> stream,
                                                               std::string host) {
  return std::make_shared<Http1ClientConnection>(std::move(stream), std::move(host));
}

}  // namespace dure::wire
