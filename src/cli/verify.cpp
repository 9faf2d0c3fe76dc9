#include "cli/verify.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "cli/status.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "os/clock.h"
#include "run/loop.h"
#include "schema/json.h"
#include "schema/yaml.h"

namespace dure::cli {
namespace {

namespace core = kinds::core_v1;
using schema::Object;

constexpr Duration kPause = 200ms;
constexpr size_t kAtOnce = 8;  // nodes asked side by side

class Verification {
 public:
  Verification(Api& api, const VerifyOptions& options)
      : api_(api), options_(options), clock_(os::make_clock()), pause_(run::make_pool("verify", 1)) {}

  Result<Matrix> run() {
    DURE_TRY(std::vector<std::string> nodes, node_names());
    Matrix matrix(std::move(nodes));
    DURE_CHECK(make_room());
    const Status proved = prove(matrix);
    clean_up();
    if (!proved) return fail(proved.error());
    return matrix;
  }

 private:
  Result<std::vector<std::string>> node_names() {
    DURE_TRY(const client::ObjectList listed, api_.client().list(core::nodes));
    std::vector<std::string> out;
    for (const Object& node : listed.items) {
      const std::string name(client::name_of(node));
      if (options_.nodes.empty() || std::ranges::find(options_.nodes, name) != options_.nodes.end())
        out.push_back(name);
    }
    for (const std::string& wanted : options_.nodes)
      if (std::ranges::find(out, wanted) == out.end()) return fail(not_found("nodes", wanted));
    if (out.empty()) return fail(Error{404, "NoNodes", "the cluster has no nodes", "dure join adds one"});
    return out;
  }

  // --- The namespace

  bool is_there() { return api_.client().get(core::namespaces, {{}, verify_namespace}).has_value(); }

  // What an earlier run left is removed first.
  Status make_room() {
    const Monotonic until = clock_->now() + options_.start_timeout;
    if (is_there()) {
      options_.progress("removing what an earlier run left");
      clean_up(true);
      while (is_there()) {
        if (clock_->now() > until)
          return fail(Error{409, "NamespaceStuck", "the namespace dure-verify of an earlier run does not go away",
                            "kubectl get all -n dure-verify"});
        DURE_CHECK(wait_a_moment());
      }
    }
    auto made = api_.client().create(
        core::namespaces,
        document(core::namespaces, fmt::format(R"({{"metadata":{{"name":"{}"}}}})", verify_namespace)), {});
    return made ? Status{} : fail(made.error());
  }

  // A pod whose node is silent would stay "Terminating" and hold the namespace: such pods are taken away at once.
  void clean_up(bool at_once = false) {
    std::set<std::string, std::less<>> silent;
    if (auto nodes = api_.client().list(core::nodes))
      for (const Object& node : nodes->items)
        if (!is_node_ready(node)) silent.emplace(client::name_of(node));
    if (auto pods = api_.client().list(core::pods, {.namespace_ = verify_namespace}))
      for (const Object& pod : pods->items) {
        const bool now = at_once || silent.contains(core::Pod(pod).spec().nodeName());
        const Status removed =
            api_.client().remove(core::pods, client::key_of(pod), {.grace_period_seconds = now ? 0 : 1});
        (void)removed;  // the namespace takes it along
      }
    if (Status gone = api_.client().remove(core::namespaces, {{}, verify_namespace});
        !gone && !gone.error().is("NotFound"))
      options_.progress("cannot remove the namespace dure-verify: " + gone.error().message);
  }

  static schema::Document document(const schema::Resource& resource, const std::string& json) {
    auto decoded = schema::decode_json(SharedBytes(json), *resource.type);
    DURE_ASSERT(decoded.has_value());
    schema::Document out = std::move(*decoded);
    out.set(out.member(out.root(), "apiVersion"), std::string_view(resource.api_version()));
    out.set(out.member(out.root(), "kind"), resource.kind);
    return out;
  }

