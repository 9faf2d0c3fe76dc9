#include "controllers/job.h"

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "controllers/claims.h"
#include "controllers/conditions.h"
#include "controllers/job_plan.h"
#include "controllers/pod_control.h"
#include "controllers/pod_facts.h"
#include "controllers/pod_template.h"

namespace dure::controllers {
namespace {

constexpr int64_t burst_max = 500;
constexpr size_t uncounted_max = 500;

// One reconcile of one Job.
class JobSync {
 public:
  struct Tools {
    Client& client;
    run::Executor& executor;
    Cache& jobs;
    Cache& pods;
    EventRecorder& events;
  };

  JobSync(const Tools& tools, Object job, std::vector<Object> pods)
      : tools_(tools), job_(std::move(job)), pods_(std::move(pods)), now_(tools.executor.wall_now()) {}

  Result<Outcome> run() {
    DURE_CHECK(start());
    sum_ = tally(view(), pods_);
    verdict_ = failure_of(view(), sum_, pods_, now_);
    if (!verdict_) verdict_ = success_of(view(), sum_);
    Status acted;
    if (!client::is_terminating(job_)) {
      if (verdict_)
        acted = stop_all();
      else
        acted = manage();
      reload();
      if (acted && !verdict_) verdict_ = success_of(view(), sum_);
    }
    DURE_CHECK(count_finished());
    if (!acted) return fail(std::move(acted).error());
    return next_look();
  }

 private:
  batch::Job view() const { return batch::Job(job_); }

  // After our own writes; the caches have them.
  void reload() {
    for (Object& pod : pods_)
      if (Object newer = tools_.pods.get(client::key_of(pod)); newer && client::uid_of(newer) == client::uid_of(pod))
        pod = newer;
    std::vector<Object> all = tools_.pods.by_index("controller", client::uid_of(job_));
    if (all.size() >= pods_.size()) pods_ = std::move(all);
    sum_ = tally(view(), pods_);
  }

  Status start() {
    Document next = job_->clone();
    batch::JobStatus status = batch::Job(next).mutable_status();
    const bool suspended = view().spec().suspend();
    const auto noted = find_condition(status.node(), "Suspended");
    bool changed = false;
    if (suspended && !(noted && noted->status == "True")) {
      changed |= set_condition(next, status.mutable_node(), {"Suspended", "True", "JobSuspended", "Job suspended"},
                               now_, SecondTime::last_probe);
      status.clear_startTime();
      tools_.events.normal(EventAbout::object(job_), "Suspended", "Job suspended");
    }
    if (!suspended && noted && noted->status == "True") {
      changed |= set_condition(next, status.mutable_node(), {"Suspended", "False", "JobResumed", "Job resumed"}, now_,
                               SecondTime::last_probe);
      status.set_startTime(format_time(now_));
      tools_.events.normal(EventAbout::object(job_), "Resumed", "Job resumed");
    }
    if (!suspended && status.startTime().empty()) {
      status.set_startTime(format_time(now_));
      changed = true;
    }
    return changed ? write(std::move(next)) : Status{};
  }

  // What runs when the job ends is counted as failed when it has ended.
  Status stop_all() { return remove(sum_.active); }

  Status manage() {
    const auto active = static_cast<int64_t>(sum_.active.size());
    if (view().spec().suspend()) return let_go(sum_.active);
    const int64_t wanted = wanted_active(view(), sum_);
    if (active > wanted) {
      std::vector<Object> surplus = in_deletion_order(sum_.active, sum_.active, now_);
      surplus.resize(static_cast<size_t>(active - wanted));
      return let_go(surplus);
    }
    int64_t missing = std::min(wanted - active, burst_max);
    const bool waits_for_leaving =
        view().spec().podReplacementPolicy() == "Failed" || view().spec().has_podFailurePolicy();
    if (waits_for_leaving) missing -= static_cast<int64_t>(sum_.terminating.size());
    if (missing <= 0) return {};
    pause_ = back_off(pods_, now_);
    if (pause_ > Duration::zero()) return {};
    return is_indexed(view()) ? make_indexed(free_indexes(view(), sum_, missing)) : make(missing);
  }

  Document pod_document() const {
    Document pod = pod_from_template(view().spec().template_(), batch::jobs, job_);
    add_finalizer(pod, job_tracking);
    auto metadata = core::Pod(pod).mutable_metadata();
    const std::string name(client::name_of(job_)), uid(client::uid_of(job_));
    for (const std::string_view prefix : {"", "batch.kubernetes.io/"}) {
      metadata.set_labels(std::string(prefix) + "job-name", name);
      metadata.set_labels(std::string(prefix) + "controller-uid", uid);
    }
    return pod;
  }

