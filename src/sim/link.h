// Link: the connection of one process to the server, and everything that can go wrong with it.
//
// Behind it is the server's real in-process client of one user. The Link loses requests, loses answers (the write
// happened, the caller sees a timeout), lets watches lag or break, is cut, and ends a process between any two of its
// writes. It also watches the server: revisions never go backwards for anybody, events of a watch come in order.
//
// Owner: the node or server part it belongs to; outlives the clients that `client` made. Thread: one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "client/client.h"
#include "run/virtual_executor.h"
#include "sim/dice.h"
#include "sim/journal.h"

namespace dure::sim {

struct LinkFaults {  // "one in so many"; zero: never
  size_t lost_request = 0, lost_answer = 0, watch_lag = 0;
  Duration lag_max = 2s;
};

class Link {
 public:
  Link(std::string name, run::VirtualExecutor& executor, Dice& dice, Journal& journal)
      : name_(std::move(name)), executor_(executor), lane_(executor.make_lane()), dice_(dice), journal_(journal) {}

  const std::string& name() const { return name_; }
  run::Executor& lane() { return *lane_; }  // where the server delivers this process's watches
  void set_faults(LinkFaults faults) { faults_ = faults; }

  // The server came up, or went away: requests fail, watches end a little later.
  void connect(std::unique_ptr<client::Client> target) {
    target_ = std::move(target);
    refused_ = false;
  }
  void refuse() { refused_ = true; }  // the server is dying; `disconnect` follows before its parts go
  void disconnect();
  void cut();
  void heal() { cut_ = false; }
  bool is_cut() const { return cut_; }
  void break_watches();

  // The process behind this link dies with its n-th call from now: `on_death` runs at once, and nothing gets through
  // any more until `revive`.
  void die_after(size_t calls, std::function<void()> on_death) {
    calls_to_live_ = calls;
    on_death_ = std::move(on_death);
  }
  void kill() { dead_ = true; }
  void revive() {
    dead_ = false;
    calls_to_live_ = 0;
    on_death_ = nullptr;
  }
  // Runs between two calls of a process, as others would at that moment; it must not use this link.
  void set_meanwhile(std::function<void()> meanwhile) { meanwhile_ = std::move(meanwhile); }

  // What a process of this node talks to. Ends of watches are told through `executor`.
  std::unique_ptr<client::Client> client();

  uint64_t calls() const { return calls_; }

 private:
  friend class FaultyClient;
  friend class FaultyWatch;
  Status before();
  Status after();
  void saw(int64_t revision, std::string_view where);

  const std::string name_;
  run::VirtualExecutor& executor_;
  const std::unique_ptr<run::Executor> lane_;
  Dice& dice_;
  Journal& journal_;
  LinkFaults faults_;
  std::unique_ptr<client::Client> target_;
  bool cut_ = false, dead_ = false, refused_ = false, in_meanwhile_ = false;
  size_t calls_to_live_ = 0;
  std::function<void()> on_death_, meanwhile_;
  std::map<uint64_t, class FaultyWatch*> watches_;  // in the order in which they began
  uint64_t watch_numbers_ = 0;
  int64_t revision_seen_ = 0;
  uint64_t calls_ = 0;
};

}  // namespace dure::sim