  // --- Pods and Services

  // As kubeadm-config says it, where there is one.
  std::string dns_domain() {
    const auto config = api_.client().get(core::configmaps, {"kube-system", "kubeadm-config"});
    if (!config) return "cluster.local";
    const auto cluster = schema::decode_yaml(core::ConfigMap(*config).data().get("ClusterConfiguration"));
    const schema::Node* domain = cluster ? cluster->root()->find("networking", "dnsDomain") : nullptr;
    return domain && !domain->string().empty() ? std::string(domain->string()) : "cluster.local";
  }

  Status prove(Matrix& matrix) {
    const std::string domain = dns_domain();
    for (size_t i = 0; i < matrix.nodes.size(); ++i) {
      Target target;
      target.pod = fmt::format("witness-{}", i);
      target.service_name = fmt::format("{}.{}.svc.{}", target.pod, verify_namespace, domain);
      targets_.push_back(target);
      DURE_CHECK(make_pair(target.pod, matrix.nodes[i]));
    }
    DURE_CHECK(wait_for_pods(matrix));
    for (Target& target : targets_) {
      DURE_TRY(const Object service, api_.client().get(core::services, {verify_namespace, target.pod}));
      target.service_ip = core::Service(service).spec().clusterIP();
    }
    DURE_CHECK(ask_everybody(matrix));
    return look_at_streams(matrix);
  }

  Status make_pair(const std::string& name, const std::string& node) {
    const std::string service = fmt::format(R"({{"metadata":{{"name":"{0}"}},"spec":{{"selector":{{"witness":"{0}"}},)"
                                            R"("ports":[{{"port":80,"targetPort":8080}}]}}}})",
                                            name);
    const std::string pod = fmt::format(
        R"({{"metadata":{{"name":"{0}","labels":{{"witness":"{0}"}}}},)"
        R"("spec":{{"nodeName":"{1}","restartPolicy":"Always","terminationGracePeriodSeconds":1,)"
        R"("automountServiceAccountToken":false,"tolerations":[{{"operator":"Exists"}}],)"
        R"("containers":[{{"name":"witness","image":"{2}","imagePullPolicy":"Never"}}]}}}})",
        name, node, verify_image);
    DURE_CHECK(create_patiently(core::services, service));
    return create_patiently(core::pods, pod);
  }

  // A namespace that was made a moment ago may not have its service account yet.
  Status create_patiently(const schema::Resource& resource, const std::string& json) {
    const Monotonic until = clock_->now() + 5s;
    for (;;) {
      auto made = api_.client().create(resource, document(resource, json), verify_namespace);
      if (made || made.error().is("AlreadyExists")) return {};
      if (clock_->now() > until) return fail(made.error());
      DURE_CHECK(wait_a_moment());
    }
  }

  Status wait_for_pods(Matrix& matrix) {
    const Monotonic until = clock_->now() + options_.start_timeout;
    options_.progress(fmt::format("waiting for {} pods", targets_.size()));
    for (;;) {
      DURE_TRY(const client::ObjectList pods, api_.client().list(core::pods, {.namespace_ = verify_namespace}));
      size_t running = 0;
      for (const Object& pod : pods.items) running += take_pod(core::Pod(pod));
      if (running == targets_.size() || clock_->now() > until) break;
      DURE_CHECK(wait_a_moment());
    }
    for (size_t i = 0; i < targets_.size(); ++i)
      if (targets_[i].pod_ip.empty()) {
        take_silence(matrix, i, "its pod does not run" + reasons_[targets_[i].pod]);
        for (const Stream stream : kStreams)
          matrix.at(i, stream) = {false, "its pod does not run" + reasons_[targets_[i].pod]};
      }
    return {};
  }

