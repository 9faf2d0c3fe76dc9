#include "apiserver/front.h"

#include <fmt/format.h>

#include "apiserver/auth/decision.h"
#include "apiserver/auth/user.h"
#include "apiserver/front_state.h"
#include "apiserver/peek.h"
#include "base/text.h"
#include "schema/rows.h"

namespace dure::apiserver {

namespace {

wire::Headers headers_of(std::string_view content_type) {
  wire::Headers headers;
  headers.items.reserve(4);
  headers.add("cache-control", "no-cache, private");
  headers.add("content-type", content_type);
  return headers;
}

std::string warning_text(std::string_view warning) {
  std::string out = "299 - \"";
  for (const char c : warning) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return out + "\"";
}

// A default manager name, as upstream takes it: the User-Agent up to its first slash.
std::string manager_of(std::string_view user_agent) {
  std::string name(user_agent.substr(0, std::min<size_t>(user_agent.find('/'), 128)));
  return name.empty() ? "unknown" : name;
}

Result<PatchType> patch_type(std::string_view content_type) {
  const std::string type = lower(trim(content_type.substr(0, content_type.find(';'))));
  if (type == "application/json-patch+json") return PatchType::json;
  if (type == "application/merge-patch+json") return PatchType::merge;
  if (type == "application/strategic-merge-patch+json") return PatchType::strategic;
  if (type == "application/apply-patch+yaml") return PatchType::apply;
  return fail(
      unsupported_media_type("application/json-patch+json, application/merge-patch+json, "
                             "application/strategic-merge-patch+json, application/apply-patch+yaml"));
}

Result<std::shared_ptr<const User>> who(const Front::State& state, const wire::Request& request) {
  return state.options.authenticate ? state.options.authenticate(request) : anonymous_user();
}

bool is_known_method(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "POST" || method == "PUT" || method == "PATCH" ||
         method == "DELETE";
}

Status fill_request(const wire::Request& http, const Route& route, const schema::Resource& resource, Query query,
                    ApiRequest& request) {
  if (route.verb == "create" && !route.name.empty() && route.subresource.empty())
    return fail(method_not_allowed(route.verb, resource));
  request.verb = route.verb;
  request.resource = &resource;
  request.subresource = route.subresource;
  request.namespace_ = route.namespace_;
  if (!resource.namespaced && resource.plural == "namespaces" && request.name.empty()) request.namespace_.clear();
  request.name = route.name;
  request.sub_path = route.sub_path;
  request.body = http.body;
  request.content_type = http.headers.get("content-type");
  DURE_CHECK(parse_options(query, request));
  if (request.field_manager.empty()) request.field_manager = manager_of(http.headers.get("user-agent"));
  if (request.verb == "patch") {
    DURE_TRY(request.patch_type, patch_type(request.content_type));
  }
  request.query = std::move(query);
  return {};
}

void write_response(const ExchangePtr& exchange, const Front::State& state, const Output& output,
                    ApiResponse response) {
  if (response.error) return answer_error(*exchange, output, *response.error);
  const WallTime now = state.api.executor().wall_now();
  Rendered rendered;
  if (response.object)
    rendered = render_object(output, *response.object, now);
  else if (response.document)
    rendered = render_document(output, *response.document, response.document_of, now);
  else
    rendered = render_json_text(output, std::move(*response.success));
  answer(*exchange, response.status, std::move(rendered), response.warnings);
}

bool needs_work(const Output& output, const ApiResponse& response) {
  return !response.error && !(response.object && output.is_plain_json());
}

// Whoever answers first from another thread hands over to the connection's loop when there is more to do than copying.
void respond_on(const std::shared_ptr<Front::State>& state, const ExchangePtr& exchange, const Output& output,
                ApiResponse response) {
  if (exchange->loop().on_loop_thread() || !needs_work(output, response))
    return write_response(exchange, *state, output, std::move(response));
  auto shared = std::make_shared<ApiResponse>(std::move(response));
  exchange->loop().post(
      [state, exchange, output, shared] { write_response(exchange, *state, output, std::move(*shared)); });
}

void serve_resource(const std::shared_ptr<Front::State>& state, const ExchangePtr& exchange, const Route& route,
                    Query query, std::shared_ptr<const User> user, const Output& fallback) {
  const wire::Request& http = exchange->request();
  const Served* served = state->api.catalog().find(route.group, route.version, route.resource);
  if (!served) return answer_error(*exchange, fallback, no_such_resource());
  ApiRequest request;
  request.user = std::move(user);
  const std::string include(query_value(query, "includeObject"));
  const std::string pretty(query_value(query, "pretty"));
  if (auto filled = fill_request(http, route, *served->resource, std::move(query), request); !filled)
    return answer_error(*exchange, fallback, about(std::move(filled).error(), *served->resource, route.name));
  if (is_node_stream(request)) return serve_node_stream(state, exchange, std::move(request));
  auto output = negotiate(http.headers.get("accept"), true);
  if (!output) return answer_error(*exchange, fallback, output.error());
  if (auto read = read_include(include, *output); !read) return answer_error(*exchange, *output, read.error());
  output->pretty = pretty == "true" || pretty == "1";
  request.lane = &exchange->loop();
  if (request.verb == "watch") return serve_watch(state, exchange, std::move(request), *output);
  state->api.handle(std::move(request), [state, exchange, output = *output](ApiResponse response) {
    if (response.list)
      serve_list(state, exchange, std::move(*response.list), output);
    else
      respond_on(state, exchange, output, std::move(response));
  });
}

bool serve_extra(const Front::State& state, const ExchangePtr& exchange, std::string_view path,
                 const std::shared_ptr<const User>& user, bool open) {
  for (const ExtraRoute& extra : state.options.routes) {
    const bool match = extra.path.ends_with('/') ? path.starts_with(extra.path) : path == extra.path;
    if (!match || extra.open != open) continue;
    extra.serve(exchange, user);
    return true;
  }
  return false;
}

}  // namespace

void answer(wire::Exchange& exchange, int status, Rendered rendered, const std::vector<std::string>& warnings) {
  wire::Response response{status, headers_of(rendered.content_type), std::move(rendered.body)};
  for (const std::string& warning : warnings) response.headers.add("warning", warning_text(warning));
  exchange.respond(std::move(response));
}

void answer_error(wire::Exchange& exchange, const Output& output, const Error& error) {
  Output plain = output;
  plain.as = Output::As::object;
  std::string json = status_json(error);
  // An expired page offers a token that goes on without consistency (carried in `remedy`).
  if (error.code == 410 && !error.remedy.empty()) {
    const std::string_view empty = "\"metadata\":{}";
    json.replace(json.find(empty), empty.size(), fmt::format("\"metadata\":{{\"continue\":\"{}\"}}", error.remedy));
  }
  Rendered rendered = render_json_text(plain, std::move(json));
  wire::Response response{error.code, headers_of(rendered.content_type), std::move(rendered.body)};
  // Only where asked for: client libraries obey it without a word, kubectl drain would say nothing for minutes.
  if (error.retry_after_seconds > 0)
    response.headers.add("retry-after", std::to_string(error.retry_after_seconds));
  exchange.respond(std::move(response));
}

void answer_text(wire::Exchange& exchange, int status, std::string text, std::string_view content_type) {
  wire::Response response{status, headers_of(content_type), std::move(text)};
  response.headers.add("x-content-type-options", "nosniff");
  exchange.respond(std::move(response));
}

void Front::State::serve(ExchangePtr exchange) {
  requests.add();
  const wire::Request& http = exchange->request();
  Output fallback;
  if (http.headers.get("accept").find("application/vnd.kubernetes.protobuf") == 0)
    fallback.format = Output::Format::protobuf;
  if (!is_known_method(http.method))
    return answer_error(
        *exchange, fallback,
        Error{405, "MethodNotAllowed", "the server does not allow this method on the requested resource"});
  Query query = wire::parse_query(http.query());
  auto route = parse_route(http.method, http.path(), query);
  if (!route) return answer_error(*exchange, fallback, route.error());
  auto user = who(*this, http);
  if (!user) return answer_error(*exchange, fallback, user.error());
  if (serve_extra(*this, exchange, route->path, *user, true)) return;
  if (route->is_resource && api.catalog().has_group_version(route->group, route->version))
    return serve_resource(shared_from_this(), exchange, *route, std::move(query), std::move(*user), fallback);
  Attributes attributes{.verb = route->verb, .path = route->path};
  if (const Verdict verdict = api.judge(**user, attributes); !verdict.allowed)
    return answer_error(*exchange, fallback, refused_request(**user, attributes, verdict.reason));
  if (serve_extra(*this, exchange, route->path, *user, false)) return;
  if (!serve_path(shared_from_this(), exchange, *route)) answer_error(*exchange, fallback, no_such_resource());
}

Front::Front(Api& api, FrontOptions options) : state_(std::make_shared<State>(api, std::move(options))) {}
Front::~Front() = default;

wire::Handler Front::handler() {
  return [state = state_](ExchangePtr exchange) { state->serve(std::move(exchange)); };
}

wire::Response Front::refusal(int status, std::string_view why) {
  Error error{status, "BadRequest", std::string(why)};
  if (status == 413) error.reason = "RequestEntityTooLarge";
  if (status == 408) error.reason = "Timeout";
  if (status == 429) error.reason = "TooManyRequests";
  if (status == 501) error.reason = "NotImplemented";
  return {status, headers_of("application/json"), status_json(error) + "\n"};
}

}  // namespace dure::apiserver