  Status make(int64_t count) {
    const Document pod = pod_document();
    return slow_start(static_cast<size_t>(count), [&](size_t) { return create(pod); });
  }

  Status make_indexed(const std::vector<int64_t>& indexes) {
    return slow_start(indexes.size(), [&](size_t i) { return create(indexed_pod(indexes[i])); });
  }

  Document indexed_pod(int64_t index) const {
    Document pod = pod_document();
    core::Pod made(pod);
    const std::string text = std::to_string(index), name(client::name_of(job_));
    made.mutable_metadata().set_annotations(index_annotation, text);
    made.mutable_metadata().set_labels(index_annotation, text);
    made.mutable_metadata().set_generateName(name + "-" + text + "-");
    if (made.spec().hostname().empty()) made.mutable_spec().set_hostname(name + "-" + text);
    auto add = [&](core::Container container) {
      for (const core::EnvVar env : container.env())
        if (env.name() == "JOB_COMPLETION_INDEX") return;
      core::EnvVar env = container.add_env();
      env.set_name("JOB_COMPLETION_INDEX");
      auto field = env.mutable_valueFrom().mutable_fieldRef();
      field.set_apiVersion("v1");
      field.set_fieldPath("metadata.labels['batch.kubernetes.io/job-completion-index']");
    };
    for (core::Container container : made.mutable_spec().mutable_initContainers()) add(container);
    for (core::Container container : made.mutable_spec().mutable_containers()) add(container);
    return pod;
  }

  Status create(const Document& pod) {
    return make_pod(tools_.client, tools_.events, EventAbout::object(job_), pod, client::namespace_of(job_));
  }

  // Superfluous and suspended pods did not fail: they are no longer tracked when they are deleted.
  Status let_go(const std::vector<Object>& pods) {
    for (const Object& pod : pods) DURE_CHECK(untrack(pod));
    return remove(pods);
  }

  Status remove(const std::vector<Object>& pods) {
    return remove_pods(tools_.client, tools_.events, EventAbout::object(job_), pods);
  }

  // Three steps, each safe to be the last one this process does.
  Status count_finished() {
    Document noted = job_->clone();
    batch::JobStatus status = batch::Job(noted).mutable_status();
    std::vector<Object> release;
    note(status, release);
    fill(noted, status);
    if (!schema::equal(job_->root()->find("status"), noted.root()->find("status"))) DURE_CHECK(write(std::move(noted)));
    for (const Object& pod : release) DURE_CHECK(untrack(pod));
    DURE_CHECK(settle());
    return conclude();
  }

  void note(batch::JobStatus status, std::vector<Object>& release) {
    auto uncounted = status.uncountedTerminatedPods();
    const size_t room = uncounted_max;
    size_t taken = uncounted.succeeded().size() + uncounted.failed().size();
    auto take = [&](const std::vector<Object>& pods, bool succeeded) {
      for (const Object& pod : pods) {
        if (taken >= room) return;
        const std::string_view uid = client::uid_of(pod);
        const bool is_noted = uncounted.succeeded().contains(uid) || uncounted.failed().contains(uid);
        release.push_back(pod);
        if (is_noted) continue;
        if (!succeeded && policy_action(view(), pod, nullptr) == "Ignore") continue;
        if (succeeded && is_indexed(view())) continue;  // counted by index
        if (succeeded)
          status.mutable_uncountedTerminatedPods().add_succeeded(uid);
        else
          status.mutable_uncountedTerminatedPods().add_failed(uid);
        ++taken;
      }
    };
    take(sum_.succeeded, true);
    take(sum_.failed, false);
  }

  void fill(Document& next, batch::JobStatus status) {
    status.set_active(static_cast<int64_t>(sum_.active.size()));
    status.set_ready(sum_.ready);
    status.set_terminating(static_cast<int64_t>(sum_.terminating.size()));
    if (is_indexed(view())) {
      status.set_completedIndexes(format_indexes(sum_.succeeded_indexes));
      status.set_succeeded(static_cast<int64_t>(sum_.succeeded_indexes.size()));
    }
    if (!verdict_) return;
    const char* interim = verdict_->condition == "Failed" ? "FailureTarget" : "SuccessCriteriaMet";
    set_condition(next, status.mutable_node(), {interim, "True", verdict_->reason, verdict_->message}, now_,
                  SecondTime::last_probe);
  }