  bool take_pod(const core::Pod& pod) {
    for (Target& target : targets_) {
      if (target.pod != pod.metadata().name()) continue;
      for (const auto& status : pod.status().containerStatuses()) {
        if (status.ready()) target.pod_ip = pod.status().podIP();
        const auto waiting = status.state().waiting();
        reasons_[target.pod] =
            waiting.reason().empty() ? "" : fmt::format(": {} {}", waiting.reason(), waiting.message());
      }
      return !target.pod_ip.empty();
    }
    return false;
  }

  // --- Traffic

  // Runs `work` for every node that has a pod, several at a time.
  void for_each_node(const std::function<void(size_t)>& work) {
    std::atomic<size_t> next{0};
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < std::min(kAtOnce, targets_.size()); ++t)
      threads.emplace_back([&] {
        for (size_t i; (i = next++) < targets_.size();)
          if (!targets_[i].pod_ip.empty() && !options_.stopped()) work(i);
      });
  }

  bool pairs_are_green(const Matrix& matrix, size_t from) const {
    for (size_t to = 0; to < targets_.size(); ++to)
      for (const Probe probe : kProbes)
        if (!matrix.at(from, to, probe).ok && !targets_[to].pod_ip.empty()) return false;
    return true;
  }

  // Rules and routes take a moment to reach every node: a node that sees red asks again until the time is over.
  Status ask_everybody(Matrix& matrix) {
    options_.progress("asking along every path");
    const Monotonic until = clock_->now() + options_.path_timeout;
    for_each_node([&](size_t from) {
      do ask(matrix, from);
      while (!pairs_are_green(matrix, from) && clock_->now() < until && wait_a_moment());
    });
    return options_.stopped() ? fail(stopped()) : Status{};
  }

  void ask(Matrix& matrix, size_t from) {
    const int64_t milliseconds = options_.question_timeout / 1ms;
    std::vector<std::string> command = {"/witness", "ask", std::to_string(milliseconds)};
    for (std::string& one : questions(targets_)) command.push_back(std::move(one));
    auto answered = api_.exec(verify_namespace, targets_[from].pod, command, options_.question_timeout * 3 + 5s);
    if (answered) {
      matrix.at(from, Stream::exec) = {true, {}};
      return take_answers(matrix, from, targets_, *answered);
    }
    matrix.at(from, Stream::exec) = {false, answered.error().message};
    take_silence(matrix, from, "exec: " + answered.error().message);
  }

  Status look_at_streams(Matrix& matrix) {
    options_.progress("reading logs and forwarding ports");
    for_each_node([&](size_t i) {
      const std::string& pod = targets_[i].pod;
      const auto logs = api_.get(fmt::format("/api/v1/namespaces/{}/pods/{}/log", verify_namespace, pod), 10s);
      matrix.at(i, Stream::logs) = judge(logs, "witness " + pod);
      matrix.at(i, Stream::forward) =
          judge(api_.ask_port(verify_namespace, pod, 8080, "GET / HTTP/1.0\r\n\r\n", 10s), pod);
    });
    return options_.stopped() ? fail(stopped()) : Status{};
  }

  static Seen judge(const Result<std::string>& text, const std::string& expected) {
    if (!text) return {false, text.error().message};
    if (text->find(expected) == std::string::npos) return {false, "what came is not what the pod says"};
    return {true, {}};
  }

  static Error stopped() { return Error{499, "Stopped", "stopped before it was done"}; }

  Status wait_a_moment() {
    std::promise<void> over;
    const auto timer = pause_->after(kPause, [&] { over.set_value(); });
    over.get_future().wait();
    return options_.stopped() ? fail(stopped()) : Status{};
  }

  Api& api_;
  const VerifyOptions& options_;
  const std::unique_ptr<os::Clock> clock_;
  const std::unique_ptr<run::Executor> pause_;
  std::vector<Target> targets_;
  std::map<std::string, std::string> reasons_;
};

}  // namespace

Result<Matrix> verify(Api& api, const VerifyOptions& options) { return Verification(api, options).run(); }

}  // namespace dure::cli
