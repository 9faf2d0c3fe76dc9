#include "pods/kubelet_api.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/text.h"
#include "client/object_meta.h"
#include "cri/views/cri_v1.h"
#include "kinds/views/core_v1.h"
#include "pods/log_stream.h"
#include "pods/stats.h"
#include "schema/json.h"
#include "wire/stream_pipe.h"

namespace dure::pods {

using kinds::core_v1::Pod;
namespace v1 = cri::v1;

namespace {

using ExchangePtr = std::shared_ptr<wire::Exchange>;

void answer(const ExchangePtr& exchange, int status, std::string body, std::string_view type = "text/plain") {
  wire::Response response;
  response.status = status;
  response.headers.set("content-type", type);
  response.body = std::move(body);
  exchange->respond(std::move(response));
}

void answer_error(const ExchangePtr& exchange, const Error& error) {
  const int status = error.code >= 400 && error.code < 600 && error.code != 499 ? error.code : 500;
  answer(exchange, status, error.message);
}

struct Query {
  std::vector<std::pair<std::string, std::string>> items;
  std::string get(std::string_view name) const {
    for (const auto& [key, value] : items)
      if (key == name) return value;
    return {};
  }
  bool flag(std::string_view name) const {
    const std::string value = get(name);
    return value == "1" || value == "true";
  }
  std::optional<int64_t> number(std::string_view name) const {
    const std::string value = get(name);
    return value.empty() ? std::nullopt : parse_int(value);
  }
};

// What a path names: /exec/{ns}/{pod}[/{uid}]/{container}
struct Target {
  std::string namespace_, pod, uid, container;
};

class KubeletApi : public std::enable_shared_from_this<KubeletApi> {
 public:
  KubeletApi(Pods& pods, run::Executor& executor, run::Executor& jobs, KubeletApiOptions options)
      : pods_(pods), executor_(executor), jobs_(jobs), options_(std::move(options)) {}

  void handle(ExchangePtr exchange) {
    jobs_.post([self = shared_from_this(), exchange = std::move(exchange)] { self->route(exchange); });
  }

 private:
  void route(const ExchangePtr& exchange) {
    std::vector<std::string> parts;
    for (std::string_view part : split(exchange->request().path(), '/'))
      if (!part.empty()) parts.push_back(percent_decode(part));
    const std::string first = parts.empty() ? "" : parts[0];
    if (first == "healthz" || first == "livez" || first == "readyz") return answer(exchange, 200, "ok");
    if (first == "pods" || first == "runningpods") return list_pods(exchange);
    if (first == "metrics") return metrics(exchange, parts.size() > 1 ? parts[1] : "");
    if (first == "stats")
      return answer_text(exchange, stats_summary(pods_.parts().runtime, pods_.parts().disk, options_.node_name),
                         "application/json");
    if (first == "containerLogs" && parts.size() == 4) return logs(exchange, {parts[1], parts[2], "", parts[3]});
    if (first == "portForward" && parts.size() >= 3)
      return port_forward(exchange, {parts[1], parts[2], parts.size() > 3 ? parts[3] : "", ""});
    const bool streams = first == "exec" || first == "attach" || first == "run";
    if (streams && (parts.size() == 4 || parts.size() == 5)) {
      const Target target{parts[1], parts[2], parts.size() == 5 ? parts[3] : "", parts.back()};
      if (first == "exec") return exec(exchange, target);
      if (first == "attach") return attach(exchange, target);
      return run(exchange, target);
    }
    answer(exchange, 404, "404 page not found\n");
  }

  static Query query_of(const ExchangePtr& exchange) { return {wire::parse_query(exchange->request().query())}; }

  static void answer_text(const ExchangePtr& exchange, Result<std::string> text, std::string_view type) {
    if (!text) return answer_error(exchange, text.error());
    answer(exchange, 200, *std::move(text), type);
  }

  void list_pods(const ExchangePtr& exchange) {
    std::string body = R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[)";
    bool first = true;
    for (const schema::Object& pod : pods_.cache().list()) {
      if (!first) body += ',';
      first = false;
      body += schema::to_json(*pod);
    }
    answer(exchange, 200, body + "]}", "application/json");
  }

  void metrics(const ExchangePtr& exchange, std::string_view which) {
    constexpr std::string_view type = "text/plain; version=0.0.4; charset=utf-8";
    if (which == "resource")
      return answer_text(exchange, resource_metrics(pods_.parts().runtime, pods_.parts().disk), type);
    answer(exchange, 200, metrics_text(), type);
  }

