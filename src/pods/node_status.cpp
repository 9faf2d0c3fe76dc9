#include "pods/node_status.h"

#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "client/object_meta.h"
#include "cri/views/cri_v1.h"
#include "kinds/views/coordination_v1.h"
#include "kinds/views/core_v1.h"
#include "run/gate.h"
#include "schema/json.h"
#include "schema/quantity.h"

namespace dure::pods {

using kinds::coordination_v1::Lease;
using kinds::core_v1::Node;
using kinds::core_v1::NodeCondition;
namespace v1 = cri::v1;

namespace {

constexpr const char* lease_namespace = "kube-node-lease";
constexpr Duration unready_pause_min = 100ms, unready_pause_max = 1s;

// In the canonical form that the API keeps: what is written otherwise would differ from it at every look.
std::string bytes_text(int64_t bytes) {
  return schema::Quantity::of(bytes / 1024 * 1024, schema::Quantity::Format::binary_si).text();
}
std::string cpu_text(int64_t milli) { return schema::Quantity::of_milli(milli).text(); }

void set_apis(schema::Document& document, std::string_view api_version, std::string_view kind) {
  document.set(document.member(document.root(), "apiVersion"), api_version);
  document.set(document.member(document.root(), "kind"), kind);
}

}  // namespace

RuntimeFacts read_runtime_facts(cri::Runtime& runtime) {
  RuntimeFacts out;
  auto version = runtime.call("Version", schema::Document(v1::VersionRequest::schema_type()), 5s);
  if (!version) {
    out.why_runtime = version.error().message;
    return out;
  }
  out.answers = true;
  out.name = v1::VersionResponse(*version).runtime_name();
  out.version = v1::VersionResponse(*version).runtime_version();
  auto status = runtime.call("Status", schema::Document(v1::StatusRequest::schema_type()), 5s);
  if (!status) {
    out.why_runtime = status.error().message;
    return out;
  }
  for (v1::RuntimeCondition c : v1::StatusResponse(*status).status().conditions()) {
    const std::string why = fmt::format("{}=false reason:{} message:{}", c.type(), c.reason(), c.message());
    if (c.type() == "RuntimeReady") {
      out.runtime_ready = c.status();
      if (!c.status()) out.why_runtime = why;
    } else if (c.type() == "NetworkReady") {
      out.network_ready = c.status();
      if (!c.status()) out.why_network = why;
    }
  }
  return out;
}

NodeCapacity node_capacity(const MachineFacts& machine, const NodeOptions& options) {
  NodeCapacity out;
  out.cpu_milli = options.cpu_milli.value_or(machine.cpus * 1000);
  out.memory_bytes = options.memory_bytes.value_or(machine.memory_bytes);
  out.ephemeral_storage_bytes = options.ephemeral_storage_bytes.value_or(static_cast<int64_t>(machine.disk_free));
  out.allocatable_memory = std::max<int64_t>(out.memory_bytes - options.memory_reserved, 0);
  out.allocatable_ephemeral_storage = out.ephemeral_storage_bytes / 10 * 9;
  return out;
}

namespace {

class Writer {
 public:
  Writer(const MachineFacts& machine, const RuntimeFacts& runtime, const NodeOptions& options, WallTime now,
         const schema::Object& before)
      : machine_(machine),
        runtime_(runtime),
        options_(options),
        now_(format_time(now)),
        before_(before ? Node(before) : Node()),
        document_(Node::schema_type()),
        out_(document_) {}

  schema::Document run() {
    set_apis(document_, "v1", "Node");
    metadata();
    capacity();
    conditions();
    auto status = out_.mutable_status();
    for (const std::string& ip : options_.ips.get()) address(status, "InternalIP", ip);
    address(status, "Hostname", options_.hostname.empty() ? options_.name : options_.hostname);
    status.mutable_daemonEndpoints().mutable_kubeletEndpoint().set_Port(options_.kubelet_port);
    info(status.mutable_nodeInfo());
    return std::move(document_);
  }