  Status untrack(const Object& pod) {
    Object newest = tools_.pods.get(client::key_of(pod));
    if (!newest || client::uid_of(newest) != client::uid_of(pod)) return {};
    Document changed = newest->clone();
    if (!drop_finalizer(changed, job_tracking)) return {};
    // An object assumed to be leaving has a deletionTimestamp the server may not know yet; it decides.
    auto written = tools_.client.update(core::pods, changed);
    if (!written && written.error().code != 404) return fail(std::move(written).error());
    return {};
  }

  // Uids whose pods are no longer tracked become numbers.
  Status settle() {
    const auto uncounted = view().status().uncountedTerminatedPods();
    if (uncounted.succeeded().empty() && uncounted.failed().empty()) return {};
    std::set<std::string_view> tracked;
    std::vector<Object> pods = tools_.pods.by_index("controller", client::uid_of(job_));
    for (const Object& pod : pods)
      if (client::has_finalizer(pod, job_tracking)) tracked.insert(client::uid_of(pod));
    Document next = job_->clone();
    batch::JobStatus status = batch::Job(next).mutable_status();
    auto left = status.mutable_uncountedTerminatedPods();
    left.clear_succeeded();
    left.clear_failed();
    for (const std::string_view uid : uncounted.succeeded()) {
      if (tracked.contains(uid))
        left.add_succeeded(uid);
      else
        status.set_succeeded(status.succeeded() + 1);
    }
    for (const std::string_view uid : uncounted.failed()) {
      if (tracked.contains(uid))
        left.add_failed(uid);
      else
        status.set_failed(status.failed() + 1);
    }
    return write(std::move(next));
  }

  // The last word is said when every pod has ended and is counted.
  Status conclude() {
    if (!verdict_) return {};
    sum_ = tally(view(), tools_.pods.by_index("controller", client::uid_of(job_)));
    const auto uncounted = view().status().uncountedTerminatedPods();
    if (!sum_.active.empty() || !sum_.terminating.empty() || !sum_.succeeded.empty() || !sum_.failed.empty() ||
        !uncounted.succeeded().empty() || !uncounted.failed().empty())
      return {};
    Document next = job_->clone();
    batch::JobStatus status = batch::Job(next).mutable_status();
    status.set_active(0);
    status.set_ready(0);
    status.set_terminating(0);
    const Verdict verdict = *verdict_;
    set_condition(next, status.mutable_node(), {verdict.condition, "True", verdict.reason, verdict.message}, now_,
                  SecondTime::last_probe);
    if (verdict.condition == "Complete") status.set_completionTime(format_time(now_));
    DURE_CHECK(write(std::move(next)));
    if (verdict.condition == "Complete")
      tools_.events.normal(EventAbout::object(job_), "Completed", "Job completed");
    else
      tools_.events.warning(EventAbout::object(job_), verdict.reason, verdict.message);
    return {};
  }

  Status write(Document next) {
    DURE_TRY(job_, tools_.client.update(batch::jobs, next, "status"));
    return {};
  }

  Outcome next_look() const {
    std::optional<Duration> wait;
    if (pause_ > Duration::zero()) wait = pause_;
    const auto started = parse_time(view().status().startTime());
    if (started && view().spec().has_activeDeadlineSeconds() && !is_over(view())) {
      const Duration left = *started + std::chrono::seconds(view().spec().activeDeadlineSeconds()) - now_;
      if (!wait || left < *wait) wait = std::max<Duration>(left, 1ms);
    }
    return wait ? Outcome::after(*wait) : Outcome::done();
  }

  Tools tools_;
  Object job_;
  std::vector<Object> pods_;
  const WallTime now_;
  JobTally sum_;
  std::optional<Verdict> verdict_;
  Duration pause_ = Duration::zero();
};

class Jobs {
 public:
  Jobs(Client& client, Caches& caches)
      : client_(client),
        executor_(caches.executor()),
        jobs_(caches.of(batch::jobs)),
        pods_(caches.of(core::pods)),
        events_(EventRecorder::create(client, executor_, "job-controller")) {
    pods_.add_index("controller", controller_index);
  }

  void keys_of_pod(const Object& pod, const Enqueue& enqueue) const {
    enqueue_owners(pod, "Job", jobs_, selector_of, enqueue);
  }

