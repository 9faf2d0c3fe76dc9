// Doctor: one report about a whole cluster. `diagnose` is pure: what nodes say of themselves, the objects and the
// clocks go in, findings come out. `examine` asks for all of it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bootstrap/finding.h"
#include "cli/api.h"
#include "cli/status.h"

namespace dure::cli {

struct CertificateEnd {
  std::string name;
  WallTime ends;
};

struct NodeAnswer {
  std::string node;
  std::string silence;  // why it did not answer; then nothing else is set
  std::string version;
  std::optional<Duration> ahead;  // its clock against the one who asks
  Duration uncertainty{};         // of `ahead`: half the time the question took
  std::vector<bootstrap::Finding> findings;
  std::vector<CertificateEnd> certificates;
};

struct Examination {
  ClusterView view;
  std::vector<NodeAnswer> answers;
};

// Codes of its own: NodeUnanswered, ClockSkew, VersionSkew, CertificateEnds, CertificateEnded, DuplicateMachineId,
// DuplicateSystemUuid, PodRangeOverlap; those of the nodes' own checks, with the nodes that say so before the sentence;
// those of status.h.
std::vector<bootstrap::Finding> diagnose(const Examination& seen);

// What a node's /dure/v1/check says. `asked`, `answered`: by the clock of the one who asked.
Result<NodeAnswer> read_node_answer(std::string_view node, std::string_view json, WallTime asked, WallTime answered);

// Lists everything that status looks at; asks nodes that are NotReady whether their tunnel is connected.
Result<ClusterView> look_at_cluster(Api& api, WallTime now);
// Nodes are asked side by side; at most `timeout` each.
Result<Examination> examine(Api& api, Duration timeout = 10s);

}  // namespace dure::cli