 private:
  void metadata() {
    auto metadata = out_.mutable_metadata();
    metadata.set_name(options_.name);
    metadata.set_labels("kubernetes.io/hostname", options_.hostname.empty() ? options_.name : options_.hostname);
    metadata.set_labels("kubernetes.io/os", "linux");
    metadata.set_labels("kubernetes.io/arch", machine_.architecture);
    metadata.set_labels("beta.kubernetes.io/os", "linux");
    metadata.set_labels("beta.kubernetes.io/arch", machine_.architecture);
    for (const auto& [key, value] : options_.labels) metadata.set_labels(key, value);
    metadata.set_annotations("volumes.kubernetes.io/controller-managed-attach-detach", "true");
    for (const auto& [key, value] : options_.annotations) metadata.set_annotations(key, value);
  }

  void capacity() {
    const NodeCapacity own = node_capacity(machine_, options_);
    auto status = out_.mutable_status();
    // Free space moves all the time; the first word stands unless it is far off, or every look would be a write.
    std::string storage = bytes_text(own.ephemeral_storage_bytes);
    if (!options_.ephemeral_storage_bytes && before_.status().capacity().contains("ephemeral-storage"))
      storage = before_.status().capacity().get("ephemeral-storage");
    std::string storage_left = schema::Quantity::of(own.allocatable_ephemeral_storage).text();
    if (!options_.ephemeral_storage_bytes && before_.status().allocatable().contains("ephemeral-storage"))
      storage_left = before_.status().allocatable().get("ephemeral-storage");
    status.set_capacity("cpu", cpu_text(own.cpu_milli));
    status.set_capacity("ephemeral-storage", storage);
    status.set_capacity("memory", bytes_text(own.memory_bytes));
    status.set_capacity("pods", std::to_string(options_.pods_max));
    status.set_allocatable("cpu", cpu_text(own.cpu_milli));
    status.set_allocatable("ephemeral-storage", storage_left);
    status.set_allocatable("memory", bytes_text(own.allocatable_memory));
    status.set_allocatable("pods", std::to_string(options_.pods_max));
  }

  void condition(std::string_view type, bool met, std::string_view reason, std::string_view message) {
    const std::string_view status = met ? "True" : "False";
    NodeCondition old;
    for (NodeCondition c : before_.status().conditions())
      if (c.type() == type) old = c;
    auto out = out_.mutable_status().add_conditions();
    out.set_type(type);
    out.set_status(status);
    out.set_lastHeartbeatTime(now_);
    const bool same = !old.empty() && old.status() == status && !old.lastTransitionTime().empty();
    out.set_lastTransitionTime(same ? std::string(old.lastTransitionTime()) : now_);
    out.set_reason(reason);
    out.set_message(message);
  }

