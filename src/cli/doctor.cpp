#include "cli/doctor.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include <fmt/format.h>

#include "base/ip.h"
#include "client/object_meta.h"
#include "kinds/views/apps_v1.h"
#include "kinds/views/coordination_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"
#include "os/clock.h"
#include "schema/json.h"

namespace dure::cli {
namespace {

namespace core = kinds::core_v1;
using bootstrap::Finding;
using schema::Node;
using schema::Object;
using Severity = Finding::Severity;

std::string_view text_of(const Node* object, std::string_view key) {
  const Node* member = object ? object->find(key) : nullptr;
  return member ? member->string() : std::string_view{};
}

Severity severity_of(std::string_view name) {
  return name == "error" ? Severity::refuse : name == "warning" ? Severity::warn : Severity::note;
}

class Diagnosis {
 public:
  explicit Diagnosis(const Examination& seen) : seen_(seen) {}

  std::vector<Finding> run() {
    for (const NodeAnswer& answer : seen_.answers) look_at(answer);
    shared();
    versions();
    twins(
        "machine id", "DuplicateMachineId", [](const core::NodeSystemInfo& info) { return info.machineID(); },
        "on the clone: rm /etc/machine-id; systemd-machine-id-setup; dure reset; dure join ...");
    twins(
        "system UUID", "DuplicateSystemUuid", [](const core::NodeSystemInfo& info) { return info.systemUUID(); },
        "give the clone its own: VBoxManage internalcommands sethduuid, or virt-clone instead of a copy");
    pod_ranges();
    for (const StatusLine& line : explain(seen_.view))
      add(line.code, line.kind == "node" ? Severity::refuse : Severity::warn,
          fmt::format("{} {} is {}: {}", line.kind, line.name, line.state, line.why),
          "kubectl describe " + described(line));
    return std::move(findings_);
  }

 private:
  void add(std::string code, Severity severity, std::string sentence, std::string fix) {
    findings_.push_back(
        {.code = std::move(code), .severity = severity, .sentence = std::move(sentence), .fix = std::move(fix)});
  }

  static std::string described(const StatusLine& line) {
    const std::string kind = line.kind == "claim" ? "pvc" : line.kind;
    const size_t slash = line.name.find('/');
    if (slash == std::string::npos) return kind + " " + line.name;
    return fmt::format("{} -n {} {}", kind, line.name.substr(0, slash), line.name.substr(slash + 1));
  }

  void look_at(const NodeAnswer& answer) {
    if (!answer.silence.empty())
      return add("NodeUnanswered", Severity::warn,
                 fmt::format("{} could not be asked: {}", answer.node, answer.silence),
                 fmt::format("on {}: dure check; systemctl status dure-agent", answer.node));
    for (const Finding& finding : answer.findings) {
      const auto same = std::ranges::find(checks_, finding, &Shared::finding);
      if (same != checks_.end())
        same->nodes.push_back(answer.node);
      else
        checks_.push_back({finding, {answer.node}});
    }
    clock(answer);
    for (const CertificateEnd& one : answer.certificates) certificate(answer.node, one);
  }

  // What several nodes say in the same words is said once.
  void shared() {
    for (const Shared& one : checks_) {
      Finding ours = one.finding;
      ours.sentence = fmt::format("{}: {}", fmt::join(one.nodes, ", "), one.finding.sentence);
      findings_.push_back(std::move(ours));
    }
  }

  void clock(const NodeAnswer& answer) {
    if (!answer.ahead) return;
    const Duration off = std::chrono::abs(*answer.ahead);
    if (off <= 2s + answer.uncertainty) return;
    add("ClockSkew", off > 1min ? Severity::refuse : Severity::warn,
        fmt::format("the clock of {} is {} {} this one", answer.node, human_duration(off),
                    *answer.ahead > Duration::zero() ? "ahead of" : "behind"),
        fmt::format("on {}: timedatectl set-ntp true", answer.node));
  }

  void certificate(const std::string& node, const CertificateEnd& one) {
    const Duration left = one.ends - seen_.view.now;
    if (left <= Duration::zero())
      add("CertificateEnded", Severity::refuse,
          fmt::format("{}: the certificate {} ended {} ago", node, one.name, human_duration(-left)),
          fmt::format("on {}: restart dure; certificates are renewed when it starts", node));
    else if (left < 14 * 24h)
      add("CertificateEnds", Severity::warn,
          fmt::format("{}: the certificate {} ends in {}", node, one.name, human_duration(left)),
          fmt::format("on {}: restart dure; certificates are renewed when it starts", node));
  }

  void versions() {
    std::map<std::string, std::vector<std::string>> nodes_of;
    for (const NodeAnswer& answer : seen_.answers)
      if (!answer.version.empty()) nodes_of[answer.version].push_back(answer.node);
    if (nodes_of.size() < 2) return;
    std::string list;
    for (const auto& [version, nodes] : nodes_of)
      list += fmt::format("{}{} on {}", list.empty() ? "" : ", ", version, fmt::join(nodes, " "));
    add("VersionSkew", Severity::warn, "nodes run different versions of dure: " + list,
        "install the newest on all nodes");
  }

