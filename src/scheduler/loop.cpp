#include "scheduler/loop.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "base/log.h"
#include "base/text.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "scheduler/plan.h"

namespace dure::scheduler {
namespace {

using client::Key;
using client::Outcome;
using kinds::core_v1::Pod;

// Pods of one pass all go through the same key: order among them matters, so they are planned together.
const Key kPending{"", "pending"};
constexpr Duration kLookAgain = 5min;

bool waits_for_node(const Pod& pod) {
  return pod.spec().nodeName().empty() && pod.spec().schedulerName() == default_scheduler &&
         pod.status().phase() != "Succeeded" && pod.status().phase() != "Failed" &&
         !pod.metadata().has_deletionTimestamp() && pod.spec().schedulingGates().empty();
}

bool goes_first(const PodNeeds& a, const PodNeeds& b) {
  if (a.priority != b.priority) return a.priority > b.priority;
  const std::string_view older = Pod(a.pod).metadata().creationTimestamp(),
                         newer = Pod(b.pod).metadata().creationTimestamp();
  if (older != newer) return older < newer;
  return client::key_of(a.pod) < client::key_of(b.pod);
}

class Scheduling {
 public:
  Scheduling(client::Client& client, client::Caches& caches, client::EventRecorder& events, run::Executor& executor)
      : client_(client),
        pods_(caches.of(kinds::core_v1::pods)),
        nodes_(caches.of(kinds::core_v1::nodes)),
        events_(events),
        executor_(executor) {}

  Outcome pass() {
    forget_seen();
    const std::vector<schema::Object> all = pods_.list();
    std::vector<std::shared_ptr<const PodNeeds>> waiting;
    for (const schema::Object& object : all)
      if (waits_for_node(Pod(object)) && !assumed_.contains(std::string(client::uid_of(object))))
        waiting.push_back(std::make_shared<const PodNeeds>(needs_of(object)));
    if (waiting.empty()) return Outcome::done();  // most passes: a pod or node changed that concerns nobody here
    std::sort(waiting.begin(), waiting.end(), [](const auto& a, const auto& b) { return goes_first(*a, *b); });
    Snapshot snapshot(nodes_.list(), all);
    for (const auto& [uid, bound] : assumed_) snapshot.place(bound.needs, bound.node);
    std::optional<Error> trouble;
    bool left = false;
    for (const auto& needs : waiting) {
      auto placed = schedule(needs, snapshot);
      left = left || !placed || !*placed;
      if (!placed) trouble = std::move(placed).error();
    }
    if (trouble) return Outcome::failed(std::move(*trouble));
    return left ? Outcome::after(kLookAgain) : Outcome::done();
  }

 private:
  struct Bound {
    std::shared_ptr<const PodNeeds> needs;
    std::string node;
  };

  // A binding counts from the moment it was made until the cache shows it; after a restart the cache is all there is.
  void forget_seen() {
    std::erase_if(assumed_, [&](const auto& entry) {
      const schema::Object now = pods_.get(client::key_of(entry.second.needs->pod));
      return !now || client::uid_of(now) != entry.first || !Pod(now).spec().nodeName().empty();
    });
  }

  // False: no node takes it. An error: it could not be bound, for a reason that has nothing to do with the nodes.
  Result<bool> schedule(const std::shared_ptr<const PodNeeds>& needs, Snapshot& snapshot) {
    const Decision decision = decide(*needs, snapshot, fnv1a_64(client::uid_of(needs->pod)));
    if (decision.node.empty()) {
      say_unschedulable(needs->pod, decision.message);
      return false;
    }
    if (Status bound = bind(needs->pod, decision.node); !bound) {
      if (bound.error().is("NotFound") || bound.error().is("Conflict")) return true;  // deleted or bound meanwhile
      say_unschedulable(needs->pod, bound.error().message);
      return fail(std::move(bound).error());
    }
    snapshot.place(needs, decision.node);
    assumed_[std::string(client::uid_of(needs->pod))] = {needs, decision.node};
    events_.normal(client::EventAbout::object(needs->pod), "Scheduled",
                   "Successfully assigned " + client::key_of(needs->pod).text() + " to " + decision.node);
    return true;
  }

  Status bind(const schema::Object& pod, const std::string& node) {
    schema::Document document(kinds::core_v1::Binding::type());
    kinds::core_v1::Binding binding(document);
    binding.mutable_metadata().set_name(client::name_of(pod));
    binding.mutable_metadata().set_namespace(client::namespace_of(pod));
    binding.mutable_metadata().set_uid(client::uid_of(pod));
    binding.mutable_target().set_kind("Node");
    binding.mutable_target().set_name(node);
    auto bound = client_.create_subresource(kinds::core_v1::pods, client::key_of(pod), "binding", document);
    if (!bound) return fail(std::move(bound.error()));
    return {};
  }

  void say_unschedulable(const schema::Object& object, const std::string& message) {
    for (const auto& condition : Pod(object).status().conditions())
      if (condition.type() == "PodScheduled" && condition.status() == "False" && condition.message() == message) return;
    events_.warning(client::EventAbout::object(object), "FailedScheduling", message);
    schema::Document document = object->clone();
    Pod pod(document);
    auto status = pod.mutable_status();
    status.set_phase("Pending");
    bool found = false;
    for (auto condition : status.mutable_conditions()) {
      if (condition.type() != "PodScheduled") continue;
      found = true;
      fill(condition, message);
    }
    if (!found) fill(status.add_conditions(), message);
    if (auto updated = client_.update(kinds::core_v1::pods, document, "status");
        !updated && !updated.error().is("Conflict"))
      log(LogLevel::warn, "scheduler", "cannot say why a pod waits",
          {{"pod", client::key_of(object).text()}, {"why", updated.error().message}});
  }

  void fill(kinds::core_v1::PodCondition condition, const std::string& message) {
    if (condition.status() != "False") condition.set_lastTransitionTime(format_time(executor_.wall_now()));
    condition.set_type("PodScheduled");
    condition.set_status("False");
    condition.set_reason("Unschedulable");
    condition.set_message(message);
  }

  client::Client& client_;
  client::Cache& pods_;
  client::Cache& nodes_;
  client::EventRecorder& events_;
  run::Executor& executor_;
  std::map<std::string, Bound> assumed_;  // by uid
};

}  // namespace

client::LoopSpec scheduling(client::Client& client, client::Caches& caches, client::EventRecorder& events,
                            run::Executor& executor) {
  auto state = std::make_shared<Scheduling>(client, caches, events, executor);
  auto always = [](const schema::Object&, const std::function<void(Key)>& enqueue) { enqueue(kPending); };
  client::LoopSpec spec;
  spec.name = "scheduler";
  spec.watches = {{&kinds::core_v1::pods, always}, {&kinds::core_v1::nodes, always}};
  spec.owns = {"binding of v1 Pod"};
  spec.reconcile = [state](const Key&) { return state->pass(); };
  return spec;
}

}  // namespace dure::scheduler
