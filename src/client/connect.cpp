#include "client/connect.h"

#include <mutex>

#include "base/text.h"
#include "client/api_codec.h"
#include "client/object_meta.h"
#include "schema/json.h"
#include "wire/http.h"

namespace dure::client {
namespace {

constexpr std::string_view json_type = "application/json";
constexpr size_t event_bytes_max = 64 << 20, error_bytes_max = 1 << 20;

std::string_view content_type(PatchType type) {
  switch (type) {
    case PatchType::json:
      return "application/json-patch+json";
    case PatchType::merge:
      return "application/merge-patch+json";
    case PatchType::strategic:
      return "application/strategic-merge-patch+json";
    case PatchType::apply:
      return "application/apply-patch+yaml";
  }
  return json_type;
}

// One watch: cuts the stream into lines and hands events to the sink. The lock is held while the sink is called, so
// that the destructor of the Watch can promise silence; it is recursive because a sink may end its own watch.
class WatchStream final : public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream(const Resource& resource, WatchSink& sink) : resource_(resource), sink_(&sink) {}

  void on_start(int status) {
    std::lock_guard lock(mutex_);
    status_ = status;
  }

  void on_data(std::string_view data) {
    std::lock_guard lock(mutex_);
    if (!sink_) return;
    if (status_ != 200 && buffer_.size() + data.size() > error_bytes_max) return;  // its beginning tells enough
    buffer_.append(data);
    if (status_ != 200) return;
    size_t start = 0;
    for (size_t end; sink_ && (end = buffer_.find('\n', start)) != std::string::npos; start = end + 1)
      on_line(std::string_view(buffer_).substr(start, end - start));
    buffer_.erase(0, start);
    if (buffer_.size() > event_bytes_max) finish(internal("a watch event over 64 MB"));
  }

  void on_end(const Result<void>& result) {
    std::lock_guard lock(mutex_);
    if (status_ != 0 && status_ != 200) return finish(decode_status(status_, buffer_));
    finish(result ? unavailable("the server closed the watch") : result.error());
  }

  void close() {
    std::lock_guard lock(mutex_);
    sink_ = nullptr;
  }

 private:
  void on_line(std::string_view line) {
    if (trim(line).empty()) return;
    auto event = decode_event(resource_, line);
    if (event)
      sink_->on_event(std::move(*event));
    else
      finish(std::move(event).error());
  }

  void finish(Error why) {
    if (!sink_) return;
    WatchSink* sink = sink_;
    sink_ = nullptr;
    sink->on_end(std::move(why));
  }

  std::recursive_mutex mutex_;
  const Resource& resource_;
  WatchSink* sink_;
  int status_ = 0;
  std::string buffer_;
};

class OpenWatch final : public Watch {
 public:
  OpenWatch(std::shared_ptr<WatchStream> stream, std::unique_ptr<run::Timer> request)
      : stream_(std::move(stream)), request_(std::move(request)) {}
  ~OpenWatch() override {
    stream_->close();
    request_.reset();
  }

 private:
  std::shared_ptr<WatchStream> stream_;
  std::unique_ptr<run::Timer> request_;
};

class HttpApi final : public Client {
 public:
  HttpApi(std::unique_ptr<wire::HttpClient> http, Credentials credentials, std::string base_path, ConnectLimits limits)
      : http_(std::move(http)),
        credentials_(std::move(credentials)),
        base_path_(std::move(base_path)),
        limits_(limits) {}

  Result<schema::Object> get(const Resource& resource, const Key& key) override {
    return object(resource, {}, call("GET", path_of(resource, key.namespace_, key.name)));
  }

  Result<ObjectList> list(const Resource& resource, const ListOptions& options) override {
    DURE_TRY(std::string body, call("GET", path_of(resource, options.namespace_) + query_of(options, false)));
    return decode_list(resource, body);
  }

  Result<schema::Object> create(const Resource& resource, const schema::Document& document,
                                std::string_view namespace_) override {
    return object(resource, {}, call("POST", path_of(resource, namespace_), schema::to_json(document)));
  }

  Result<schema::Object> update(const Resource& resource, const schema::Document& document,
                                std::string_view subresource) override {
    const Key key = key_of(document);
    return object(resource, subresource,
                  call("PUT", path_of(resource, key.namespace_, key.name, subresource), schema::to_json(document)));
  }

  Result<schema::Object> patch(const Resource& resource, const Key& key, PatchType type, std::string_view body,
                               std::string_view subresource) override {
    const std::string query =
        type == PatchType::apply ? "?fieldManager=" + percent_encode(credentials_.user_agent) : "";
    return object(resource, subresource,
                  call("PATCH", path_of(resource, key.namespace_, key.name, subresource) + query, std::string(body),
                       content_type(type)));
  }

  Status remove(const Resource& resource, const Key& key, const DeleteOptions& options) override {
    auto answer = call("DELETE", path_of(resource, key.namespace_, key.name), encode_delete_options(options));
    if (!answer) return fail(std::move(answer).error());
    return {};
  }

