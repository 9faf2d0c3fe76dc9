// Checkpoints: the whole store in one file `checkpoint-<sequence>`, so that the log before it can go.
//
// Written beside, synced, renamed, folder synced: a checkpoint that has its name is complete. Format: frames
// (log_frame.h) of kind `entries`, then one of kind `end`; each carries the revision and the reservation.
#pragma once

#include <atomic>

#include "store/index.h"
#include "store/log_segments.h"

namespace dure::store {

struct CheckpointState {
  uint64_t sequence = 0;  // the last log frame it contains; 0: there is no checkpoint
  Revision revision = 1, reserved = 1;
};

// Streams the snapshot; memory: one frame of about 256 KB. Gives up when `stop` becomes true ("Cancelled"). Answers
// its size.
Result<uint64_t> write_checkpoint(const LogPlace& place, CheckpointState state, const Index& index,
                                  const std::atomic<bool>& stop);

struct LoadedCheckpoint {
  CheckpointState state;
  Index index;
  uint64_t bytes = 0;
};
// The newest one; older ones and unfinished ones are removed. A damaged one is "StoreCorrupt".
Result<LoadedCheckpoint> load_checkpoint(const LogPlace& place);

// Removes all checkpoints before this one.
void drop_checkpoints_before(const LogPlace& place, uint64_t sequence);

}  // namespace dure::store