  // --- Finding things

  Result<RuntimePodPtr> find_pod(const Target& target) {
    const schema::Object object = pods_.cache().get({target.namespace_, target.pod});
    if (!object) return fail(Error{404, "NotFound", fmt::format("pod \"{}\" not found", target.pod)});
    const std::string uid(client::uid_of(object));
    if (!target.uid.empty() && target.uid != uid)
      return fail(Error{404, "NotFound", fmt::format("pod \"{}\" not found", target.pod)});
    return pods_.runtime_state().look_at(uid);
  }

  Result<std::string> running_container(const Target& target) {
    DURE_TRY(RuntimePodPtr pod, find_pod(target));
    const RuntimeContainer* container = pod->newest(target.container);
    if (!container || container->state != ContainerState::running)
      return fail(Error{500, "InternalError", fmt::format("container not found (\"{}\")", target.container)});
    return container->id;
  }

  // --- Logs

  void logs(const ExchangePtr& exchange, const Target& target) {
    auto pod = find_pod(target);
    if (!pod) return answer_error(exchange, pod.error());
    const schema::Object object = pods_.cache().get({target.namespace_, target.pod});
    const Query query = query_of(exchange);
    if (!object || find_container(Pod(object), target.container).empty())
      return answer(exchange, 404,
                    fmt::format("container \"{}\" not found in pod \"{}\"", target.container, target.pod));
    const RuntimeContainer* container = (*pod)->newest(target.container);
    if (query.flag("previous")) {
      container = (*pod)->previous(target.container);
      if (!container)
        return answer(
            exchange, 400,
            fmt::format("previous terminated container \"{}\" in pod \"{}\" not found", target.container, target.pod));
    } else if (container && container->state == ContainerState::created) {
      container = (*pod)->previous(target.container);
    }
    if (!container)
      return answer(exchange, 400,
                    fmt::format("container \"{}\" in pod \"{}\" is waiting to start: {}", target.container, target.pod,
                                waiting_reason(object, target.container)));
    LogOptions options;
    options.timestamps = query.flag("timestamps");
    options.tail_lines = query.number("tailLines");
    options.limit_bytes = query.number("limitBytes");
    options.stream = query.get("stream");
    if (auto seconds = query.number("sinceSeconds"))
      options.since = executor_.wall_now() - Duration(std::chrono::seconds(*seconds));
    if (const std::string time = query.get("sinceTime"); !time.empty()) options.since = parse_time(time);
    const bool follow = query.flag("follow") && !query.flag("previous");
    auto runs = [this, uid = (*pod)->uid, id = container->id] {
      const RuntimePodPtr now = pods_.runtime_state().of_uid(uid);
      const RuntimeContainer* c = now->by_id(id);
      return c && c->state == ContainerState::running;
    };
    stream_log(exchange, LogReader(pods_.parts().disk, container->log_path, std::move(options)), std::move(runs),
               executor_, jobs_, {follow, options_.follow_interval, options_.unsent_bytes_max});
  }

  static std::string waiting_reason(const schema::Object& object, std::string_view name) {
    for (kinds::core_v1::ContainerStatus s : Pod(object).status().containerStatuses())
      if (s.name() == name && !s.state().waiting().reason().empty()) return std::string(s.state().waiting().reason());
    return "ContainerCreating";
  }

  // --- Streams

  void exec(const ExchangePtr& exchange, const Target& target) {
    auto id = running_container(target);
    if (!id) return answer_error(exchange, id.error());
    const Query query = query_of(exchange);
    schema::Document request(v1::ExecRequest::schema_type());
    v1::ExecRequest out(request);
    out.set_container_id(*id);
    for (const auto& [key, value] : query.items)
      if (key == "command") out.add_cmd(value);
    set_streams(out, query);
    to_runtime<v1::ExecResponse>(exchange, "Exec", request);
  }

  void attach(const ExchangePtr& exchange, const Target& target) {
    auto id = running_container(target);
    if (!id) return answer_error(exchange, id.error());
    schema::Document request(v1::AttachRequest::schema_type());
    v1::AttachRequest out(request);
    out.set_container_id(*id);
    set_streams(out, query_of(exchange));
    to_runtime<v1::AttachResponse>(exchange, "Attach", request);
  }

