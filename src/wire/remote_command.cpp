#include "wire/remote_command.h"

#include "base/text.h"
#include "wire/spdy.h"
#include "wire/stream_pipe.h"

namespace dure::wire {
namespace {

constexpr size_t towards_client_bytes_max = 1 << 20, towards_runtime_bytes_max = 1 << 20;
constexpr int channel_stdin = 0, channel_error = 3, channel_resize = 4, channel_close = 255;
constexpr Duration farewell_timeout = 10s;

// The message bodies of one WebSocket, tagged with their channel, plain or in base64.
class Channels {
 public:
  Channels(std::unique_ptr<WebSocket> socket, bool base64)
      : socket(std::move(socket)), base64_(base64) {}
  void send(int channel, std::string_view bytes) {
    std::string message(1, char(base64_ ? '0' + channel : channel));
    message += base64_ ? base64_encode(bytes) : bytes;
    socket->send(base64_, message);
  }
  // The channel, or -1 for a message that is not one of ours.
  int decode(std::string_view message, std::string& decoded, std::string_view& bytes) const {
    if (message.empty()) return -1;
    if (!base64_) {
      bytes = message.substr(1);
      return static_cast<unsigned char>(message[0]);
    }
    auto text = base64_decode(message.substr(1));
    if (!text || message[0] < '0' || message[0] > '9') return -1;
    decoded = std::move(*text);
    bytes = decoded;
    return message[0] - '0';
  }
  std::unique_ptr<WebSocket> socket;

 private:
  const bool base64_;
};

// What both bridges share: a WebSocket on one side, SPDY streams on the other, each under a channel
// number. Lives by the callbacks of its parts, until `finish`.
class Bridge : public std::enable_shared_from_this<Bridge> {
 public:
  Bridge(std::unique_ptr<WebSocket> socket, bool base64, std::move_only_function<void()> done)
      : loop_(socket->loop()), channels_(std::move(socket), base64), done_(std::move(done)) {}
  virtual ~Bridge() = default;

  void begin(std::unique_ptr<Stream> connection) {
    spdy_ = Spdy::create(std::move(connection), Spdy::Role::client,
                         {.on_stream = {}, .on_close = [weak = weak_from_this()](Error why) {
                            if (const auto self = weak.lock()) self->spdy_closed(why);
                          }});
    if (!open_streams()) return;
    WebSocket::Callbacks callbacks;
    callbacks.on_message = [self = shared_from_this()](bool, std::string_view message) {
      self->on_message(message);
    };
    callbacks.on_close = [self = shared_from_this()](int, std::string_view) { self->finish(); };
    callbacks.on_drained = [self = shared_from_this()] { self->resume_runtime(); };
    channels_.socket->start(std::move(callbacks));
    streams_open();
  }

 protected:
  struct Channel {
    int number = 0;
    std::unique_ptr<SpdyStream> stream;
    bool ended = false;
  };
  virtual bool open_streams() = 0;
  virtual void streams_open() {}
  virtual void on_channel_message(int channel, std::string_view bytes) = 0;
  virtual void on_channel_ended(int channel) = 0;
  virtual void spdy_closed(const Error& why) = 0;

