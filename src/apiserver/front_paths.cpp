// Paths that are no resources: discovery, version, health, metrics.
#include <fmt/format.h>

#include "apiserver/front_state.h"
#include "apiserver/peek.h"
#include "base/text.h"

namespace dure::apiserver {

namespace {

std::string version_json(const ApiOptions& options) {
  std::string_view version = options.git_version;
  version.remove_prefix(version.starts_with('v') ? 1 : 0);
  const auto parts = split(version, '.');
  std::string out =
      fmt::format(R"({{"major":"{}","minor":"{}","gitVersion":)", parts[0], parts.size() > 1 ? parts[1] : "");
  append_json_string(out, options.git_version);
  out += ",\"gitCommit\":";
  append_json_string(out, options.git_commit);
  out += ",\"gitTreeState\":\"clean\",\"buildDate\":";
  append_json_string(out, options.build_date);
#if defined(__aarch64__)
  constexpr std::string_view platform = "linux/arm64";
#else
  constexpr std::string_view platform = "linux/amd64";
#endif
  return out + fmt::format(R"(,"goVersion":"none","compiler":"clang","platform":"{}"}})"
                           "\n",
                           platform);
}

// "/readyz/ping": one check; "/readyz?verbose&exclude=ping".
bool serve_health(const Front::State& state, wire::Exchange& exchange, std::string_view path) {
  std::string_view name, only;
  for (const std::string_view candidate : {"/healthz", "/livez", "/readyz"})
    if (path == candidate || (path.starts_with(candidate) && path[candidate.size()] == '/')) name = candidate.substr(1);
  if (name.empty()) return false;
  if (path.size() > name.size() + 2) only = path.substr(name.size() + 2);
  const Query query = wire::parse_query(exchange.request().query());
  std::string lines, reasons;
  bool healthy = true, found = only.empty();
  const auto report = [&](const std::string& check, const Status& status) {
    for (const auto& [key, value] : query)
      if (key == "exclude" && value == check) return;
    lines +=
        status ? fmt::format("[+]{} ok\n", check) : fmt::format("[-]{} failed: {}\n", check, status.error().message);
    healthy &= status.has_value();
  };
  if (only.empty() || only == "ping") {
    found = true;
    report("ping", {});
  }
  for (const HealthCheck& check : state.options.checks) {
    if (check.readyz_only && name != "readyz") continue;
    if (!only.empty() && only != check.name) continue;
    found = true;
    report(check.name, check.check());
  }
  if (!found) return false;
  if (!healthy)
    answer_text(exchange, 500, lines + fmt::format("{} check failed\n", name));
  else if (query_has(query, "verbose"))
    answer_text(exchange, 200, lines + fmt::format("{} check passed\n", name));
  else
    answer_text(exchange, 200, "ok");
  return true;
}

bool serve_discovery(const Front::State& state, wire::Exchange& exchange, std::string_view path) {
  const std::string_view version = Discovery::aggregated_version(exchange.request().headers.get("accept"));
  if (const auto* aggregated = version.empty() ? nullptr : state.discovery.aggregated(path, version)) {
    wire::Response response;
    response.headers.add("content-type", aggregated->content_type);
    response.headers.add("etag", aggregated->etag);
    response.headers.add("vary", "Accept");
    response.headers.add("cache-control", "public");
    const bool known = exchange.request().headers.get("if-none-match") == aggregated->etag;
    response.status = known ? 304 : 200;
    if (!known) response.body = aggregated->body;
    exchange.respond(std::move(response));
    return true;
  }
  const std::string* text = state.discovery.plain(path);
  if (!text) return false;
  const auto output = negotiate(exchange.request().headers.get("accept"), false);
  if (!output)
    answer_error(exchange, {}, output.error());
  else if (output->format == Output::Format::json)
    answer(exchange, 200, {*text, "application/json"});
  else
    answer(exchange, 200, render_json_text(*output, *text));
  return true;
}

}  // namespace

bool serve_path(const std::shared_ptr<Front::State>& state, const ExchangePtr& exchange, const Route& route) {
  if (route.verb != "get" && route.verb != "head") {
    const bool known = state->discovery.plain(route.path) || route.path == "/version" || route.path == "/metrics";
    if (known)
      answer_error(*exchange, {},
                   Error{405, "MethodNotAllowed", "the server does not allow this method on the requested resource"});
    return known;
  }
  if (route.path == "/") return answer(*exchange, 200, {state->discovery.paths(), "application/json"}), true;
  if (route.path == "/version" || route.path == "/version/")
    return answer(*exchange, 200, {version_json(state->api.options()), "application/json"}), true;
  if (route.path == "/metrics")
    return answer_text(*exchange, 200, metrics_text(), "text/plain; version=0.0.4; charset=utf-8"), true;
  if (serve_openapi(*state, *exchange, route.path)) return true;
  if (serve_health(*state, *exchange, route.path)) return true;
  return serve_discovery(*state, *exchange, route.path);
}

}  // namespace dure::apiserver