  void conditions() {
    const bool memory_low = machine_.memory_bytes > 0 && machine_.memory_available < options_.memory_free_min;
    const bool disk_low = machine_.disk_free < options_.disk_free_min;
    if (memory_low)
      condition("MemoryPressure", true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available");
    else
      condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available");
    if (disk_low)
      condition("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure");
    else
      condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
    condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
    std::string why;
    if (!runtime_.answers)
      why = fmt::format("container runtime is down: {}", runtime_.why_runtime);
    else if (!runtime_.runtime_ready)
      why = fmt::format("container runtime status check may not have completed yet: {}", runtime_.why_runtime);
    else if (!runtime_.network_ready)
      why = fmt::format("container runtime network not ready: {}", runtime_.why_network);
    else if (options_.ips.get().empty())
      why = "node address is not known yet: it follows from the pod CIDR, which the server has not assigned";
    if (why.empty())
      condition("Ready", true, "KubeletReady", "kubelet is posting ready status");
    else
      condition("Ready", false, "KubeletNotReady", why);
    for (NodeCondition c : before_.status().conditions())
      if (c.type() != "MemoryPressure" && c.type() != "DiskPressure" && c.type() != "PIDPressure" &&
          c.type() != "Ready")
        document_.copy(out_.mutable_status().add_conditions().mutable_node(), c.node());
  }

  template <class Status>
  static void address(Status& status, std::string_view type, std::string_view text) {
    auto out = status.add_addresses();
    out.set_type(type);
    out.set_address(text);
  }

  template <class Info>
  void info(Info out) {
    out.set_machineID(machine_.machine_id);
    out.set_systemUUID(machine_.system_uuid);
    out.set_bootID(machine_.boot_id);
    out.set_kernelVersion(machine_.kernel_version);
    out.set_osImage(machine_.os_image);
    out.set_containerRuntimeVersion(fmt::format("{}://{}", runtime_.name, runtime_.version));
    out.set_kubeletVersion(options_.version);
    out.set_operatingSystem("linux");
    out.set_architecture(machine_.architecture);
  }

  const MachineFacts& machine_;
  const RuntimeFacts& runtime_;
  const NodeOptions& options_;
  const std::string now_;
  const Node before_;
  schema::Document document_;
  Node out_;
};

}  // namespace

schema::Document node_document(const MachineFacts& machine, const RuntimeFacts& runtime, const NodeOptions& options,
                               WallTime now, const schema::Object& before) {
  return Writer(machine, runtime, options, now, before).run();
}

namespace {

// Same in everything but the heartbeat.
bool same_condition(const schema::Node* a, const schema::Node* b) {
  for (const char* key : {"type", "status", "reason", "message"}) {
    const schema::Node *left = a->find(key), *right = b->find(key);
    if ((left ? left->string() : "") != (right ? right->string() : "")) return false;
  }
  return true;
}

bool same_conditions(const schema::Node* a, const schema::Node* b) {
  if (!a || !b || a->size() != b->size()) return false;
  const schema::Node* right = b->first();
  for (const schema::Node* left = a->first(); left; left = left->next(), right = right->next())
    if (!same_condition(left, right)) return false;
  return true;
}

// What of the wanted status is not there yet; empty: nothing. `report`: heartbeats count as well.
std::string status_patch(const schema::Document& wanted, const schema::Object& before, bool report) {
  const schema::Node* old = before->root()->find("status");
  schema::Document patch;
  schema::Node* status = nullptr;
  for (const schema::Node* field = wanted.root()->find("status")->first(); field; field = field->next()) {
    const schema::Node* was = old ? old->find(field->key()) : nullptr;
    const bool same = field->key() == "conditions" && !report ? same_conditions(field, was) : schema::equal(field, was);
    if (was && same) continue;
    if (!status) {
      status = patch.member(patch.root(), "status");
      patch.make_object(status);
    }
    patch.copy(patch.member(status, field->key()), field);
  }
  return status ? schema::to_json(patch) : std::string();
}

// Labels and annotations that the Node lacks.
std::string metadata_patch(const schema::Document& wanted, const schema::Object& before) {
  schema::Document patch;
  bool any = false;
  for (const char* map : {"labels", "annotations"}) {
    const schema::Node* own = wanted.root()->find("metadata", map);
    const schema::Node* old = before->root()->find("metadata", map);
    for (const schema::Node* entry = own ? own->first() : nullptr; entry; entry = entry->next()) {
      const schema::Node* was = old ? old->find(entry->key()) : nullptr;
      if (was && was->string() == entry->string()) continue;
      schema::Node* metadata = patch.member(patch.root(), "metadata");
      if (!metadata->is_container()) patch.make_object(metadata);
      schema::Node* out = patch.member(metadata, map);
      if (!out->is_container()) patch.make_object(out);
      patch.set(patch.member(out, entry->key()), entry->string());
      any = true;
    }
  }
  return any ? schema::to_json(patch) : std::string();
}

}  // namespace

struct NodeStatus::State : std::enable_shared_from_this<NodeStatus::State> {
  State(client::Client& client, cri::Runtime& runtime, run::Executor& executor_behind, run::Executor& jobs_behind,
        os::Disk& disk, client::EventRecorder& events, NodeOptions options)
      : client(client),
        runtime(runtime),
        executor(executor_behind),
        jobs(jobs_behind),
        disk(disk),
        events(events),
        options(std::move(options)) {}

  client::Key node_key() const { return {"", options.name}; }

  // --- The Node

