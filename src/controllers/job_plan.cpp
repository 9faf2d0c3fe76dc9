#include "controllers/job_plan.h"

#include <algorithm>

#include "base/text.h"
#include "controllers/conditions.h"
#include "controllers/pod_facts.h"

namespace dure::controllers {
namespace {

constexpr Duration back_off_first = 10s, back_off_max = 10min;
constexpr int64_t no_limit = INT32_MAX;

std::optional<WallTime> ended_at(const core::Pod& pod) {
  std::optional<WallTime> latest;
  for (const core::ContainerStatus status : pod.status().containerStatuses())
    if (const auto time = parse_time(status.state().terminated().finishedAt()); time && (!latest || *time > *latest))
      latest = time;
  if (!latest) latest = parse_time(pod.metadata().deletionTimestamp());
  if (!latest) latest = ready_changed_at(pod);
  if (!latest) latest = parse_time(pod.metadata().creationTimestamp());
  return latest;
}

bool only_failed_replaced(const batch::Job& job) {
  return job.spec().podReplacementPolicy() == "Failed" || job.spec().has_podFailurePolicy();
}

}  // namespace

std::set<int64_t> parse_indexes(std::string_view text, int64_t end) {
  std::set<int64_t> indexes;
  for (const std::string_view part : split(text, ',')) {
    const size_t dash = part.find('-');
    const auto first = parse_int(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_int(part.substr(dash + 1));
    if (!first || !last) continue;
    for (int64_t i = std::max<int64_t>(0, *first); i <= *last && i < end; ++i) indexes.insert(i);
  }
  return indexes;
}

std::string format_indexes(const std::set<int64_t>& indexes) {
  std::string text;
  for (auto at = indexes.begin(); at != indexes.end();) {
    const int64_t first = *at;
    int64_t last = first;
    while (++at != indexes.end() && *at == last + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(first);
    // Two neighbours are written apart, as upstream does.
    if (last == first + 1) text += "," + std::to_string(last);
    if (last > first + 1) text += "-" + std::to_string(last);
  }
  return text;
}

int64_t index_of(const Object& pod) { return parse_int(client::annotation(pod, index_annotation)).value_or(-1); }

bool counts_as_failed(const core::Pod& pod, bool only_finished) {
  if (pod.status().phase() == "Failed") return true;
  if (only_finished) return false;
  return !pod.metadata().deletionTimestamp().empty() && pod.status().phase() != "Succeeded";
}

bool is_indexed(const batch::Job& job) { return job.spec().completionMode() == "Indexed"; }

bool is_over(const batch::Job& job) {
  return is_condition_true(job.status().node(), "Complete") || is_condition_true(job.status().node(), "Failed");
}

std::optional<WallTime> finished_at(const batch::Job& job) {
  for (const std::string_view type : {"Complete", "Failed"}) {
    const auto condition = find_condition(job.status().node(), type);
    if (condition && condition->status == "True") return parse_time(condition->last_transition);
  }
  return {};
}

JobTally tally(const batch::Job& job, const std::vector<Object>& pods) {
  JobTally sum;
  const auto uncounted = job.status().uncountedTerminatedPods();
  sum.succeeded_ever = job.status().succeeded() + uncounted.succeeded().size();
  sum.failed_ever = job.status().failed() + uncounted.failed().size();
  if (is_indexed(job)) {
    sum.succeeded_indexes = parse_indexes(job.status().completedIndexes(), job.spec().completions());
    sum.succeeded_ever = 0;
  }
  const bool only_finished = only_failed_replaced(job);
  for (const Object& object : pods) {
    const core::Pod pod(object);
    const bool is_leaving = !pod.metadata().deletionTimestamp().empty();
    const bool is_tracked = client::has_finalizer(object, job_tracking);
    const std::string_view uid = client::uid_of(object);
    if (pod.status().phase() == "Succeeded") {
      if (!is_tracked) continue;
      sum.succeeded.push_back(object);
      if (is_indexed(job)) {
        if (const int64_t index = index_of(object); index >= 0 && index < job.spec().completions())
          sum.succeeded_indexes.insert(index);
      } else if (!uncounted.succeeded().contains(uid)) {
        ++sum.succeeded_ever;
      }
      continue;
    }
    if (counts_as_failed(pod, only_finished)) {
      if (is_tracked) {
        sum.failed.push_back(object);
        if (!uncounted.failed().contains(uid) && policy_action(job, object, nullptr) != "Ignore") ++sum.failed_ever;
      }
      if (is_leaving && pod.status().phase() != "Failed") sum.terminating.push_back(object);
      continue;
    }
    if (is_leaving) {
      sum.terminating.push_back(object);
      continue;
    }
    sum.active.push_back(object);
    sum.ready += is_ready(pod);
  }
  if (is_indexed(job)) sum.succeeded_ever = static_cast<int64_t>(sum.succeeded_indexes.size());
  return sum;
}

namespace {

int64_t restarts_of(const std::vector<Object>& pods) {
  int64_t restarts = 0;
  for (const Object& object : pods) {
    const core::Pod pod(object);
    if (pod.status().phase() != "Running" && pod.status().phase() != "Pending") continue;
    for (const core::ContainerStatus status : pod.status().initContainerStatuses()) restarts += status.restartCount();
    for (const core::ContainerStatus status : pod.status().containerStatuses()) restarts += status.restartCount();
  }
  return restarts;
}

bool is_past_back_off(const batch::Job& job, const JobTally& sum) {
  const int64_t limit = job.spec().has_backoffLimit() ? job.spec().backoffLimit() : 6;
  if (limit == no_limit) return false;
  if (sum.failed_ever > limit) return true;
  if (job.spec().template_().spec().restartPolicy() != "OnFailure") return false;
  const int64_t restarts = restarts_of(sum.active);
  return limit == 0 ? restarts > 0 : restarts >= limit;
}

bool is_past_deadline(const batch::Job& job, WallTime now) {
  if (!job.spec().has_activeDeadlineSeconds() || job.spec().suspend()) return false;
  const auto started = parse_time(job.status().startTime());
  return started && now - *started >= std::chrono::seconds(job.spec().activeDeadlineSeconds());
}

bool exit_codes_match(const batch::PodFailurePolicyOnExitCodesRequirement& rule, const core::Pod& pod) {
  auto matches = [&](const core::ContainerStatus& status) {
    if (rule.has_containerName() && rule.containerName() != status.name()) return false;
    const auto ended = status.state().terminated();
    if (ended.empty() || ended.exitCode() == 0) return false;
    const bool listed = rule.values().contains(ended.exitCode());
    return rule.operator_() == "NotIn" ? !listed : listed;
  };
  for (const core::ContainerStatus status : pod.status().containerStatuses())
    if (matches(status)) return true;
  for (const core::ContainerStatus status : pod.status().initContainerStatuses())
    if (matches(status)) return true;
  return false;
}

bool rule_matches(const batch::PodFailurePolicyRule& rule, const core::Pod& pod) {
  if (rule.has_onExitCodes()) return exit_codes_match(rule.onExitCodes(), pod);
  for (const batch::PodFailurePolicyOnPodConditionsPattern pattern : rule.onPodConditions()) {
    const core::PodCondition condition = pod_condition(pod, pattern.type());
    if (!condition.empty() && condition.status() == pattern.status()) return true;
  }
  return false;
}

}  // namespace

std::string policy_action(const batch::Job& job, const Object& object, std::string* message) {
  if (!job.spec().has_podFailurePolicy()) return {};
  const core::Pod pod(object);
  int64_t index = 0;
  for (const batch::PodFailurePolicyRule rule : job.spec().podFailurePolicy().rules()) {
    if (rule_matches(rule, pod)) {
      if (message)
        *message = "Pod " + client::key_of(object).text() + " failed matching " + std::string(rule.action()) +
                   " rule at index " + std::to_string(index);
      return std::string(rule.action());
    }
    ++index;
  }
  return {};
}

std::optional<Verdict> failure_of(const batch::Job& job, const JobTally& sum, const std::vector<Object>& pods,
                                  WallTime now) {
  const auto target = find_condition(job.status().node(), "FailureTarget");
  if (target && target->status == "True") return Verdict{"Failed", target->reason, target->message};
  for (const Object& pod : pods) {
    std::string message;
    if (core::Pod(pod).status().phase() == "Failed" && policy_action(job, pod, &message) == "FailJob")
      return Verdict{"Failed", "PodFailurePolicy", message};
  }
  if (is_past_back_off(job, sum))
    return Verdict{"Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"};
  if (is_past_deadline(job, now))
    return Verdict{"Failed", "DeadlineExceeded", "Job was active longer than specified deadline"};
  return {};
}

namespace {

bool success_policy_met(const batch::Job& job, const JobTally& sum) {
  if (!is_indexed(job)) return false;
  for (const batch::SuccessPolicyRule rule : job.spec().successPolicy().rules()) {
    std::set<int64_t> counted = sum.succeeded_indexes;
    size_t needed = 0;
    if (rule.has_succeededIndexes()) {
      const std::set<int64_t> listed = parse_indexes(rule.succeededIndexes(), job.spec().completions());
      std::erase_if(counted, [&](int64_t index) { return !listed.contains(index); });
      needed = listed.size();
    }
    if (rule.has_succeededCount()) needed = static_cast<size_t>(rule.succeededCount());
    if (needed > 0 && counted.size() >= needed) return true;
  }
  return false;
}

}  // namespace

std::optional<Verdict> success_of(const batch::Job& job, const JobTally& sum) {
  const auto met = find_condition(job.status().node(), "SuccessCriteriaMet");
  if (met && met->status == "True") return Verdict{"Complete", met->reason, met->message};
  if (success_policy_met(job, sum)) return Verdict{"Complete", "SuccessPolicy", "Matched rules at index 0"};
  if (!sum.active.empty()) return {};
  const bool enough =
      job.spec().has_completions() ? sum.succeeded_ever >= job.spec().completions() : sum.succeeded_ever > 0;
  if (!enough || (!job.spec().has_completions() && !sum.terminating.empty())) return {};
  return Verdict{"Complete", "CompletionsReached", "Reached expected number of succeeded pods"};
}

int64_t wanted_active(const batch::Job& job, const JobTally& sum) {
  const auto active = static_cast<int64_t>(sum.active.size());
  const int64_t parallelism = job.spec().parallelism();
  if (!job.spec().has_completions()) return sum.succeeded_ever > 0 ? active : parallelism;
  return std::clamp<int64_t>(job.spec().completions() - sum.succeeded_ever, 0, parallelism);
}

std::vector<int64_t> free_indexes(const batch::Job& job, const JobTally& sum, int64_t count) {
  std::set<int64_t> taken = sum.succeeded_indexes;
  for (const Object& pod : sum.active) taken.insert(index_of(pod));
  if (only_failed_replaced(job))
    for (const Object& pod : sum.terminating) taken.insert(index_of(pod));
  std::vector<int64_t> free;
  for (int64_t i = 0; i < job.spec().completions() && static_cast<int64_t>(free.size()) < count; ++i)
    if (!taken.contains(i)) free.push_back(i);
  return free;
}

Duration back_off(const std::vector<Object>& pods, WallTime now) {
  std::optional<WallTime> last_success, last_failure;
  std::vector<WallTime> failures;
  for (const Object& object : pods) {
    const core::Pod pod(object);
    const auto ended = ended_at(pod);
    if (!ended) continue;
    if (pod.status().phase() == "Succeeded" && (!last_success || *ended > *last_success)) last_success = ended;
    if (pod.status().phase() == "Failed") failures.push_back(*ended);
  }
  int64_t count = 0;
  for (const WallTime failure : failures) {
    if (last_success && failure <= *last_success) continue;
    ++count;
    if (!last_failure || failure > *last_failure) last_failure = failure;
  }
  if (count == 0) return Duration::zero();
  Duration wait = back_off_first;
  for (int64_t i = 1; i < count && wait < back_off_max; ++i) wait *= 2;
  return std::max(Duration::zero(), std::min<Duration>(wait, back_off_max) - (now - *last_failure));
}

}  // namespace dure::controllers
