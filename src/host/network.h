// Network: the wiring of a node's network: devices, rules, overlay, service proxy. The overlay looks again as soon as
// one of the machine's own addresses changes.
//
// Owner: the agent. Thread: construction and add_loops on one thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/result.h"
#include "bootstrap/journal.h"
#include "bootstrap/settings.h"
#include "client/events.h"
#include "client/loop.h"
#include "host/network_watch.h"
#include "overlay/overlay.h"
#include "pods/node_ips.h"
#include "svcproxy/proxy.h"

namespace dure::host {

struct NetworkOptions {
  bootstrap::AgentSettings settings;
  bootstrap::Places places;
  pods::NodeIps ips;                        // set to the node's stable address as soon as it is known (wireguard)
  std::function<void()> on_new_address;     // after that
  overlay::Endpoints* endpoints = nullptr;  // who knows the ways to the peers; may be null
  std::function<std::set<std::string>()> unreachable;  // members that no path leads to; may be null
};

class Network {
 public:
  // Everything that needs no server: devices, local addresses, settings of the kernel, written to the journal first.
  static Result<std::unique_ptr<Network>> create(os::Disk& disk, bootstrap::Journal& journal, NetworkOptions options);
  ~Network();
  // The arguments outlive this object, but the runner: nothing is enqueued after `stop`.
  void add_loops(client::Runner& runner, client::Caches& caches, client::Client& client, client::EventRecorder& events,
                 NetworkWatch& watch);
  void stop();  // before the runner goes

  overlay::Overlay& overlay() { return *overlay_; }
  const overlay::OverlayOptions& overlay_options() const { return overlay_options_; }

 private:
  Network(os::Disk& disk, bootstrap::Journal& journal, NetworkOptions options);
  Status build();
  Status record();
  Status prepare_services();
  void look_at(const NetworkPicture& network);
  std::string own_addresses(const NetworkPicture& network) const;

  os::Disk& disk_;
  bootstrap::Journal& journal_;
  const NetworkOptions options_;
  overlay::OverlayOptions overlay_options_;
  std::unique_ptr<kernel::Links> links_;
  std::unique_ptr<kernel::Nft> nft_, proxy_nft_;
  std::unique_ptr<kernel::Sysctl> sysctl_;
  std::unique_ptr<kernel::Conntrack> conntrack_;
  std::unique_ptr<overlay::Overlay> overlay_;
  std::unique_ptr<svcproxy::Proxy> proxy_;
  std::mutex mutex_;
  client::Runner* runner_ = nullptr;
  std::string seen_;  // the machine's addresses when we looked last
  std::unique_ptr<NetworkWatch::Subscription> watch_;
};

}  // namespace dure::host
