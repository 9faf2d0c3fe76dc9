// Job: runs pods until enough have succeeded. Source of the behaviour: batch/v1 Job of 1.34.
//
// A pod carries the finalizer batch.kubernetes.io/job-tracking until it is counted: its uid goes into
// status.uncountedTerminatedPods, then the finalizer goes, then the counter rises, so that no pod is lost or counted
// twice whenever this process dies.
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

LoopSpec job(Client& client, Caches& caches);
// Takes the tracking finalizer from pods whose Job is gone.
LoopSpec job_orphans(Client& client, Caches& caches);
// Deletes finished Jobs after spec.ttlSecondsAfterFinished.
LoopSpec ttl_after_finished(Client& client, Caches& caches);

}  // namespace dure::controllers
