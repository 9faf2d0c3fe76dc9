#include "cli/api.h"

#include <condition_variable>
#include <mutex>

#include "base/text.h"
#include "schema/document.h"
#include "schema/json.h"
#include "wire/websocket.h"

namespace dure::cli {
namespace {

constexpr size_t kBytesMax = 1 << 20;  // of one channel; more is cut off

// The sentence of a metav1.Status, or the text itself.
std::string sentence_of(const std::string& body) {
  auto document = schema::decode_json(SharedBytes(body));
  const schema::Node* message = document ? document->root()->find("message") : nullptr;
  return message ? std::string(message->string()) : std::string(trim(body));
}

}  // namespace

// A WebSocket with channels, filled on the loop and waited for by one other thread. Ends on the loop.
struct Api::Channels : std::enable_shared_from_this<Channels> {
  explicit Channels(run::Loop& l) : loop(l) {}

  void start(std::unique_ptr<wire::WebSocket> opened) {
    loop.post([me = shared_from_this(), opened = std::move(opened)]() mutable {
      me->socket = std::move(opened);
      me->socket->start({.on_message = [me = me.get()](bool, std::string_view message) { me->take(message); },
                         .on_close = [me = me.get()](int, std::string_view why) { me->end(why); },
                         .on_drained = {}});
    });
  }

  void take(std::string_view message) {
    const std::scoped_lock lock(mutex);
    if (message.empty()) return;
    const size_t channel = static_cast<uint8_t>(message[0]);
    if (channel >= std::size(text)) return;
    if (text[channel].size() < kBytesMax) text[channel].append(message.substr(1));
    changed.notify_all();
  }

  void end(std::string_view why) {
    const std::scoped_lock lock(mutex);
    ended = true;
    reason = why;
    changed.notify_all();
  }

  // Waits until `enough` says so, the peer ends, or time is over; then closes.
  bool wait(Duration timeout, const std::function<bool()>& enough) {
    bool in_time;
    {
      std::unique_lock lock(mutex);
      in_time = changed.wait_for(lock, timeout, [&] { return ended || enough(); });
    }
    loop.post([me = shared_from_this()] { me->socket.reset(); });
    return in_time;
  }

  run::Loop& loop;
  std::unique_ptr<wire::WebSocket> socket;  // the loop's
  std::mutex mutex;
  std::condition_variable changed;
  std::string text[4];
  bool ended = false;
  std::string reason;
};

Result<std::unique_ptr<Api>> Api::open(const std::string& server, const client::Credentials& credentials) {
  std::unique_ptr<Api> out(new Api);
  DURE_TRY(out->client_, client::connect(out->thread_.loop(), server, credentials));
  wire::TlsClientConfig tls;
  tls.ca_pem = credentials.ca_pem;
  tls.certificate_pem = credentials.certificate_pem;
  tls.key_pem = credentials.key_pem;
  tls.server_name = credentials.server_name;
  tls.insecure = credentials.insecure;
  DURE_TRY(out->http_, wire::HttpClient::create(out->thread_.loop(), server, std::move(tls)));
  out->token_ = credentials.token;
  return out;
}

wire::Request Api::request(std::string method, std::string target) const {
  wire::Request out;
  out.method = std::move(method);
  out.target = std::move(target);
  out.headers.set("user-agent", "dure");
  out.headers.set("accept", "*/*");
  if (!token_.empty()) out.headers.set("authorization", "Bearer " + token_);
  return out;
}

Result<std::string> Api::get(const std::string& path, Duration timeout) {
  DURE_TRY(wire::Response response, http_->call(request("GET", path), {.timeout = timeout}));
  if (response.status == 200) return std::move(response.body);
  return fail(Error{response.status, "Refused", sentence_of(response.body)});
}

Result<std::shared_ptr<Api::Channels>> Api::open_channels(std::string target, std::vector<std::string> protocols,
                                                          Duration timeout) {
  DURE_TRY(wire::AcceptedWebSocket accepted,
           wire::connect_websocket(*http_, request("GET", std::move(target)), protocols, timeout));
  auto channels = std::make_shared<Channels>(thread_.loop());
  channels->start(std::move(accepted.socket));
  return channels;
}

Result<std::string> Api::exec(const std::string& ns, const std::string& pod, const std::vector<std::string>& command,
                              Duration timeout) {
  std::string target = "/api/v1/namespaces/" + ns + "/pods/" + pod + "/exec?stdout=true&stderr=true";
  for (const std::string& word : command) target += "&command=" + percent_encode(word);
  DURE_TRY(const auto channels, open_channels(std::move(target), {"v5.channel.k8s.io", "v4.channel.k8s.io"}, timeout));
  const bool in_time = channels->wait(timeout, [&] { return !channels->text[3].empty(); });
  const std::scoped_lock lock(channels->mutex);
  if (!in_time) return fail(timed_out("the command did not end in time"));
  if (channels->text[3].find("\"Success\"") != std::string::npos) return channels->text[1];
  const std::string why = channels->text[3].empty() ? channels->reason : sentence_of(channels->text[3]);
  return fail(Error{500, "CommandFailed", why.empty() ? "the stream broke" : why});
}

Result<std::string> Api::ask_port(const std::string& ns, const std::string& pod, uint16_t port,
                                  std::string_view question, Duration timeout) {
  std::string target = "/api/v1/namespaces/" + ns + "/pods/" + pod + "/portforward?ports=" + std::to_string(port);
  DURE_TRY(const auto channels, open_channels(std::move(target), {"v4.channel.k8s.io"}, timeout));
  channels->loop.post([channels, message = std::string(1, '\0') + std::string(question)] {
    if (channels->socket) channels->socket->send(false, message);
  });
  // Each channel begins with the two bytes of the port.
  const bool in_time =
      channels->wait(timeout, [&] { return channels->text[0].size() > 2 || channels->text[1].size() > 2; });
  const std::scoped_lock lock(channels->mutex);
  if (channels->text[0].size() > 2) return channels->text[0].substr(2);
  if (channels->text[1].size() > 2) return fail(Error{502, "PortForwardFailed", channels->text[1].substr(2)});
  if (!in_time) return fail(timed_out("nothing came through the port-forward"));
  return fail(Error{502, "PortForwardFailed", channels->reason.empty() ? "the stream broke" : channels->reason});
}

}  // namespace dure::cli