  template <class Value>
  void twins(std::string_view what, const char* code, Value value, std::string fix) {
    std::map<std::string, std::vector<std::string>> nodes_of;
    for (const Object& one : seen_.view.nodes) {
      const core::Node node(one);
      if (const std::string id(value(node.status().nodeInfo())); !id.empty())
        nodes_of[id].emplace_back(node.metadata().name());
    }
    for (const auto& [id, nodes] : nodes_of)
      if (nodes.size() > 1)
        add(code, Severity::warn,
            fmt::format("{} have the same {} {}: clones of one machine", fmt::join(nodes, " and "), what, id), fix);
  }

  void pod_ranges() {
    const auto& nodes = seen_.view.nodes;
    for (size_t i = 0; i < nodes.size(); ++i)
      for (size_t j = i + 1; j < nodes.size(); ++j) {
        const core::Node a(nodes[i]), b(nodes[j]);
        const auto left = IpPrefix::parse(a.spec().podCIDR()), right = IpPrefix::parse(b.spec().podCIDR());
        if (left && right && left->overlaps(*right))
          add("PodRangeOverlap", Severity::refuse,
              fmt::format("{} and {} both have pods in {}", a.metadata().name(), b.metadata().name(), left->text()),
              fmt::format("kubectl delete node {}; then dure reset and dure join there", b.metadata().name()));
      }
  }

  struct Shared {
    Finding finding;
    std::vector<std::string> nodes;
  };

  const Examination& seen_;
  std::vector<Shared> checks_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> diagnose(const Examination& seen) { return Diagnosis(seen).run(); }

Result<NodeAnswer> read_node_answer(std::string_view node, std::string_view json, WallTime asked, WallTime answered) {
  DURE_TRY(const schema::Document page, schema::decode_json(SharedBytes(std::string(json))));
  NodeAnswer out;
  out.node = std::string(node);
  out.version = std::string(text_of(page.root(), "version"));
  out.uncertainty = (answered - asked) / 2;
  if (const auto now = parse_time(text_of(page.root(), "now"))) out.ahead = *now - (asked + out.uncertainty);
  const Node* findings = page.root()->find("findings");
  for (const Node* one = findings ? findings->first() : nullptr; one; one = one->next())
    out.findings.push_back({.code = std::string(text_of(one, "code")),
                            .severity = severity_of(text_of(one, "severity")),
                            .sentence = std::string(text_of(one, "sentence")),
                            .fix = std::string(text_of(one, "fix"))});
  const Node* certificates = page.root()->find("certificates");
  for (const Node* one = certificates ? certificates->first() : nullptr; one; one = one->next())
    if (const auto ends = parse_time(text_of(one, "ends")))
      out.certificates.push_back({std::string(text_of(one, "name")), *ends});
  return out;
}

Result<ClusterView> look_at_cluster(Api& api, WallTime now) {
  ClusterView view;
  view.now = now;
  auto list = [&](const schema::Resource& resource, std::vector<Object>& into,
                  client::ListOptions options = {}) -> Status {
    DURE_TRY(client::ObjectList listed, api.client().list(resource, options));
    into = std::move(listed.items);
    return {};
  };
  DURE_CHECK(list(core::nodes, view.nodes));
  DURE_CHECK(list(kinds::coordination_v1::leases, view.leases, {.namespace_ = "kube-node-lease"}));
  DURE_CHECK(list(core::pods, view.pods));
  DURE_CHECK(list(kinds::apps_v1::deployments, view.deployments));
  DURE_CHECK(list(kinds::apps_v1::daemonsets, view.daemon_sets));
  DURE_CHECK(list(core::services, view.services));
  DURE_CHECK(list(kinds::discovery_v1::endpointslices, view.endpoint_slices));
  DURE_CHECK(list(core::persistentvolumeclaims, view.claims));
  DURE_CHECK(list(core::events, view.warnings, {.field_selector = "type=Warning"}));
  for (const Object& node : view.nodes) {
    const std::string name(client::name_of(node));
    if (!is_node_ready(node)) view.answers[name] = api.get("/api/v1/nodes/" + name + "/proxy/healthz", 3s).has_value();
  }
  return view;
}

Result<Examination> examine(Api& api, Duration timeout) {
  const auto clock = os::make_clock();
  Examination out;
  DURE_TRY(out.view, look_at_cluster(api, clock->wall_now()));
  out.answers.resize(out.view.nodes.size());
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i; (i = next++) < out.answers.size();) {
      const std::string name(client::name_of(out.view.nodes[i]));
      const WallTime asked = clock->wall_now();
      const auto page = api.get("/api/v1/nodes/" + name + "/proxy/dure/v1/check", timeout);
      auto answer = page ? read_node_answer(name, *page, asked, clock->wall_now()) : fail(page.error());
      out.answers[i] = answer ? std::move(*answer) : NodeAnswer{.node = name, .silence = answer.error().message};
    }
  };
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < std::min<size_t>(8, out.answers.size()); ++t) threads.emplace_back(work);
  threads.clear();
  return out;
}

}  // namespace dure::cli
