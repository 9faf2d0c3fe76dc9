// ControlPlane: the server's process on its simulated machine: store, API with its real judges, controllers, scheduler.
//
// The machine (disk, keys) outlives the process, which starts, stops, is killed, and loses power. Owner: the World.
// Thread: one.
#pragma once

#include <memory>
#include <vector>

#include "apiserver/auth/auth.h"
#include "client/cache.h"
#include "client/events.h"
#include "client/loop.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/key.h"
#include "run/gate.h"
#include "run/virtual_executor.h"
#include "sim/link.h"
#include "sim/pumped_store.h"
#include "store/log_store.h"

namespace dure::sim {

struct ControlPlaneOptions {
  size_t history_events = 16384, watch_events = 16384;  // small ones make watches expire
  size_t segment_bytes = 1 << 20, checkpoint_log_bytes = 1 << 20;
};

enum class Death { clean, kill, power_loss };

class ControlPlane {
 public:
  ControlPlane(run::VirtualExecutor& executor, Dice& dice, Journal& journal, uint64_t seed,
               ControlPlaneOptions options);
  ~ControlPlane();

  // Links of others, with the user they come as; they are connected whenever the server runs and outlive its running.
  void add(Link& link, apiserver::User user);
  void start();
  bool up() const { return process_ != nullptr; }
  // At once; not from inside the server's own work.
  void stop(Death death);
  // Kills the process in the middle of the n-th next disk operation, or between two writes of its own loops.
  void die_at_disk_operation(size_t count, std::function<void()> on_death);
  void die_after_own_calls(size_t count, std::function<void()> on_death);
  // No request is answered any more; `stop` follows.
  void refuse();

  bool idle() const;
  Link& own_link() { return own_link_; }
  DurableTruth& truth() { return truth_; }
  const DurableTruth& truth() const { return truth_; }
  const store::LogStore* store() const;
  client::Client& admin();  // straight to the API, without a Link; only while up

 private:
  struct Process;
  struct Member {
    Link* link;
    std::shared_ptr<const apiserver::User> user;
  };
  void arm_disk();

  run::VirtualExecutor& executor_;
  Journal& journal_;
  const ControlPlaneOptions options_;
  os::MemoryDisk disk_;
  std::unique_ptr<os::Random> random_;
  const pki::PrivateKey token_key_;
  DurableTruth truth_;
  Link own_link_;
  std::vector<Member> members_;
  size_t disk_operations_left_ = 0;
  bool disk_dead_ = false;
  std::function<void()> on_disk_death_;
  std::unique_ptr<Process> process_;
  bool ran_before_ = false;
};

}  // namespace dure::sim