  Outcome reconcile(const Key& key) {
    const Object job = jobs_.get(key);
    if (!job || is_over(batch::Job(job))) return Outcome::done();
    const std::string_view managed_by = batch::Job(job).spec().managedBy();
    if (!managed_by.empty() && managed_by != "kubernetes.io/job-controller") return Outcome::done();
    const Claimer claimer{client_, batch::jobs, job, core::pods, selector_of(job), std::string(job_tracking)};
    auto pods = claim(claimer, candidates_of(pods_, job));
    if (!pods) return Outcome::failed(std::move(pods).error());
    JobSync sync({client_, executor_, jobs_, pods_, *events_}, job, std::move(*pods));
    auto outcome = sync.run();
    if (outcome) return *outcome;
    if (outcome.error().code == 404) return Outcome::done();
    return Outcome::failed(std::move(outcome).error());
  }

 private:
  static Selector selector_of(const Object& job) { return Selector::from(batch::Job(job).spec().selector()); }

  Client& client_;
  run::Executor& executor_;
  Cache& jobs_;
  Cache& pods_;
  std::unique_ptr<EventRecorder> events_;
};

// Wakes for pods of a Job that go on carrying the finalizer.
void tracked_pod_key(const Object& pod, const Enqueue& enqueue) {
  if (client::has_finalizer(pod, job_tracking)) enqueue(client::key_of(pod));
}

}  // namespace

LoopSpec job(Client& client, Caches& caches) {
  auto jobs = std::make_shared<Jobs>(client, caches);
  LoopSpec spec;
  spec.name = "job";
  spec.watches = {
      {&batch::jobs, client::own_key(), {}},
      {&core::pods, [jobs](const Object& pod, const Enqueue& enqueue) { jobs->keys_of_pod(pod, enqueue); }, {}}};
  spec.owns = {"status of batch/v1 Job", "v1 Pod of Job"};
  spec.reconcile = [jobs](const Key& key) { return jobs->reconcile(key); };
  spec.workers = 5;
  return spec;
}

LoopSpec job_orphans(Client& client, Caches& caches) {
  Cache& jobs = caches.of(batch::jobs);
  Cache& pods = caches.of(core::pods);
  pods.add_index("controller", controller_index);
  LoopSpec spec;
  spec.name = "job-orphans";
  spec.watches = {{&core::pods, tracked_pod_key, {}},
                  {&batch::jobs,
                   [&pods](const Object& job, const Enqueue& enqueue) {
                     for (const Object& pod : pods.by_index("controller", client::uid_of(job)))
                       tracked_pod_key(pod, enqueue);
                   },
                   {}}};
  spec.owns = {"finalizer batch.kubernetes.io/job-tracking of orphaned v1 Pods"};
  spec.reconcile = [&client, &jobs, &pods](const Key& key) {
    const Object pod = pods.get(key);
    if (!pod || !client::has_finalizer(pod, job_tracking)) return Outcome::done();
    const client::OwnerReference owner = client::controller_of(pod);
    const Key job_key{key.namespace_, std::string(owner.name)};
    const Object job = owner.kind == "Job" ? jobs.get(job_key) : nullptr;
    const bool is_tracked = job && client::uid_of(job) == owner.uid && !is_over(batch::Job(job));
    if (is_tracked) return Outcome::done();
    if (!job && owner.kind == "Job") {
      auto live = client.get(batch::jobs, job_key);
      if (live && client::uid_of(*live) == owner.uid) return Outcome::done();
      if (!live && live.error().code != 404) return Outcome::failed(std::move(live).error());
    }
    Document changed = pod->clone();
    drop_finalizer(changed, job_tracking);
    return outcome_of(client.update(core::pods, changed));
  };
  return spec;
}

LoopSpec ttl_after_finished(Client& client, Caches& caches) {
  Cache& jobs = caches.of(batch::jobs);
  run::Executor& executor = caches.executor();
  LoopSpec spec;
  spec.name = "ttl-after-finished";
  spec.watches = {{&batch::jobs, client::own_key(), {}}};
  spec.owns = {"deletion of finished batch/v1 Jobs"};
  spec.reconcile = [&client, &jobs, &executor](const Key& key) {
    const Object job = jobs.get(key);
    if (!job || client::is_terminating(job)) return Outcome::done();
    const batch::Job view(job);
    const auto finished = finished_at(view);
    if (!finished || !view.spec().has_ttlSecondsAfterFinished()) return Outcome::done();
    const Duration left = *finished + std::chrono::seconds(view.spec().ttlSecondsAfterFinished()) - executor.wall_now();
    if (left > Duration::zero()) return Outcome::after(left);
    client::DeleteOptions options;
    options.propagation = client::Propagation::foreground;
    options.precondition_uid = std::string(client::uid_of(job));
    options.precondition_resource_version = std::string(client::resource_version_of(job));
    return outcome_of(client.remove(batch::jobs, key, options));
  };
  return spec;
}

}  // namespace dure::controllers
