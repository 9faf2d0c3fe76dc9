// Node pages: what a node tells of itself beside the kubelet API, under /dure/v1/. Reached like that API: over the
// tunnel, GET /api/v1/nodes/NAME/proxy/dure/v1/..., by those who may use nodes/proxy.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "bootstrap/settings.h"
#include "run/loop.h"
#include "wire/http.h"

namespace dure::host {

// A page is made anew for each request, on `jobs`, and is JSON. Path -> page.
using NodePages = std::map<std::string, std::function<Result<std::string>()>, std::less<>>;

// Answers the paths of `pages` and hands everything else on.
wire::Handler with_node_pages(wire::Handler below, NodePages pages, run::Executor& jobs);

// /dure/v1/check: what `dure check` finds on this node, its clock and the certificates that end.
//   {"version":"...","now":"2026-11-27T12:00:00.000000Z","findings":[...],"certificates":[{"name":"...","ends":"..."}]}
Result<std::string> check_page(const bootstrap::Places& places, const std::string& version);

}  // namespace dure::host
