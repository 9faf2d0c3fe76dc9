// What the parts of the HTTP front share; private to them.
#pragma once

#include <mutex>

#include "apiserver/discovery.h"
#include "apiserver/front.h"
#include "apiserver/output.h"
#include "apiserver/path.h"
#include "base/metric.h"

namespace dure::apiserver {

using ExchangePtr = std::shared_ptr<wire::Exchange>;

struct Front::State : std::enable_shared_from_this<Front::State> {
  State(Api& api, FrontOptions options) : api(api), options(std::move(options)), discovery(api.catalog()) {}
  Api& api;
  const FrontOptions options;
  const Discovery discovery;
  Metric requests{Metric::Kind::counter, "apiserver_requests_total", {}, "requests answered"};
  Metric watches{Metric::Kind::gauge, "apiserver_watches", {}, "open watch streams"};

  mutable std::once_flag openapi_once;
  mutable std::string openapi_index;

  void serve(ExchangePtr exchange);
};

// Every answer ends here.
void answer(wire::Exchange& exchange, int status, Rendered rendered, const std::vector<std::string>& warnings = {});
void answer_error(wire::Exchange& exchange, const Output& output, const Error& error);
void answer_text(wire::Exchange& exchange, int status, std::string text,
                 std::string_view content_type = "text/plain; charset=utf-8");

// front_watch.cpp
void serve_watch(const std::shared_ptr<Front::State>& state, ExchangePtr exchange, ApiRequest request, Output output);
// front_list.cpp
void serve_list(const std::shared_ptr<Front::State>& state, ExchangePtr exchange, ListResult list, Output output);
// front_paths.cpp: everything that is no resource; false when the path is unknown.
bool serve_path(const std::shared_ptr<Front::State>& state, const ExchangePtr& exchange, const Route& route);
// front_openapi.cpp
bool serve_openapi(const Front::State& state, wire::Exchange& exchange, std::string_view path);
// node_proxy.cpp: logs, exec, attach, portforward and node proxies.
bool is_node_stream(const ApiRequest& request);
void serve_node_stream(const std::shared_ptr<Front::State>& state, ExchangePtr exchange, ApiRequest request);

}  // namespace dure::apiserver
