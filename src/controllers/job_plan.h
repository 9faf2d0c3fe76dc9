// Job arithmetic: what pods count, how many more are wanted, which indexes are free. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controllers/api.h"
#include "kinds/views/batch_v1.h"

namespace dure::controllers {

namespace batch = kinds::batch_v1;

inline constexpr std::string_view job_tracking = "batch.kubernetes.io/job-tracking";
inline constexpr std::string_view index_annotation = "batch.kubernetes.io/job-completion-index";

// "1,3-5" and back; out of order and overlapping parts are accepted.
std::set<int64_t> parse_indexes(std::string_view text, int64_t end);
std::string format_indexes(const std::set<int64_t>& indexes);
// The index a pod was made for, or -1.
int64_t index_of(const Object& pod);

// A pod that failed, or that is leaving without having succeeded (it will not).
bool counts_as_failed(const core::Pod& pod, bool only_finished);

struct JobTally {
  std::vector<Object> active, terminating;  // not finished: staying, leaving
  std::vector<Object> succeeded, failed;    // finished, still with the tracking finalizer
  int64_t ready = 0;
  int64_t failed_ever = 0, succeeded_ever = 0;  // with status and uncounted ones; failures that do not count left out
  std::set<int64_t> succeeded_indexes;
};
JobTally tally(const batch::Job& job, const std::vector<Object>& pods);

bool is_indexed(const batch::Job& job);
// Finished: condition Complete or Failed is True.
bool is_over(const batch::Job& job);
std::optional<WallTime> finished_at(const batch::Job& job);

struct Verdict {
  std::string condition, reason, message;  // "Failed"; or "Complete"
};
// Why the job must end now, if it must.
std::optional<Verdict> failure_of(const batch::Job& job, const JobTally& tally, const std::vector<Object>& pods,
                                  WallTime now);
std::optional<Verdict> success_of(const batch::Job& job, const JobTally& tally);

// Pods that should be active beside those that are.
int64_t wanted_active(const batch::Job& job, const JobTally& tally);
std::vector<int64_t> free_indexes(const batch::Job& job, const JobTally& tally, int64_t count);
// Time before the next pod may be made: 10 s, 20 s, 40 s ... up to 10 min after the last failure since the last
// success.
Duration back_off(const std::vector<Object>& pods, WallTime now);
// What a failure-policy rule says to a failed pod: "Ignore", "FailJob", "Count"; empty: no rule matches.
std::string policy_action(const batch::Job& job, const Object& pod, std::string* message);

}  // namespace dure::controllers