  bool open(int number, Headers headers) {
    auto stream = spdy_->open(headers);
    if (!stream) return false;
    Stream::Callbacks callbacks;
    callbacks.on_data = [weak = weak_from_this(), number](std::string_view bytes) {
      if (const auto self = weak.lock()) self->from_runtime(number, bytes);
    };
    callbacks.on_end = [weak = weak_from_this(), number] {
      if (const auto self = weak.lock()) self->ended(number);
    };
    callbacks.on_close = [weak = weak_from_this(), number](Error) {
      if (const auto self = weak.lock()) self->ended(number);
    };
    callbacks.on_drained = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->resume_client();
    };
    stream->start(std::move(callbacks));
    open_.push_back({number, std::move(stream), false});
    return true;
  }
  Channel* find(int number) {
    for (Channel& channel : open_)
      if (channel.number == number) return &channel;
    return nullptr;
  }
  void to_runtime(int number, std::string_view bytes) {
    Channel* channel = find(number);
    if (!channel || channel->ended) return;
    channel->stream->write(SharedBytes(std::string(bytes)));
    if (spdy_->unsent() > towards_runtime_bytes_max && !client_paused_)
      channels_.socket->pause(client_paused_ = true);
  }
  // Ends the WebSocket in order; the rest follows when the peer answered.
  void say_goodbye(int code, std::string_view reason = {}) {
    if (std::exchange(saying_goodbye_, true)) return;
    if (client_paused_) channels_.socket->pause(client_paused_ = false);
    channels_.socket->close(code, reason);
    farewell_ = loop_.after(farewell_timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->finish();
    });
  }
  void finish() {
    if (std::exchange(finished_, true)) return;
    // Outside of any callback of the parts.
    loop_.post([self = shared_from_this()] {
      self->farewell_.reset();
      self->open_.clear();
      self->spdy_.reset();
      self->channels_.socket.reset();
      if (self->done_) std::exchange(self->done_, nullptr)();
    });
  }
  bool saying_goodbye() const { return saying_goodbye_; }

  run::Loop& loop_;
  Channels channels_;
  std::unique_ptr<Spdy> spdy_;
  std::vector<Channel> open_;

 private:
  void on_message(std::string_view message) {
    if (finished_ || saying_goodbye_) return;
    std::string decoded;
    std::string_view bytes;
    const int channel = channels_.decode(message, decoded, bytes);
    if (channel < 0) return say_goodbye(1003, "message is not in the channel form");
    on_channel_message(channel, bytes);
  }
  void from_runtime(int number, std::string_view bytes) {
    if (finished_ || saying_goodbye_ || bytes.empty()) return;
    channels_.send(number, bytes);
    // SPDY has no flow control in this world: one full client stops the whole connection, which is
    // its own.
    if (channels_.socket->unsent() > towards_client_bytes_max && !runtime_paused_) {
      runtime_paused_ = true;
      spdy_->pause(true);
    }
  }
  void resume_runtime() {
    if (std::exchange(runtime_paused_, false) && spdy_) spdy_->pause(false);
  }
  void resume_client() {
    if (client_paused_ && spdy_ && spdy_->unsent() <= towards_runtime_bytes_max / 2)
      channels_.socket->pause(client_paused_ = false);
  }
  void ended(int number) {
    Channel* channel = find(number);
    if (!channel || std::exchange(channel->ended, true) || finished_) return;
    on_channel_ended(number);
  }

  std::move_only_function<void()> done_;
  std::unique_ptr<run::Timer> farewell_;
  bool client_paused_ = false, runtime_paused_ = false, saying_goodbye_ = false, finished_ = false;
};

std::string failure_status(std::string_view why) {
  std::string text;
  for (const char c : why) {
    if (c == '"' || c == '\\') text += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) text += c;
  }
  return R"({"metadata":{},"status":"Failure","message":")" + text +
         R"(","reason":"InternalError","details":{"causes":[{"message":")" + text +
         R"("}]},"code":500})";
}

class CommandBridge final : public Bridge {
 public:
  CommandBridge(std::unique_ptr<WebSocket> socket, RemoteCommand command,
                std::move_only_function<void()> done)
      : Bridge(std::move(socket), command.protocol.contains("base64"), std::move(done)),
        command_(std::move(command)) {}

