// Verify: proves a cluster with traffic. In a namespace of its own it puts one pod and one Service on each node, lets
// every pod ask every other, reads logs, runs commands and forwards a port through the API, and takes all of it away.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/api.h"
#include "cli/matrix.h"

namespace dure::cli {

inline constexpr const char* verify_namespace = "dure-verify";
// The program inside knows no registry: every agent brings the image along (pods/image_archive.h).
inline constexpr const char* verify_image = "dure.dev/witness:1";

struct VerifyOptions {
  std::vector<std::string> nodes;                        // empty: all
  Duration start_timeout = 30s;                          // for pods to run
  Duration path_timeout = 30s;                           // until a path must have worked once
  Duration question_timeout = 2s;                        // one try
  std::function<bool()> stopped = [] { return false; };  // Ctrl-C: ends soon, and cleans up
  std::function<void(const std::string&)> progress = [](const std::string&) {};
};

// Errors: only what makes a matrix impossible (no nodes, no right to create the namespace, Stopped). The namespace is
// gone, or on its way, when this returns. Takes at most the timeouts and some seconds.
Result<Matrix> verify(Api& api, const VerifyOptions& options);

}  // namespace dure::cli
