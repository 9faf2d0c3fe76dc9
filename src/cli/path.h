// Path: which way packets take between nodes and why not a better one, as the nodes themselves tell it
// (/dure/v1/paths). Reading and printing are pure; ask_paths does the asking.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/api.h"

namespace dure::cli {

struct RungLine {
  std::string rung, why, message, via;
  double tried_seconds_ago = -1;  // negative: never
};

struct PathLine {
  std::string from, to, rung, via;
  double latency_ms = 0, loss = 0, seconds = 0;
  int64_t mtu = 0;  // 0: not limited, or not known yet
  std::vector<RungLine> rungs;
};

struct NodePathsAnswer {
  std::string node;
  std::string silence;  // why it did not answer; empty: it did
  std::vector<PathLine> paths;
};

// "BadAnswer" when it is not what a node says.
Result<std::vector<PathLine>> read_paths(std::string_view json);

// Asks these nodes, all at once; empty: all there are. Blocks until they answered or `timeout`.
Result<std::vector<NodePathsAnswer>> ask_paths(Api& api, const std::vector<std::string>& nodes, Duration timeout);

// Both directions, and for each rung above the one in use why it is not.
// "NoSuchPath" when neither knows of the other.
Result<std::string> pair_text(const std::vector<NodePathsAnswer>& answers, std::string_view a, std::string_view b);
// A row per node, a column per node.
std::string path_matrix_text(const std::vector<NodePathsAnswer>& answers);
std::string paths_json(const std::vector<NodePathsAnswer>& answers);

}  // namespace dure::cli