  Result<schema::Object> register_node(const schema::Document& wanted) {
    auto found = client.get(kinds::core_v1::nodes, node_key());
    if (!found && found.error().code != 404) return found;
    if (!found) {
      schema::Document fresh = wanted.clone();
      fresh.erase(fresh.root(), "status");
      Node out(fresh);
      for (const NodeTaint& taint : options.taints) {
        auto t = out.mutable_spec().add_taints();
        t.set_key(taint.key);
        if (!taint.value.empty()) t.set_value(taint.value);
        t.set_effect(taint.effect);
      }
      found = client.create(kinds::core_v1::nodes, fresh, "");
      if (!found) return found;
      log(LogLevel::info, "node", "registered", {{"node", options.name}});
    }
    if (const std::string patch = metadata_patch(wanted, *found); !patch.empty())
      return client.patch(kinds::core_v1::nodes, node_key(), client::PatchType::merge, patch);
    return found;
  }

  static std::string_view ready_word(const schema::Object& node) {
    for (NodeCondition condition : Node(node).status().conditions())
      if (condition.type() == "Ready") return condition.status();
    return {};
  }

  // As kubelet does, about the node by its name instead of its uid: that is where `kubectl describe node` looks.
  void tell_change(const schema::Object& before, const schema::Object& after) {
    const bool ready = ready_word(after) == "True";
    if (ready_word(before) == ready_word(after) || (!ready && ready_word(before).empty())) return;
    client::EventAbout about = client::EventAbout::object(after);
    about.uid = options.name;
    const std::string_view reason = ready ? "NodeReady" : "NodeNotReady";
    events.normal(about, reason, fmt::format("Node {} status is now: {}", options.name, reason));
  }

  // After a restart the node has the address it had, until somebody knows better.
  void remember_addresses(const schema::Object& known) const {
    if (!options.ips.get().empty()) return;
    std::vector<std::string> ips;
    for (auto address : Node(known).status().addresses())
      if (address.type() == "InternalIP") ips.emplace_back(address.address());
    options.ips.set(std::move(ips));
  }

  // Looks at the machine and writes what changed. Blocks.
  Status look() {
    const RuntimeFacts facts = read_runtime_facts(runtime);
    const MachineFacts machine = read_machine_facts(disk, options.state_folder);
    schema::Object known;
    if (!must_read.exchange(false)) {
      std::lock_guard lock(mutex);
      known = node;
    }
    if (!known) {
      const schema::Document wanted = node_document(machine, facts, options, executor.wall_now(), nullptr);
      auto read = register_node(wanted);
      must_read = !read;
      if (!read) return fail(std::move(read).error());
      known = *read;
      remember_addresses(known);
    }
    const schema::Document wanted = node_document(machine, facts, options, executor.wall_now(), known);
    const bool report = executor.now() - reported_at >= options.report_interval;
    const std::string patch = status_patch(wanted, known, report);
    if (!patch.empty()) {
      auto answer = client.patch(kinds::core_v1::nodes, node_key(), client::PatchType::merge, patch, "status");
      if (!answer) {
        must_read = true;  // gone or changed
        return fail(std::move(answer).error());
      }
      tell_change(known, *answer);
      known = *answer;
      reported_at = executor.now();
    }
    is_ready = facts.answers && facts.runtime_ready && facts.network_ready && !options.ips.get().empty();
    std::lock_guard lock(mutex);
    node = known;
    return {};
  }

  // One look at a time. Who asks for one meanwhile gets another: what he saw may have come after this one's question.
  bool begin_look() {
    std::lock_guard lock(mutex);
    asked = true;
    return !std::exchange(looking, true);
  }
  bool asked_again() {
    std::lock_guard lock(mutex);
    looking = asked;
    return asked;
  }

  void look_and_again() {
    if (!begin_look()) return;
    Status done;
    do {
      {
        std::lock_guard lock(mutex);
        asked = false;
      }
      done = look();
      if (!done) log(LogLevel::warn, "node", "write the node's status", {{"error", done.error().message}});
    } while (asked_again());
    std::lock_guard lock(mutex);
    look_timer = executor.after(pause_after(done), [weak = weak_from_this()] {
      if (auto self = weak.lock())
        self->jobs.post([weak] {
          if (auto again = weak.lock()) again->look_and_again();
        });
    });
  }

  // Until it is Ready something is just about to change (the runtime reads a new network configuration when it comes
  // to it): soon, then less and less often.
  Duration pause_after(const Status& done) {
    if (done && is_ready) {
      unready_pause = unready_pause_min;
      return options.look_interval;
    }
    const Duration pause = done ? unready_pause : unready_pause_max;
    unready_pause = std::min(2 * unready_pause, unready_pause_max);
    return std::min(options.look_interval, pause);
  }