  template <class Request>
  static void set_streams(Request& out, const Query& query) {
    const bool tty = query.flag("tty");
    out.set_tty(tty);
    out.set_stdin(query.flag("input"));
    out.set_stdout(query.flag("output"));
    out.set_stderr(query.flag("error") && !tty);
  }

  void port_forward(const ExchangePtr& exchange, const Target& target) {
    auto pod = find_pod(target);
    if (!pod) return answer_error(exchange, pod.error());
    const RuntimeSandbox* sandbox = (*pod)->ready_sandbox();
    if (!sandbox) return answer(exchange, 500, fmt::format("sandbox not found for pod \"{}\"", target.pod));
    schema::Document request(v1::PortForwardRequest::schema_type());
    v1::PortForwardRequest out(request);
    out.set_pod_sandbox_id(sandbox->id);
    for (const auto& [key, value] : query_of(exchange).items)
      if (key == "port" || key == "ports")
        if (auto port = parse_int(value)) out.add_port(static_cast<int>(*port));
    to_runtime<v1::PortForwardResponse>(exchange, "PortForward", request);
  }

  void run(const ExchangePtr& exchange, const Target& target) {
    auto id = running_container(target);
    if (!id) return answer_error(exchange, id.error());
    schema::Document request(v1::ExecSyncRequest::schema_type());
    v1::ExecSyncRequest out(request);
    out.set_container_id(*id);
    const std::string command = query_of(exchange).get("cmd");
    for (std::string_view word : split(command, ' ')) out.add_cmd(word);
    out.set_timeout(60);
    auto answered = pods_.parts().runtime.call("ExecSync", request, 65s);
    if (!answered) return answer_error(exchange, answered.error());
    const v1::ExecSyncResponse response(*answered);
    answer(exchange, response.exit_code() == 0 ? 200 : 500,
           base64_decode(response.stdout()).value_or("") + base64_decode(response.stderr()).value_or(""));
  }

  // Asks the runtime where its streaming server takes this, goes there with the caller's own upgrade, and joins the two
  // ends.
  template <class Response>
  void to_runtime(const ExchangePtr& exchange, const char* method, const schema::Document& request) {
    auto answered = pods_.parts().runtime.call(method, request, 30s);
    if (!answered) return answer_error(exchange, answered.error());
    const std::string url(Response(*answered).url());
    constexpr std::string_view scheme = "http://";
    const size_t path = url.find('/', scheme.size());
    if (!url.starts_with(scheme) || path == std::string::npos)
      return answer(exchange, 500,
                    fmt::format("the container runtime answered with the streaming address \"{}\"", url));
    wire::Request upgrade;
    upgrade.method = exchange->request().method;
    upgrade.target = url.substr(path);
    upgrade.headers.set("host", url.substr(scheme.size(), path - scheme.size()));
    for (const char* name : {"connection", "upgrade", "x-stream-protocol-version", "sec-websocket-key",
                             "sec-websocket-version", "sec-websocket-protocol", "origin"})
      for (std::string_view value : exchange->request().headers.all(name)) upgrade.headers.add(name, value);
    auto client = wire::HttpClient::create(exchange->loop(), url.substr(0, path));
    if (!client) return answer_error(exchange, client.error());
    auto upgraded = (*client)->upgrade(std::move(upgrade), 30s);
    if (!upgraded) return answer_error(exchange, upgraded.error());
    exchange->loop().post([exchange, upgraded = *std::move(upgraded)]() mutable {
      wire::Headers headers;
      for (const auto& [name, value] : upgraded.headers.items)
        if (name != "content-length" && name != "date") headers.add(name, value);
      std::unique_ptr<wire::Stream> peer = exchange->upgrade(std::move(headers));
      if (!peer) return answer(exchange, 400, "Upgrade request required");
      wire::pipe_streams(std::move(peer), std::move(upgraded.stream));
    });
  }

  Pods& pods_;
  run::Executor& executor_;
  run::Executor& jobs_;
  const KubeletApiOptions options_;
};

}  // namespace

wire::Handler kubelet_api(Pods& pods, run::Executor& executor, run::Executor& jobs, KubeletApiOptions options) {
  auto api = std::make_shared<KubeletApi>(pods, executor, jobs, std::move(options));
  return [api](std::shared_ptr<wire::Exchange> exchange) { api->handle(std::move(exchange)); };
}

}  // namespace dure::pods