 private:
  bool open_streams() override {
    struct Row {
      int channel;
      const char* type;
      bool wanted;
    };
    const Row rows[] = {{channel_error, "error", true},
                        {channel_stdin, "stdin", command_.stdin_wanted},
                        {1, "stdout", command_.stdout_wanted},
                        {2, "stderr", command_.stderr_wanted && !command_.tty},
                        {channel_resize, "resize", command_.tty}};
    for (const Row& row : rows) {
      if (!row.wanted) continue;
      Headers headers;
      headers.add("streamtype", row.type);
      if (open(row.channel, std::move(headers))) continue;
      finish();
      return false;
    }
    return true;
  }
  // One empty message tells the client that the streams are up.
  void streams_open() override {
    channels_.send(command_.stdout_wanted                    ? 1
                   : command_.stderr_wanted && !command_.tty ? 2
                                                             : channel_error,
                   {});
  }
  void on_channel_message(int channel, std::string_view bytes) override {
    if (channel == channel_stdin || channel == channel_resize) return to_runtime(channel, bytes);
    if (channel != channel_close || !command_.protocol.starts_with("v5.") || bytes.size() != 1)
      return;
    if (Channel* closed = find(static_cast<unsigned char>(bytes[0]));
        closed && (closed->number == channel_stdin || closed->number == channel_resize))
      closed->stream->finish_writing();
  }
  void on_channel_ended(int) override {
    // The command is over when everything it says has been said; the status comes on the error
    // stream.
    for (const Channel& channel : open_)
      if (!channel.ended && channel.number != channel_stdin && channel.number != channel_resize)
        return;
    say_goodbye(1000);
  }
  void spdy_closed(const Error& why) override {
    const Channel* error = find(channel_error);
    if (error && !error->ended && !saying_goodbye())
      channels_.send(channel_error,
                     failure_status("the container runtime went away: " + why.message));
    say_goodbye(1000);
  }

  const RemoteCommand command_;
};

class PortBridge final : public Bridge {
 public:
  PortBridge(std::unique_ptr<WebSocket> socket, std::vector<uint16_t> ports, bool base64,
             std::move_only_function<void()> done)
      : Bridge(std::move(socket), base64, std::move(done)), ports_(std::move(ports)) {}

 private:
  bool open_streams() override {
    for (size_t i = 0; i < ports_.size(); ++i)
      for (const bool is_error : {true, false}) {
        Headers headers;
        headers.add("streamtype", is_error ? "error" : "data");
        headers.add("port", std::to_string(ports_[i]));
        headers.add("requestid", std::to_string(i));
        if (!open(int(2 * i + is_error), std::move(headers))) {
          finish();
          return false;
        }
        if (is_error) open_.back().stream->finish_writing();
      }
    return true;
  }
  void streams_open() override {
    for (size_t i = 0; i < ports_.size(); ++i)
      for (const int channel : {int(2 * i), int(2 * i + 1)})
        channels_.send(channel, std::string{char(ports_[i] & 0xff), char(ports_[i] >> 8)});
  }
  void on_channel_message(int channel, std::string_view bytes) override {
    if (channel % 2 == 0) to_runtime(channel, bytes);
  }
  void on_channel_ended(int) override {
    for (const Channel& channel : open_)
      if (!channel.ended) return;
    say_goodbye(1000);
  }
  void spdy_closed(const Error&) override { say_goodbye(1001, "the container runtime went away"); }

  const std::vector<uint16_t> ports_;
};

void begin_on_loop(std::shared_ptr<Bridge> bridge, run::Loop& loop, std::unique_ptr<Stream> spdy) {
  auto here = rehome(std::move(spdy), loop);
  if (loop.on_loop_thread()) return bridge->begin(std::move(here));
  loop.post([bridge = std::move(bridge), here = std::move(here)]() mutable {
    bridge->begin(std::move(here));
  });
}

}  // namespace

std::vector<std::string> remote_command_protocols() {
  return {"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"};
}
std::vector<std::string> port_forward_protocols() {
  return {spdy_tunnel_protocol, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"};
}

void bridge_websocket_to_spdy(std::unique_ptr<WebSocket> socket, std::unique_ptr<Stream> spdy,
                              RemoteCommand command, std::move_only_function<void()> done) {
  run::Loop& loop = socket->loop();
  begin_on_loop(
      std::make_shared<CommandBridge>(std::move(socket), std::move(command), std::move(done)), loop,
      std::move(spdy));
}

void bridge_websocket_port_forward(std::unique_ptr<WebSocket> socket, std::unique_ptr<Stream> spdy,
                                   std::vector<uint16_t> ports, bool base64,
                                   std::move_only_function<void()> done) {
  run::Loop& loop = socket->loop();
  begin_on_loop(
      std::make_shared<PortBridge>(std::move(socket), std::move(ports), base64, std::move(done)),
      loop, std::move(spdy));
}

}  // namespace dure::wire