  // --- The Lease

  Status renew() {
    const client::Key key{lease_namespace, options.name};
    if (!lease) {
      auto found = client.get(kinds::coordination_v1::leases, key);
      if (found)
        lease = *found;
      else if (found.error().code != 404)
        return fail(std::move(found).error());
    }
    schema::Document document = lease ? lease->clone() : schema::Document(Lease::schema_type());
    Lease out(document);
    if (!lease) {
      set_apis(document, "coordination.k8s.io/v1", "Lease");
      out.mutable_metadata().set_name(options.name);
      out.mutable_metadata().set_namespace(lease_namespace);
    }
    own_by_node(document);
    out.mutable_spec().set_holderIdentity(options.name);
    out.mutable_spec().set_leaseDurationSeconds(options.lease_seconds);
    out.mutable_spec().set_renewTime(format_micro_time(executor.wall_now()));
    auto answer = lease ? client.update(kinds::coordination_v1::leases, document)
                        : client.create(kinds::coordination_v1::leases, document, lease_namespace);
    lease = answer ? *answer : nullptr;
    if (!answer) return fail(std::move(answer).error());
    return {};
  }

  // The Lease goes with its Node.
  void own_by_node(schema::Document& document) {
    schema::Object known;
    {
      std::lock_guard lock(mutex);
      known = node;
    }
    Lease out(document);
    if (!known || out.metadata().ownerReferences().size() > 0) return;
    auto owner = out.mutable_metadata().add_ownerReferences();
    owner.set_apiVersion("v1");
    owner.set_kind("Node");
    owner.set_name(options.name);
    owner.set_uid(client::uid_of(known));
  }

  void renew_and_again() {
    const Monotonic begun = executor.now();
    Status done = renew();
    if (!done && done.error().code == 409) done = renew();  // with what is there now
    if (!done) log(LogLevel::warn, "node", "renew the node's lease", {{"error", done.error().message}});
    if (done) {
      const auto last = std::exchange(renewed_from, begun);
      if (last && executor.now() - *last > 2 * options.lease_interval) must_read = true, look_and_again();
    }
    const Duration next = done ? options.lease_interval : std::min<Duration>(options.lease_interval, 2s);
    std::lock_guard lock(mutex);
    lease_timer = executor.after(next, [weak = weak_from_this()] {
      if (auto self = weak.lock())
        self->jobs.post([weak] {
          if (auto again = weak.lock()) again->renew_and_again();
        });
    });
  }

  client::Client& client;
  cri::Runtime& runtime;
  run::Gate executor, jobs;
  os::Disk& disk;
  client::EventRecorder& events;
  const NodeOptions options;
  std::mutex mutex;
  schema::Object node, lease;
  Monotonic reported_at;
  std::optional<Monotonic> renewed_from;  // when the last renewal that came through had begun
  std::atomic<bool> is_ready{false};
  std::atomic<bool> must_read{true};  // the Node as we know it may be out of date
  bool looking = false, asked = false;
  Duration unready_pause = unready_pause_min;
  std::unique_ptr<run::Timer> look_timer, lease_timer;
};

NodeStatus::NodeStatus(client::Client& client, cri::Runtime& runtime, run::Executor& executor, run::Executor& jobs,
                       os::Disk& disk, client::EventRecorder& events, NodeOptions options)
    : state_(std::make_shared<State>(client, runtime, executor, jobs, disk, events, std::move(options))) {}

NodeStatus::~NodeStatus() {
  state_->executor.close();
  state_->jobs.close();
}

void NodeStatus::start() {
  state_->jobs.post([weak = std::weak_ptr(state_)] {
    if (auto self = weak.lock()) {
      self->look_and_again();
      self->renew_and_again();
    }
  });
}

void NodeStatus::look_now() {
  state_->jobs.post([weak = std::weak_ptr(state_)] {
    if (auto self = weak.lock()) self->look_and_again();
  });
}

bool NodeStatus::ready() const { return state_->is_ready; }

}  // namespace dure::pods
