// NetworkWatch: the one watch over this machine's links. Devices change in bursts, and a pod that comes or goes is one:
// the network is read again once it has settled, and everybody who cares is told and compares what he cares about.
//
//   link events -> NetworkWatch -> uplink (is our connection's address gone?), overlay (which address is ours?),
//                                  paths (where can others reach us?)
//
// Owner: the agent's wiring; goes after all subscriptions. Thread: any; looks run on `executor`, one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/links.h"
#include "run/loop.h"

namespace dure::host {

struct NetworkPicture {
  std::vector<kernel::Link> links;
  std::vector<kernel::LinkAddress> addresses;
  std::vector<kernel::Route> routes;  // of the main table
  std::string way_out;                // device and address by which packets leave for the internet; empty: they do not
};

class NetworkWatch {
 public:
  static constexpr Duration settle_time = 100ms;
  using Look = std::function<void(const NetworkPicture&)>;
  class Subscription {  // destroying it waits for a look that runs; no look follows
   public:
    virtual ~Subscription() = default;
  };

  static Result<std::unique_ptr<NetworkWatch>> start(std::unique_ptr<kernel::Links> links, run::Executor& executor);
  virtual ~NetworkWatch() = default;
  // `look` is called with how it is now, before this returns, and after each burst of changes. Do not hold a lock that
  // `look` takes while subscribing or ending a subscription.
  [[nodiscard]] virtual std::unique_ptr<Subscription> subscribe(Look look) = 0;
};

}  // namespace dure::host