  Result<schema::Object> create_subresource(const Resource& resource, const Key& key, std::string_view subresource,
                                            const schema::Document& document) override {
    return object(resource, subresource,
                  call("POST", path_of(resource, key.namespace_, key.name, subresource), schema::to_json(document)));
  }

  Result<std::unique_ptr<Watch>> watch(const Resource& resource, const ListOptions& options, WatchSink& sink) override {
    auto stream = std::make_shared<WatchStream>(resource, sink);
    wire::Request request = request_of("GET", path_of(resource, options.namespace_) + query_of(options, true), {}, {});
    wire::HttpClient::Streaming streaming;
    streaming.on_start = [stream](int status, const wire::Headers&) { stream->on_start(status); };
    streaming.on_data = [stream](std::string_view data) { stream->on_data(data); };
    streaming.on_end = [stream](Result<void> result) { stream->on_end(result); };
    auto handle = http_->stream(std::move(request), std::move(streaming));
    return std::make_unique<OpenWatch>(std::move(stream), std::move(handle));
  }

 private:
  wire::Request request_of(std::string_view method, std::string path, std::string body, std::string_view type) const {
    wire::Request request;
    request.method = std::string(method);
    request.target = base_path_ + path;
    request.headers.set("accept", json_type);
    request.headers.set("user-agent", credentials_.user_agent);
    if (!type.empty()) request.headers.set("content-type", type);
    if (!credentials_.token.empty()) request.headers.set("authorization", "Bearer " + credentials_.token);
    request.body = std::move(body);
    return request;
  }

  Result<std::string> call(std::string_view method, std::string path, std::string body = {},
                           std::string_view type = json_type) {
    const bool has_body = !body.empty();
    DURE_TRY(wire::Response response,
             http_->call(request_of(method, std::move(path), std::move(body), has_body ? type : std::string_view{}),
                         {.timeout = limits_.timeout}));
    if (response.status >= 200 && response.status < 300) return std::move(response.body);
    Error error = decode_status(response.status, response.body);
    if (error.retry_after_seconds == 0)
      error.retry_after_seconds = static_cast<int>(parse_int(response.headers.get("retry-after")).value_or(0));
    return fail(std::move(error));
  }

  static Result<schema::Object> object(const Resource& resource, std::string_view subresource,
                                       Result<std::string> body) {
    if (!body) return fail(std::move(body).error());
    return decode_object(resource, subresource, std::move(*body));
  }

  std::unique_ptr<wire::HttpClient> http_;
  const Credentials credentials_;
  const std::string base_path_;  // of a server behind a path, without a slash at the end
  const ConnectLimits limits_;
};

}  // namespace

wire::TlsClientConfig tls_of(const Credentials& credentials) {
  return {credentials.ca_pem, credentials.certificate_pem, credentials.key_pem, credentials.server_name,
          credentials.insecure};
}

std::unique_ptr<Client> connect_over(std::unique_ptr<wire::HttpClient> http, Credentials credentials,
                                     ConnectLimits limits) {
  return std::make_unique<HttpApi>(std::move(http), std::move(credentials), std::string(), limits);
}

std::string path_of(const Resource& resource, std::string_view namespace_, std::string_view name,
                    std::string_view subresource) {
  std::string path = resource.group.empty() ? "/api/" : "/apis/" + std::string(resource.group) + "/";
  path += resource.version;
  if (resource.namespaced && !namespace_.empty()) path += "/namespaces/" + percent_encode(namespace_);
  path += "/" + std::string(resource.plural);
  if (!name.empty()) path += "/" + percent_encode(name);
  if (!subresource.empty()) path += "/" + std::string(subresource);
  return path;
}

std::string query_of(const ListOptions& options, bool watch) {
  std::string query;
  auto add = [&](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    query += query.empty() ? '?' : '&';
    query.append(name).append("=").append(percent_encode(value));
  };
  if (watch) {
    add("watch", "true");
    add("allowWatchBookmarks", "true");
  }
  add("labelSelector", options.label_selector);
  add("fieldSelector", options.field_selector);
  add("resourceVersion", options.resource_version);
  if (!watch) add("continue", options.continue_token);
  if (!watch && options.limit > 0) add("limit", std::to_string(options.limit));
  return query;
}

Result<std::unique_ptr<Client>> connect(run::Loop& loop, std::string server_url, Credentials credentials,
                                        ConnectLimits limits) {
  while (server_url.ends_with('/')) server_url.pop_back();
  const size_t authority = server_url.find("://");
  if (authority == std::string::npos) return fail(bad_request("the server's address must begin with https://"));
  const size_t path = server_url.find('/', authority + 3);
  std::string base_path = path == std::string::npos ? std::string() : server_url.substr(path);
  if (path != std::string::npos) server_url.resize(path);
  DURE_TRY(std::unique_ptr<wire::HttpClient> http,
           wire::HttpClient::create(loop, std::move(server_url), tls_of(credentials), limits.proxy));
  return std::make_unique<HttpApi>(std::move(http), std::move(credentials), std::move(base_path), limits);
}

}  // namespace dure::client
